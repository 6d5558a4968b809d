"""The settings in which each synthetic task was published, its baseline first (Poli et al. 2024, Arora et al. 2023)."""

from collections.abc import Sequence
from dataclasses import replace

from star.data.synthetic import TASKS, Setting

_VOCABULARIES = {"vocab_size": (32, 64, 128)}
_FEWER = {"train_examples": (6_400, 3_200, 1_600, 800)}
_LENGTHS = {"seq_len": (256, 512, 1_024)}
# The values that each field of the baseline takes in turn.
_CHANGES: dict[str, dict[str, Sequence[float]]] = {
    "mad/compression": _VOCABULARIES | {"seq_len": (64, 128, 256)} | _FEWER,
    "mad/fuzzy-in-context-recall": _VOCABULARIES | _LENGTHS | _FEWER,
    "mad/in-context-recall": _VOCABULARIES | _LENGTHS | _FEWER,
    "mad/memorization": {"vocab_size": (512, 1_024, 2_048, 4_096, 8_192)},
    "mad/noisy-in-context-recall": {"vocab_size": (48, 80, 144)} | _LENGTHS | _FEWER | {"frac_noise": (0.4, 0.6, 0.8)},
    "mad/selective-copying": _VOCABULARIES | {"seq_len": (512, 1_024)} | _FEWER | {"num_copies": (32, 64, 96)},
}


def _sweep(name: str) -> tuple[Setting, ...]:
    baseline = TASKS[name].baseline
    changed = (replace(baseline, **{field: value}) for field, values in _CHANGES[name].items() for value in values)
    return (baseline, *changed)


SWEEPS = {name: _sweep(name) for name in _CHANGES} | {
    "mqar": tuple(
        replace(TASKS["mqar"].baseline, seq_len=length, num_pairs=pairs, batch_size=batch)
        for length, pairs, batch in ((64, 4, 512), (128, 8, 512), (256, 16, 256), (512, 64, 128))
    )
}
