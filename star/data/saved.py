"""Directories that `save_to_disk` of Hugging Face `datasets` writes: which of their files are data, and of which side.

A data set is Arrow files that `state.json` names, beside `dataset_info.json`. A dictionary of data sets is a directory
for each split that `dataset_dict.json` names.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from star.data.readers import Open
from star.errors import UserError

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
LONGEST = 16 << 20  # bytes of such a file that are read
TRAIN, VALID = "train", "valid"  # sides
VALID_SPLITS = ("validation", "valid", "dev", "eval")  # the first of these that there is
TEST_SPLIT = "test"


class Sides(NamedTuple):
    """The sides of files by key, the keys of files that are no data, and the number left out for each reason."""

    of: dict[str, str]
    dropped: set[str]
    left_out: Counter[str]


def find_sides(files: Mapping[str, Open], source: str) -> Sides:
    """Find the saved data sets among the files of a directory, given by key.

    Raises UserError if one is not as `datasets` writes it, lacks a file, or is a selection of rows by indices.
    """
    sides = Sides({}, set(), Counter())
    for key in files:
        folder, name = _cut(key)
        if name == SPLITS:
            _choose_splits(folder, files, _read_json(files[key], f"{source}/{key}"), source, sides)
            sides.dropped.add(key)
    for key in files:
        folder, name = _cut(key)
        if name == STATE and folder + INFO in files and key not in sides.dropped:
            _keep_named(folder, files, _read_json(files[key], f"{source}/{key}"), source, sides)
    return sides


def _cut(key: str) -> tuple[str, str]:
    """Return the folder of a key, empty or with a slash at its end, and the name in it."""
    place = key.rfind("/") + 1
    return key[:place], key[place:]


def _keep_named(folder: str, files: Iterable[str], state: dict[str, Any], source: str, sides: Sides) -> None:
    """Drop what lies beside the data files of a data set, such as its cache."""
    place = f"{source}/{folder}".rstrip("/")
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise UserError(f"{place} is a selection of rows by indices: save it again after flatten_indices()")
    data = state.get("_data_files")
    named = data if isinstance(data, list) else []
    names = [one["filename"] for one in named if isinstance(one, dict) and isinstance(one.get("filename"), str)]
    if not names or len(names) < len(named):
        raise UserError(f"{place}/{STATE} names no files of data")
    beside = {key for key in files if _cut(key)[0] == folder}
    if missing := [name for name in names if folder + name not in beside]:
        raise UserError(f"{place} lacks {missing[0]}, which its {STATE} names")
    rest = beside - {folder + name for name in names}
    sides.dropped.update(rest)
    sides.left_out["beside the files of a saved data set"] += len(rest - {folder + STATE, folder + INFO})


def _choose_splits(folder: str, files: Iterable[str], splits: dict[str, Any], source: str, sides: Sides) -> None:
    names = splits.get("splits")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{source}/{folder}{SPLITS} names no splits")
    valid = next((name for name in VALID_SPLITS if name in names), "")
    has_sides = TRAIN in names and valid
    wanted = {TRAIN: TRAIN, valid: VALID} if has_sides else {name: "" for name in names if name != TEST_SPLIT}
    for name in names:
        keys = [key for key in files if key.startswith(f"{folder}{name}/")]
        if name in wanted and not keys:
            raise UserError(f"{source}/{folder}{SPLITS} names the split {name!r}, which is missing")
        if name in wanted or not wanted:
            sides.of.update((key, wanted.get(name, "")) for key in keys)
        else:
            sides.dropped.update(keys)
            sides.left_out[f"in split {name}"] += sum(key.endswith(".arrow") for key in keys)


def _read_json(open: Open, name: str) -> dict[str, Any]:
    with open() as stream:
        data = stream.read(LONGEST + 1)
    try:
        value = json.loads(data) if len(data) <= LONGEST else None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{name} is not what `datasets` writes")
    return value
