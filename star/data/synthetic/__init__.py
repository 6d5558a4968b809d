"""Synthetic tasks, which test the abilities of an architecture rather than its fit to text. No tensors, no models.

Six are those of MAD (Poli et al. 2024, arXiv:2403.17844), one is multi-query associative recall (Arora et al. 2023,
arXiv:2312.04927).

docs/decisions/0012-synthetic-tasks.md says what was decided where their descriptions are silent.
"""

from star.data.synthetic.accuracy import IGNORED, epoch_accuracy, macro_accuracy, micro_accuracy
from star.data.synthetic.benchmarks import ALL_OF_MAD, MAD, TASKS, proxy_setting
from star.data.synthetic.task import Examples, Setting, SyntheticTask

__all__ = [
    "ALL_OF_MAD",
    "IGNORED",
    "MAD",
    "TASKS",
    "Examples",
    "Setting",
    "SyntheticTask",
    "epoch_accuracy",
    "macro_accuracy",
    "micro_accuracy",
    "proxy_setting",
]
