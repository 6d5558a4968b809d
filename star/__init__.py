"""star: synthesis of tailored language-model architectures (after Thomas et al. 2024, arXiv:2411.17800)."""

__version__ = "0.1.0"
