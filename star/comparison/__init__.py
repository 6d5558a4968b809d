"""Comparison of architectures by fresh trainings at equal parameters and at equal training FLOPs."""
