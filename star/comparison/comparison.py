"""Comparison of architectures that are trained afresh from the same seeds, at equal costs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

from star.architecture.genome import decode, to_text
from star.comparison.matching import MATCHES, Contender, Sized, match
from star.comparison.settings import ComparisonSettings
from star.comparison.statistics import Difference, Mean, holm, mean, paired_p
from star.comparison.trainings import Job, Trained, prepare_text, train_all, training_settings
from star.cost.cost import Cost, memory_bytes, price
from star.data.token_files import tokenizer_of
from star.data.vocabulary import model_vocabulary
from star.errors import UserError, disk_errors_reported
from star.metrics.speed import Speed, measure_speed
from star.metrics.trained_model import read_training
from star.storage.documents import pack_document, unpack_document
from star.storage.files import Torn, write_atomic
from star.trainer.plan import plan_training

RESULTS = "comparison.json"
BEFORE = ("tokens", "corpus", "tokenizer", "text_field")  # settings that must stay when a comparison goes on
DTYPE_BYTES = 2.0  # of the weights and the cache that are priced


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One architecture in a match.

    Attributes:
        sized: it, and the width that it was trained at.
        qualities: bits per byte by seed; None where the training diverged.
        cost, memory_bytes: of the trained model at the context of its scale, in two bytes a number.
        speed: of decoding after that context; None if it diverged.
    """

    sized: Sized
    qualities: tuple[float | None, ...]
    cost: Cost
    memory_bytes: int
    speed: Speed | None

    @property
    def label(self) -> str:
        return self.sized.contender.label

    @property
    def known(self) -> list[float]:
        """The qualities of trainings that ended well."""
        return [one for one in self.qualities if one is not None]

    @property
    def mean(self) -> Mean | None:
        """The mean quality over seeds with its interval; None if all diverged."""
        return mean(self.known) if self.known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Architectures at equal costs of one kind: that of the first one."""

    kind: str
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Functions that are told what happens: how many trainings begin, and each that has ended."""

    started: Callable[[int], None]
    landed: Callable[[Trained], None]


def compare(
    contenders: Sequence[Contender], settings: ComparisonSettings, folder: Path, progress: Progress
) -> tuple[Match, ...]:
    """Train contenders, or go on with a comparison in `folder`, and return it for each kind of equal cost.

    Raises:
        UserError: a contender that cannot be matched, a corpus that cannot be used, or another comparison in `folder`.
    """
    results = _open(contenders, settings, folder)
    text = prepare_text(settings, folder)
    contenders = [_with_vocabulary(one, Path(text)) for one in contenders]
    sizes = {kind: _match_all(contenders, kind) for kind in MATCHES}
    jobs = {
        job.name: job
        for sized in sizes.values()
        for number, one in enumerate(sized, start=1)
        for seed in range(settings.seeds)
        for job in [Job(number, one, seed)]
    }
    for job in jobs.values():
        plan_training(training_settings(job, settings, text))  # refuses what cannot be trained before anything is
    missing = [job for name, job in jobs.items() if name not in results.trainings]
    progress.started(len(missing))
    for one in train_all(missing, settings, text, folder, progress.landed):
        results.add(one)
    speeds: dict[str, Speed | None] = {}
    matches = []
    for kind, sized in sizes.items():
        rows = tuple(_row(number, one, settings, results, folder, speeds) for number, one in enumerate(sized, start=1))
        matches.append(Match(kind=kind, rows=rows, differences=_differences(rows)))
    return _corrected(matches)


class _Results:
    """The qualities of trainings that have ended, kept in a file."""

    def __init__(self, path: Path, made_with: dict[str, object], trainings: dict[str, float | None]) -> None:
        self._path, self._made_with, self.trainings = path, made_with, trainings

    def add(self, one: Trained) -> None:
        self.trainings[one.name] = one.bits_per_byte
        write_atomic(self._path, pack_document({"made_with": self._made_with, "trainings": self.trainings}))


def _open(contenders: Sequence[Contender], settings: ComparisonSettings, folder: Path) -> _Results:
    made_with = json.loads(
        json.dumps(
            {name: value for name, value in asdict(settings).items() if name in BEFORE}
            | {"genomes": [to_text(one.genome) for one in contenders]}
            | {"scales": [one.scale.name for one in contenders]}
        )
    )
    path = folder / RESULTS
    with disk_errors_reported(f"use {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            if any(folder.iterdir()) and not (folder / "text").exists():
                raise UserError(f"{folder} is not empty and holds no comparison: choose another --out")
            return _Results(path, made_with, {})
        try:
            found = unpack_document(path.read_bytes())
        except Torn as error:
            raise UserError(f"{path} is damaged ({error}): remove it, and the trainings there go on") from error
    then = found["made_with"]
    for name, now in made_with.items():
        if then.get(name) != now:
            raise UserError(f"{folder} holds a comparison with other {name}: choose another --out")
    return _Results(path, made_with, dict(found["trainings"]))


def _with_vocabulary(one: Contender, text: Path) -> Contender:
    """Return a contender with the vocabulary that the tokenizer of the text gives it."""
    tokenizer, dims = tokenizer_of(text), one.scale.dims
    size = model_vocabulary(one.scale.name, dims.vocab_size, tokenizer.name, tokenizer.vocab_size)
    return replace(one, scale=replace(one.scale, dims=replace(dims, vocab_size=size)))


def _match_all(contenders: Sequence[Contender], kind: str) -> list[Sized]:
    """Return the first contender at its own width, and the others where they cost as much."""
    first = contenders[0].at(contenders[0].scale.dims.d_model)
    wanted = MATCHES[kind](first.cost)
    return [first, *(match(one, wanted, kind) for one in contenders[1:])]


def _row(
    number: int,
    sized: Sized,
    settings: ComparisonSettings,
    results: _Results,
    folder: Path,
    speeds: dict[str, Speed | None],
) -> Row:
    names = [Job(number, sized, seed).name for seed in range(settings.seeds)]
    qualities = tuple(results.trainings[name] for name in names)
    slots, context = decode(sized.contender.genome), sized.dims.seq_len
    cost = price(slots, sized.dims, context, DTYPE_BYTES)
    trained = next((name for name, one in zip(names, qualities, strict=True) if one is not None), "")
    if trained not in speeds:
        speeds[trained] = measure_speed(read_training(folder / trained), max(2, context)) if trained else None
    memory = memory_bytes(cost, 1, DTYPE_BYTES)
    return Row(sized=sized, qualities=qualities, cost=cost, memory_bytes=memory, speed=speeds[trained])


def _differences(rows: Sequence[Row]) -> tuple[Difference, ...]:
    """Return the difference of each pair, over the seeds from which both were trained well."""
    found = []
    for one, other in combinations(rows, 2):
        pairs = [(a, b) for a, b in zip(one.qualities, other.qualities, strict=True) if a is not None and b is not None]
        if pairs:
            some, others = zip(*pairs, strict=True)
            gap = mean([a - b for a, b in pairs])
            found.append(Difference(one=one.label, other=other.label, difference=gap, p=paired_p(some, others)))
    return tuple(found)


def _corrected(matches: Sequence[Match]) -> tuple[Match, ...]:
    """Return matches with the p of their differences corrected for the tests of all of them."""
    values = iter(holm([one.p for match in matches for one in match.differences]))
    return tuple(
        replace(match, differences=tuple(replace(one, p=next(values)) for one in match.differences))
        for match in matches
    )
