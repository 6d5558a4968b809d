"""The cost of architectures: parameters, cache, memory and FLOPs, without building a model."""
