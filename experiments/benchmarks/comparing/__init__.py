"""What the comparison of searchers is made of: the surrogate, the account of tokens, the searchers, the statistics."""
