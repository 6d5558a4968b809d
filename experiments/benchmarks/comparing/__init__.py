"""The comparison of searchers: surrogate, token budget, searchers and statistics."""
