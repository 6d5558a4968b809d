"""What architectures cost: parameters, cache, memory and FLOPs, without building a model."""
