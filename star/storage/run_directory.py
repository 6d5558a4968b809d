"""The directory of one run.

    run.toml                          the whole resolved configuration, versions and digest of the corpus
    made_with.json                    the settings that results depend on, as the run began; names of its seed genomes
    generations/0007.parquet          the population after selection
    evaluations/HASH.parquet          one evaluation, written when it ends
    evaluations/generation-0007.parquet   those files gathered, when the generation is written
    weights/HASH.safetensors          trained weights
    paused/HASH.safetensors           the state of a training that paused at a rung of a race
    longer/TOKENS/HASH-SEED.parquet   one longer training, from which qualities are estimated
    verified/TOKENS/HASH-SEED.parquet one longer training of a member of the front, or of a named baseline
    latencies.parquet                 latencies of operators, if the run minimises latency
    summary.json                      where the time of the last process that reached the end went
    .lock                             held by the process that drives the run

Every file is replaced atomically; all but run.toml are sealed (`files`). A damaged one is set aside as NAME.torn and
named in `warnings`: a generation falls back to the one before, an evaluation is made again.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

from star.cost.target import Target
from star.errors import UserError, disk_errors_reported
from star.records import Arrays, Evaluation, Generation, Individual, Measured, Order, Recorded, Task, Timing
from star.storage import files, tables
from star.storage.arrays import pack_arrays, unpack_arrays
from star.storage.documents import pack_document, pack_timing, unpack_document, unpack_timing
from star.storage.files import Torn
from star.storage.latencies import pack_latencies, unpack_latencies
from star.storage.places import CONFIG, MADE_WITH, refuse_foreign, refuse_occupied
from star.storage.sealed_directory import SealedDirectory

SUMMARY, LATENCIES = "summary.json", "latencies.parquet"
GENERATIONS, EVALUATIONS, WEIGHTS, PAUSED = "generations", "evaluations", "weights", "paused"
LONGER, VERIFIED = "longer", "verified"
GATHERED = "generation-"
NEW = Order()


class RunDirectory(SealedDirectory):
    """A run on disk. `create` starts one and `resume` continues one; both lock out other writers until `close`. `open`
    only reads, also while another process writes, and changes nothing."""

    def create(self, config_toml: str, made_with: Mapping[str, Any] | None = None) -> Self:
        """Start a run. UserError if the directory holds a run, or anything else, or cannot be written."""
        refuse_occupied(self.path)
        with disk_errors_reported(f"make the directory {self.path}"):
            files.make_directory(self.path)
        self._lock()
        try:
            refuse_occupied(self.path)  # again: another process may have been faster
            if made_with is not None:
                self.write_made_with(made_with)  # before run.toml, which makes it a run
            files.write_atomic(self.path / CONFIG, config_toml.encode())
        except BaseException:
            self.close()
            raise
        return self

    def resume(self) -> Self:
        """Continue a run: lock it, unless this object has, and delete what a killed process left half written."""
        self.open()
        if self.is_locked:
            return self
        self._lock()
        longer = [path.relative_to(self.path) for name in (LONGER, VERIFIED) for path in (self.path / name).glob("*")]
        for directory in (".", GENERATIONS, EVALUATIONS, WEIGHTS, PAUSED, *longer):
            files.remove_temporaries(self.path / directory)
        self._delete_gathered()
        return self

    def open(self) -> Self:
        """Read a run. UserError if there is none."""
        refuse_foreign(self.path)
        return self

    @property
    def config_toml(self) -> str:
        """The text of run.toml."""
        with disk_errors_reported(f"read {self.path / CONFIG}"):
            data = (self.path / CONFIG).read_bytes()
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path / CONFIG} is not text: {error}") from error

    def write_made_with(self, values: Mapping[str, Any]) -> None:
        """Record what the run is made with, as plain values by name."""
        self._write(self.path / MADE_WITH, pack_document(values))

    def made_with(self) -> dict[str, Any] | None:
        """Return what the run was made with; None if it is damaged, or the run older than this record."""
        return self._read(self.path / MADE_WITH, unpack_document)

    def write_generation(self, generation: Generation, incomplete: Collection[str] = ()) -> None:
        """Record a generation, then gather the evaluations made on the way to it into one file, except for the
        `incomplete` hashes, of which more is to be recorded."""
        self._write(self.generation_path(generation.number), tables.pack_generation(generation))
        self.compact_evaluations(generation.number, incomplete)

    def latest_generation(self) -> Generation | None:
        """Return the newest undamaged generation; None if there is none."""
        return next(filter(None, map(self._read_generation, reversed(self._generation_numbers()))), None)

    def generations(self) -> list[Generation]:
        """Return every undamaged generation, in order."""
        return [whole for number in self._generation_numbers() if (whole := self._read_generation(number))]

    def find_individual(self, number: str) -> Individual:
        """Return the individual of that id, from the newest generation that keeps it. UserError if none does."""
        for generation in reversed(self.generations()):
            for individual in (*generation.individuals, *generation.front):
                if str(individual.id) == number:
                    return individual
        raise UserError(f"{self.path} keeps no individual {number:.40}; `star front {self.path}` lists some")

    def append_evaluation(self, task: Task, evaluation: Evaluation, order: Order = NEW) -> None:
        """Record one evaluation now."""
        path = self.path / EVALUATIONS / f"{task.hash}.parquet"
        self._write(path, tables.pack_evaluations([Recorded(task, evaluation, order)]))

    def compact_evaluations(self, number: int, incomplete: Collection[str] = ()) -> None:
        """Gather the single evaluation files into that of generation `number`, except for the `incomplete` hashes.
        Killed at any point, every evaluation is still in one file or in two; `resume` leaves it in one."""
        singles = [path for path in self._single_paths() if path.stem not in incomplete]
        if not singles:
            return
        target = self.path / EVALUATIONS / f"{GATHERED}{number:04d}.parquet"
        entries = self._union([target, *singles])
        self._write(target, tables.pack_evaluations([entries[hash] for hash in sorted(entries)]))
        for path in singles:
            path.unlink(missing_ok=True)

    def clear_arrivals(self, first: int) -> None:
        """Record that the evaluations with an arrival of `first` or later were not told to the search."""
        paths = self._evaluation_paths()
        entries = list(self._union(paths).values())
        changed = [one for one, then in zip(tables.clear_arrivals(entries, first), entries, strict=True) if one != then]
        for one in changed:  # single files again, because more is to be recorded of them
            self.append_evaluation(*one)
        hashes = {one.task.hash for one in changed}
        for path in filter(_is_gathered, paths):
            entries = self._read(path, tables.unpack_evaluations) or []
            if left := [one for one in entries if one.task.hash not in hashes]:
                if left != entries:
                    self._write(path, tables.pack_evaluations(left))
            elif entries:
                path.unlink()

    def set_aside_generations(self, first: int) -> None:
        """Set aside every generation from number `first` on."""
        for number in self._generation_numbers():
            if number >= first:
                self._set_aside(self.generation_path(number), Torn("the evaluations do not lead to it"))

    def history(self) -> dict[str, Recorded]:
        """Return every evaluation with its task, by hash: generation by generation, those not yet gathered last."""
        while True:
            paths = self._evaluation_paths()
            entries = self._union(paths)
            # Gone meanwhile: the writer gathered it into a file that was not there when we looked.
            if all(path.exists() for path in paths):
                return entries

    def evaluations(self) -> dict[str, Evaluation]:
        """Return every evaluation, by hash."""
        return {hash: one.evaluation for hash, one in self.history().items()}

    def damaged_evaluations(self) -> list[int]:
        """Return the generations whose evaluations were set aside and have not been made again."""
        torn = (path.with_suffix("") for path in (self.path / EVALUATIONS).glob(f"{GATHERED}*.parquet.torn"))
        return sorted(_number_of(path) for path in torn if _is_gathered(path) and not path.exists())

    def is_tidy(self, hashes: set[str]) -> bool:
        """Return whether all evaluations are gathered and all weights belong to these hashes."""
        stored = {path.stem for path in (self.path / WEIGHTS).glob("*.safetensors")}
        return not self._single_paths() and stored <= hashes

    def save_weights(self, hash: str, weights: Arrays) -> None:
        """Keep the trained weights of an architecture."""
        self._save(WEIGHTS, hash, weights)

    def load_weights(self, hash: str) -> Arrays | None:
        """Return the weights kept under that hash; None if there are none or they are damaged."""
        return self._read(self._arrays_path(WEIGHTS, hash), unpack_arrays)

    def weights_path(self, hash: str) -> Path:
        """Return the file of the weights kept under that hash."""
        return self._arrays_path(WEIGHTS, hash)

    def prune_weights(self, keep: set[str]) -> None:
        """Delete all weights except those of the hashes in `keep`."""
        self._prune(WEIGHTS, keep)

    def save_state(self, hash: str, state: Arrays) -> None:
        """Keep the state of a paused training."""
        self._save(PAUSED, hash, state)

    def load_state(self, hash: str) -> Arrays | None:
        """Return the state kept under that hash; None if there is none or it is damaged: the training then starts
        over."""
        return self._read(self._arrays_path(PAUSED, hash), unpack_arrays)

    def prune_states(self, keep: set[str]) -> None:
        """Delete all states except those of the hashes in `keep`."""
        self._prune(PAUSED, keep)

    def append_longer(self, row: Recorded, tokens: int) -> None:
        """Record a longer training, which was to take so many tokens, from which qualities are estimated."""
        self._append_to(LONGER, row, tokens)

    def longer(self, tokens: int) -> dict[tuple[str, int], Recorded]:
        """Return the trainings of so many tokens from which qualities are estimated, by hash and seed."""
        return self._read_from(LONGER, tokens)

    def append_verified(self, task: Task, evaluation: Evaluation, tokens: int) -> None:
        """Record a longer training, which was to take so many tokens, of a verification."""
        self._append_to(VERIFIED, Recorded(task, evaluation), tokens)

    def verified(self, tokens: int) -> dict[tuple[str, int], Evaluation]:
        """Return the trainings of so many tokens by which the front is verified, by hash and seed."""
        return {key: one.evaluation for key, one in self._read_from(VERIFIED, tokens).items()}

    def verified_budgets(self) -> list[int]:
        """Return the numbers of tokens for which longer trainings are recorded, the largest last."""
        names = (path.name for path in (self.path / VERIFIED).glob("*") if any(path.glob("[!.]*.parquet")))
        return sorted(int(name) for name in names if name.isdecimal())

    def write_latencies(self, rows: Mapping[str, Measured], setting: Target) -> None:
        """Record the latencies of operators that were measured for a target, by the key of the part."""
        self._write(self.path / LATENCIES, pack_latencies(rows, setting))

    def latencies(self, setting: Target) -> dict[str, Measured] | None:
        """Return the latencies that were measured for a target; None if none are recorded, or they are damaged."""
        return self._read(self.path / LATENCIES, lambda data: unpack_latencies(data, setting))

    def has_lost_latencies(self) -> bool:
        """Return whether latencies were recorded, but the file was damaged and set aside."""
        return (self.path / f"{LATENCIES}.torn").exists() and not (self.path / LATENCIES).exists()

    def write_timing(self, timing: Timing) -> None:
        """Record where the time of this process went."""
        self._write(self.path / SUMMARY, pack_timing(timing))

    def timing(self) -> Timing | None:
        """Return where the time of the last process that reached the end went; None if none did, or it is damaged."""
        return self._read(self.path / SUMMARY, unpack_timing)

    def _append_to(self, folder: str, row: Recorded, tokens: int) -> None:
        path = self.path / folder / str(tokens) / f"{row.task.hash}-{row.task.seed:016x}.parquet"
        self._write(path, tables.pack_evaluations([row]))

    def _read_from(self, folder: str, tokens: int) -> dict[tuple[str, int], Recorded]:
        paths = sorted((self.path / folder / str(tokens)).glob("[!.]*.parquet"))
        rows = [one for path in paths for one in self._read(path, tables.unpack_evaluations) or ()]
        return {(one.task.hash, one.task.seed): one for one in rows}

    def _read_generation(self, number: int) -> Generation | None:
        def unpack(data: bytes) -> Generation:
            generation = tables.unpack_generation(data)
            if generation.number != number:
                raise Torn(f"it holds generation {generation.number}")
            return generation

        return self._read(self.generation_path(number), unpack)

    def generation_path(self, number: int) -> Path:
        """Return the file of a generation."""
        return self.path / GENERATIONS / f"{number:04d}.parquet"

    def _generation_numbers(self) -> list[int]:
        stems = (path.stem for path in (self.path / GENERATIONS).glob("[0-9]*.parquet"))
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def _evaluation_paths(self) -> list[Path]:
        def age(path: Path) -> tuple[bool, int, str]:
            gathered = _is_gathered(path)
            return not gathered, _number_of(path) if gathered else 0, path.name

        return sorted((self.path / EVALUATIONS).glob("[!.]*.parquet"), key=age)

    def _single_paths(self) -> list[Path]:
        return [path for path in self._evaluation_paths() if not _is_gathered(path)]

    def _union(self, paths: list[Path]) -> dict[str, Recorded]:
        """Return the entries of all undamaged files; of two for one hash, the one that was told, or trained further, or
        else gathered first."""
        entries: dict[str, Recorded] = {}
        for path in paths:
            for one in self._read(path, tables.unpack_evaluations) or ():
                if one.task.hash not in entries or _progress(one) > _progress(entries[one.task.hash]):
                    entries[one.task.hash] = one
        return entries

    def _delete_gathered(self) -> None:
        """Delete the single files that a `compact_evaluations` that was killed had gathered already."""
        singles = self._single_paths()
        gathered = self._union(list(filter(_is_gathered, self._evaluation_paths()))) if singles else {}
        for path in singles:
            for hash, one in self._union([path]).items():
                if hash in gathered and _progress(one) <= _progress(gathered[hash]):
                    path.unlink()

    def _save(self, folder: str, hash: str, arrays: Arrays) -> None:
        self._write(self._arrays_path(folder, hash), pack_arrays(arrays))

    def _prune(self, folder: str, keep: set[str]) -> None:
        assert self.is_locked, "open the run with resume() to change it"
        for path in (self.path / folder).glob("*.safetensors"):
            if path.stem not in keep:
                path.unlink(missing_ok=True)

    def _arrays_path(self, folder: str, hash: str) -> Path:
        assert tables.HASH.fullmatch(hash), hash
        return self.path / folder / f"{hash}.safetensors"


def _is_gathered(path: Path) -> bool:
    return path.name.startswith(GATHERED) and path.stem.removeprefix(GATHERED).isdecimal()


def _number_of(path: Path) -> int:
    return int(path.stem.removeprefix(GATHERED))


def _progress(one: Recorded) -> tuple[bool, int]:
    return one.order.arrival > 0, one.evaluation.tokens
