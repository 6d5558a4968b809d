"""Trackers: TensorBoard, Weights & Biases and MLflow show the scalars of runs and trainings beside one another."""
