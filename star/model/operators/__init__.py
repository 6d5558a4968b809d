"""Linear input-varying operators as modules: one file a token-mixing structure, the featurizer, and their assembly."""
