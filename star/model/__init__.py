"""Architectures as PyTorch modules: operators, and the residual backbone around them."""
