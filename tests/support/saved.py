"""Data sets as Hugging Face `datasets` saves them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets

datasets.disable_progress_bars()


def make_dataset(texts: Sequence[Any], field: str = "text") -> datasets.Dataset:
    return datasets.Dataset.from_dict({"id": list(range(len(texts))), field: list(texts)})


def save(folder: Path, texts: Sequence[Any], shards: int = 1, field: str = "text") -> Path:
    make_dataset(texts, field).save_to_disk(folder, num_shards=shards)
    return folder


def save_splits(folder: Path, **splits: Sequence[str]) -> Path:
    datasets.DatasetDict({name: make_dataset(texts) for name, texts in splits.items()}).save_to_disk(folder)
    return folder
