"""Resolve what a person types (name, .toml file, genome text, RUN:ID) to a genome and the sizes it is priced at."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from star.architecture import catalogue
from star.architecture.catalogue import NamedGenome
from star.architecture.genome import GENES_PER_SLOT, canonical, split, tile
from star.architecture.scales import Scale
from star.cost.cost import DTYPE_BYTES
from star.errors import UserError, nearest
from star.records import Genome, Individual
from star.run.plan import RunPlan, read_plan

if TYPE_CHECKING:
    from star.storage.run_directory import RunDirectory

DEFAULT_SCALE = "nano"
DEFAULT_DTYPE = "bf16"


class Member(NamedTuple):
    """An individual of a run, as it was when last kept, and the plan of the run."""

    individual: Individual
    plan: RunPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes at which architectures are priced, as given on the command line; None: those of the architecture."""

    scale: str | None = None
    context: int | None = None
    batch: int | None = None
    dtype: str | None = None
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An architecture and where it is priced; the individual, if it is one of a run, and the scale that it was trained
    at; what the catalogue or a file says of it, if it is from there."""

    genome: Genome
    scale: Scale
    context: int
    batch: int
    dtype: str
    individual: Individual | None = None
    trained_at: str = ""
    is_as_trained: bool = False  # costs are those of the very model whose quality was measured
    named: NamedGenome | None = None
    notes: tuple[str, ...] = ()  # sentences on what is priced

    @property
    def dtype_bytes(self) -> float:
        return DTYPE_BYTES[self.dtype]

    @property
    def objectives(self) -> dict[str, float] | None:
        """The objectives that its run stored, if it was trained in one."""
        return (self.individual.objectives or None) if self.individual else None

    @property
    def proxy(self) -> str:
        """The words that mark a quality measured at another size than that of the costs beside it."""
        return f"proxy at {self.trained_at}" if self.trained_at and not self.is_as_trained else ""

    @property
    def is_as_published(self) -> bool:
        """Whether it has the sizes that figures are published for."""
        own = self.named.scale if self.named else None
        return own is not None and own.dims == self.scale.dims and own.num_slots == self.scale.num_slots


def find(text: str, sizes: Sizes) -> Found:
    """The architecture that `text` stands for: at the sizes that are asked for, else at its own.

    Its own are those that it was published at, or the target of its run; nano's for any other. A name or a file takes
    the scale's number of slots, and so does the pattern of a run if that is shorter; a text is taken as it is.
    """
    member = find_member(text)
    named = None if member or catalogue.is_text(text) else catalogue.load(text)
    plan = member.plan if member and sizes.scale is None else None
    config = plan.settings if plan else None
    own = plan.target_scale if plan else named.scale if named and sizes.scale is None else None
    dtype = sizes.dtype or (config.dtype if config else DEFAULT_DTYPE)
    scale, _ = find_sizes(sizes, own, dtype)
    if member:
        genome = _repeat(member, scale, is_counted=config is not None)
    else:
        genome = named.at(scale.num_slots) if named else catalogue.resolve(text, scale.num_slots)
    context = sizes.context or (config.context if config else None) or scale.dims.seq_len
    return Found(
        genome=genome,
        scale=scale,
        context=context,
        batch=sizes.batch or (config.batch if config else 1),
        dtype=dtype,
        individual=member.individual if member else None,
        trained_at=member.plan.settings.scale if member else "",
        is_as_trained=member is not None and genome == member.individual.genome and _is_trained_scale(member, sizes),
        named=named,
        notes=tuple(_notes(member, named, scale, context)),
    )


def find_sizes(sizes: Sizes, own: Scale | None = None, dtype: str = DEFAULT_DTYPE) -> tuple[Scale, float]:
    """The scale that is asked for, or `own`, and the bytes of a number."""
    scale = own or catalogue.find_scale(sizes.scale or DEFAULT_SCALE)
    dtype = sizes.dtype or dtype
    if dtype not in DTYPE_BYTES:
        raise UserError(f"unknown dtype {dtype!r}{nearest(dtype, DTYPE_BYTES)}")
    if sizes.window:
        scale = replace(scale, dims=replace(scale.dims, window=sizes.window))
    return scale, DTYPE_BYTES[dtype]


def find_member(text: str) -> Member | None:
    """The individual of a run that RUN:ID stands for; None for any other text."""
    path, colon, number = text.rpartition(":")
    if not (colon and number.isdecimal()):
        return None
    run = open_run(path)
    return Member(run.find_individual(number), read_plan(run))


def open_run(path: str | Path) -> "RunDirectory":
    """Return a run to read. UserError if there is none."""
    from star.storage.run_directory import RunDirectory  # which loads pyarrow

    return RunDirectory(path).open()


def _is_trained_scale(member: Member, sizes: Sizes) -> bool:
    if sizes.scale is None:
        return not member.plan.is_priced_elsewhere
    return catalogue.find_scale(sizes.scale).dims == member.plan.trained.dims


def _notes(member: Member | None, named: NamedGenome | None, scale: Scale, context: int) -> Iterator[str]:
    period = count_slots(member.individual.genome) if member else named.period if named else scale.num_slots
    if scale.num_slots < period and not member:
        yield f"the first {scale.num_slots} of its {period} slots are priced, as many as scale {scale.name} has"
    elif scale.num_slots > period and scale.num_slots % period:
        yield f"its {period} slots are repeated to the {scale.num_slots} of scale {scale.name}, the last repeat cut off"
    if scale.dims.style.positions == "learned" and context > scale.dims.seq_len:
        yield f"its learned positions end at {scale.dims.seq_len:,} tokens"


def count_slots(genome: Genome) -> int:
    """The slots of a genome, empty ones included."""
    return len(split(genome)[1]) // GENES_PER_SLOT


def _repeat(member: Member, scale: Scale, is_counted: bool) -> Genome:
    """The backbone of a run's individual as the run counted it, or repeated to the depth of another scale if that is
    greater."""
    genome = member.individual.genome
    is_pattern = member.plan.is_priced_elsewhere
    if not is_counted:
        is_pattern = scale.num_slots > count_slots(genome)
    return tile(canonical(genome), scale.num_slots) if is_pattern else genome
