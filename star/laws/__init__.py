"""Scaling laws: the loss of a language model as a function of parameters and tokens, fitted to runs.

`runs` is what is known of trained models and `table` reads it. A law is a record of named constants with a method
`loss(params, tokens)`; `fits` lists the laws that can be fitted. N is parameters, D tokens, L the loss in nats per
token, C FLOPs.
"""
