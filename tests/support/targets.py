"""A small scale to deploy at, as its file says it."""

SMALL = """\
[scale]
slots = 11
d_model = 64
head_dim = 8
vocab_size = 256
seq_len = 64

[style]
tied = false

[operators.GMemless]
d_ff = 100
"""
