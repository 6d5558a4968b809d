"""The directory of one training.

    train.toml                          the whole resolved configuration, versions and digest of the corpus
    text/                               its tokens, unless the corpus is a folder of tokens: see `data/token_files.py`
    curve.parquet                       a row for each checkpoint: losses, learning rate, throughput
    checkpoints/000000468/              after so many steps:
        model.safetensors               the weights by name
        state.safetensors               everything else that the rest of the training depends on
        checkpoint.json                 digests of both
    model/                              the trained model, written in the end
    .lock                               held by the process that trains

A checkpoint is written under another name, synced and renamed, so that it is there as a whole or not at all; a damaged
one is set aside as NAME.torn and named in `warnings`, and the one before it takes its place.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from star.errors import UserError, disk_errors_reported
from star.records import Arrays
from star.storage import files
from star.storage.documents import pack_document, unpack_document
from star.storage.files import BLANK_SEAL, Torn, check_seal, seal
from star.storage.places import TEXT, TRAIN_CONFIG, WEIGHTS_FILE
from star.storage.sealed_directory import SealedDirectory

CHECKPOINTS, CURVE, CHECKPOINT = "checkpoints", "curve.parquet", "checkpoint.json"
STATE = "state.safetensors"
WEIGHT = "weight."  # how the names of weights begin in the state of a training
CURVE_COLUMNS = pa.schema(
    [
        ("step", pa.int64()),
        ("tokens", pa.int64()),
        ("train_bpb", pa.float64()),
        ("valid_bpb", pa.float64()),
        ("learning_rate", pa.float64()),
        ("seconds", pa.float64()),
        ("tokens_per_second", pa.float64()),
        ("utilisation", pa.float64()),
    ]
)

Row = dict[str, Any]


class TrainingDirectory(SealedDirectory):
    """A training on disk. `write` locks out other writers until `close`; reading changes nothing."""

    @property
    def is_begun(self) -> bool:
        """Whether there is a training."""
        return (self.path / TRAIN_CONFIG).is_file()

    @property
    def config_toml(self) -> str:
        """The text of train.toml. UserError if there is none."""
        path = self.path / TRAIN_CONFIG
        if not path.is_file():
            raise UserError(f"{self.path} is not a training: it has no {TRAIN_CONFIG}")
        with disk_errors_reported(f"read {path}"):
            data = path.read_bytes()
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not text: {error}") from error

    def write(self) -> Self:
        """Make the directory if need be, lock it, and delete what a killed process left half written.

        Raises:
            UserError: another process trains here, or the directory holds something else.
        """
        with disk_errors_reported(f"make the directory {self.path}"):
            files.make_directory(self.path)
            foreign = [one.name for one in self.path.iterdir() if not one.name.startswith(".") and one.name != TEXT]
        if foreign and not self.is_begun:
            raise UserError(f"{self.path} is no training and not empty (it holds {foreign[0]}); choose a new directory")
        self._lock()
        files.remove_temporaries(self.path)
        for aside in (self.path / CHECKPOINTS).glob(".*.old.tmp"):  # killed before its successor was in place
            place = aside.with_name(aside.name.removeprefix(".").removesuffix(".old.tmp"))
            if not place.exists():
                os.replace(aside, place)
        files.remove_temporaries(self.path / CHECKPOINTS)
        return self

    def write_config(self, text: str) -> None:
        """Record the configuration."""
        files.write_atomic(self.path / TRAIN_CONFIG, text.encode())

    def steps(self) -> list[int]:
        """Return the steps of the checkpoints, in order."""
        found = (self.path / CHECKPOINTS).glob("[0-9]*")
        return sorted(int(one.name) for one in found if one.is_dir() and one.name.isdecimal())

    def checkpoint_path(self, step: int) -> Path:
        """Return the folder of the checkpoint after so many steps."""
        return self.path / CHECKPOINTS / f"{step:09d}"

    def write_checkpoint(self, step: int, state: Arrays, facts: Mapping[str, Any]) -> None:
        """Write the state of a training after so many steps; a full disk leaves the checkpoints that there are."""
        final = self.checkpoint_path(step)
        temporary = final.with_name(f".{final.name}.tmp")
        weights = {name.removeprefix(WEIGHT): one for name, one in state.items() if name.startswith(WEIGHT)}
        rest = {name: one for name, one in state.items() if not name.startswith(WEIGHT)}
        with disk_errors_reported(f"write the checkpoint {final}"):
            files.make_directory(final.parent)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            try:
                digests = {
                    name: _save(arrays, temporary / name) for name, arrays in ((WEIGHTS_FILE, weights), (STATE, rest))
                }
                files.write_atomic(temporary / CHECKPOINT, pack_document({**facts, "step": step, "digests": digests}))
                files.sync_directory(temporary)
                if final.exists():  # of steps that were trained again
                    os.replace(final, final.with_name(f".{final.name}.old.tmp"))
                os.replace(temporary, final)
                files.sync_directory(final.parent)
                files.remove(final.with_name(f".{final.name}.old.tmp"))
            except SafetensorError as error:
                raise UserError(f"cannot write the checkpoint {final}: {error}") from error
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def read_checkpoint(self, step: int) -> tuple[Arrays, dict[str, Any]] | None:
        """Return the state of a training after so many steps and its facts; None if it is damaged."""
        path = self.checkpoint_path(step)
        try:
            facts = _read_facts(path / CHECKPOINT)
            model, rest = (_load(path / name, facts["digests"].get(name)) for name in (WEIGHTS_FILE, STATE))
        except Torn as torn:
            self._set_aside(path, torn)
            return None
        return {f"{WEIGHT}{name}": one for name, one in model.items()} | rest, facts

    def find_weights(self) -> tuple[int, Path] | None:
        """Return the step and the file of the weights of the latest checkpoint that is sound; None if there is none."""
        for step in reversed(self.steps()):
            path = self.checkpoint_path(step)
            try:
                _check(path / WEIGHTS_FILE, _read_facts(path / CHECKPOINT)["digests"].get(WEIGHTS_FILE))
            except Torn as torn:
                self._set_aside(path, torn)
            else:
                return step, path / WEIGHTS_FILE
        return None

    def drop_checkpoints(self, keep: int, needed: int) -> None:
        """Delete all but the latest checkpoints, and that after `needed` steps."""
        for step in self.steps()[:-keep]:
            if step != needed:
                shutil.rmtree(self.checkpoint_path(step), ignore_errors=True)

    def drop_after(self, last: int) -> None:
        """Delete the checkpoints after more than `last` steps."""
        for step in self.steps():
            if step > last:
                shutil.rmtree(self.checkpoint_path(step), ignore_errors=True)

    def write_curve(self, rows: Sequence[Row]) -> None:
        """Record the rows of the curve."""
        sink = pa.BufferOutputStream()
        schema = CURVE_COLUMNS.with_metadata({"seal": BLANK_SEAL})
        pq.write_table(pa.Table.from_pylist(list(rows), schema), sink)
        files.write_atomic(self.path / CURVE, seal(sink.getvalue().to_pybytes()))

    def read_curve(self) -> list[Row]:
        """Return the rows of the curve; none if it is missing or damaged."""
        return self._read(self.path / CURVE, _unpack_curve) or []


def _save(arrays: Arrays, path: Path) -> str:
    """Write a file of arrays and return its digest."""
    save_file({name: np.asarray(one, order="C") for name, one in arrays.items()}, path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return _digest(path)


def _load(path: Path, digest: str | None) -> Arrays:
    _check(path, digest)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise Torn(f"{path.name} cannot be read: {error}") from error


def _check(path: Path, digest: str | None) -> None:
    try:
        if _digest(path) != digest:
            raise Torn(f"the checksum of {path.name} does not match")
    except OSError as error:
        raise Torn(f"{path.name} cannot be read: {error}") from error


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = unpack_document(path.read_bytes())
        if not isinstance(facts["digests"], dict):
            raise Torn(f"{path.name} has no digests")
    except (OSError, KeyError) as error:
        raise Torn(f"{path.name} cannot be read: {error!r}") from error
    return facts


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack_curve(data: bytes) -> list[Row]:
    check_seal(data)
    try:
        return pq.read_table(pa.BufferReader(data)).select(CURVE_COLUMNS.names).cast(CURVE_COLUMNS).to_pylist()
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise Torn(f"it cannot be read: {error}") from error
