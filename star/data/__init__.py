"""What models are trained on: text as arrays of bytes, and synthetic tasks."""
