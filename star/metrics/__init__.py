"""Measurements of a trained model: loss on text, synthetic tasks, tasks of lm-eval, samples, speed and memory."""
