"""Partial evaluation: the code of one model, from the code of all models.

`program` finds definitions, `evaluator` runs them on what is known and writes down the rest, `tidy` makes it readable.
"""
