"""Training data: text as arrays of bytes, and synthetic tasks."""
