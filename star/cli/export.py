"""The command that writes models as code: export."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star.architecture.catalogue import find_scale, is_text, read_scale, scale_text
from star.architecture.genome import to_text
from star.architecture.scales import SCALES, Scale
from star.cli.console import note, print_json, say
from star.cli.find import DEFAULT_DTYPE, Member, Sizes, find, find_member, open_run
from star.cli.sizes import Json
from star.cost.cost import DTYPE_BYTES
from star.errors import UserError, disk_errors_reported, nearest
from star.export.formats import FORMATS, NATIVE, TORCH
from star.run.plan import RunPlan, read_plan
from star.storage.places import CONFIG, TRAIN_CONFIG, refuse_foreign

if TYPE_CHECKING:
    from star.export.untrained import Size
    from star.storage.run_directory import RunDirectory

TRAINED, RANDOM, NONE = WEIGHTS = ("trained", "random", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Options of an export: the directory, the scale, whether weights are the trained ones, the seed of random weights,
    and the format."""

    to: Path
    scale: str | None
    is_trained: bool
    seed: int | None
    format: str


def export(
    what: Annotated[
        str,
        typer.Argument(
            help="Directory of a run (its front is exported) or of a training, RUN:ID, a name, a .toml file, or the "
            "text of a genome."
        ),
    ],
    to: Annotated[Path, typer.Option(help="Directory to write to.")],
    scale: Annotated[
        str | None,
        typer.Option(
            help="Sizes of the models: nano, micro, 125m, 1b, a named model, or a .toml file with a table \\[scale].",
            show_default="those that were trained; without trained weights the target of the run, the architecture's "
            "own, or nano",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help=f"Weights that are written beside the code: {', '.join(WEIGHTS)}.",
            show_default="trained where there are such and --scale is not given, else none",
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            help=f"Format: {', '.join(FORMATS)}. torch is a Python file and its weights, hf a folder that transformers "
            "loads with trust_remote_code, native a checkpoint of a family that it knows; the others are graphs of a "
            "forward pass and of a decoding step.",
        ),
    ] = TORCH,
    family: Annotated[
        str | None,
        typer.Option(help="Family of --format native.", show_default="the first that the model lies in"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Random seed of --weights random.")] = 0,
    json: Json = False,
) -> None:
    """Export models as readable code with weights, as folders for transformers, or as graphs."""
    for kind, value, known in (("weights", weights, WEIGHTS), ("format", format, FORMATS)):
        if value is not None and value not in known:
            raise UserError(f"unknown {kind} {value!r:.60}{nearest(value, known)}")
    if weights == TRAINED and scale:
        raise UserError("--weights trained is for the sizes that were trained: leave --scale out")
    is_trained = weights == TRAINED or (weights is None and scale is None)
    if family and format != NATIVE:
        raise UserError("--family is for --format native")
    asked = Request(
        to=to,
        scale=scale,
        is_trained=is_trained,
        seed=seed if weights == RANDOM else None,
        format=f"{format}:{family}" if family else format,
    )
    path = Path(what)
    if (path / CONFIG).is_file():
        models, notes = _export_run(open_run(path), asked)
    elif (path / TRAIN_CONFIG).is_file():
        models, notes = _export_training(path, asked)
    elif member := find_member(what):
        models, notes = _export_member(what, member, asked)
    else:
        if os.sep in what and not is_text(what) and path.suffix != ".toml":
            refuse_foreign(path)
        if weights == TRAINED:
            raise UserError(f"{what:.60} has no trained weights: name a run, RUN:ID or a training")
        models, notes = _export_untrained(what, asked)
    note(*notes)
    if json:
        print_json({"exported": what, "to": str(to), "models": list(map(str, models)), "notes": notes})
    elif (path / CONFIG).is_file():
        say(f"{len(models)} models in {to}; {to / 'README.md'} lists them")
    else:
        say(f"{models[0] / 'model.py' if format == TORCH else models[0]}")


def _export_run(run: "RunDirectory", asked: Request) -> tuple[list[Path], list[str]]:
    from star.export.front import export_front  # which loads torch

    plan = read_plan(run)
    notes = export_front(run, asked.to, _size_of_run(plan, asked), asked.format)
    generation = run.latest_generation()
    assert generation, "it was exported"
    front = sorted(generation.front, key=lambda one: [one.objectives[column] for column in plan.columns])
    return [asked.to / str(one.id) for one in front], notes + _target_note(plan, asked.is_trained)


def _export_member(what: str, member: Member, asked: Request) -> tuple[list[Path], list[str]]:
    from star.export.front import export_member
    from star.run.text import read_tokenizer

    run = open_run(what.rpartition(":")[0])
    individual, plan = member
    _refuse_occupied(asked.to)
    tokenizer, size = read_tokenizer(plan.settings, run.path), _size_of_run(plan, asked)
    notes = export_member(individual, run, plan, tokenizer, asked.to, size, asked.format)
    return [asked.to], notes + _target_note(plan, asked.is_trained)


def _export_training(path: Path, asked: Request) -> tuple[list[Path], list[str]]:
    from star.trainer.plan import plan_training
    from star.trainer.settings import from_toml

    plan = plan_training(from_toml((path / TRAIN_CONFIG).read_text(encoding="utf-8")))
    if not asked.is_trained and asked.scale:
        return _export_untrained(to_text(plan.genome), asked)
    _refuse_occupied(asked.to)
    if not asked.is_trained:
        from star.export.untrained import export_untrained

        name, toml = plan.settings.scale, plan.settings.scale_toml
        own = read_scale(toml, name) if toml else find_scale(name)
        size = _size(name, toml, own, plan.dims.seq_len, DTYPE_BYTES[DEFAULT_DTYPE], asked.seed)
        return [asked.to], export_untrained(plan.genome, size, (), asked.to, asked.format)

    from star.export.trained import export_training
    from star.metrics.trained_model import read_training

    trained = read_training(path)
    weights = {name: one.numpy() for name, one in trained.model.weights().items()}
    measured, vocab_size = f"star eval {path} measures it", trained.dims.vocab_size
    notes = export_training(plan, vocab_size, weights, trained.tokenizer, measured, asked.to, asked.format)
    return [asked.to], [*trained.notes, *notes]


def _export_untrained(what: str, asked: Request) -> tuple[list[Path], list[str]]:
    """Export an architecture at a scale, or at its own sizes."""
    from star.export.untrained import export_untrained

    found = find(what, Sizes(scale=asked.scale))
    own = found.named is not None and found.named.scale is not None and asked.scale is None
    name = what if own else asked.scale or found.scale.name
    _refuse_occupied(asked.to)
    size = _size(name, "", found.scale, found.context, found.dtype_bytes, asked.seed)
    notes = export_untrained(found.genome, size, (), asked.to, asked.format)
    return [asked.to], [*(one.replace("are priced", "are exported") for one in found.notes), *notes]


def _size_of_run(plan: RunPlan, asked: Request) -> "Size | None":
    """Return the sizes that are asked for, or those of the target of a run; None for those that were trained."""
    if asked.is_trained:
        return None
    width, config = plan.target.dtype_bytes, plan.settings
    if asked.scale:
        own = find_scale(asked.scale)
        return _size(asked.scale, "", own, own.dims.seq_len, width, asked.seed)
    return _size(config.target, config.target_toml, plan.target_scale, plan.target.context, width, asked.seed)


def _size(name: str, toml: str, scale: Scale, context: int, dtype_bytes: float, seed: int | None) -> "Size":
    from star.export.untrained import Size

    if not toml and name not in SCALES:
        toml = scale_text(name)
    return Size(name=name, toml=toml, scale=scale, context=context, dtype_bytes=dtype_bytes, seed=seed)


def _target_note(plan: RunPlan, is_trained: bool) -> list[str]:
    """Return the sentence that leads to the models at the target of a run, if that is another scale."""
    if not (is_trained and plan.is_priced_elsewhere):
        return []
    return [
        f"these are the models as trained, at {plan.settings.scale}; --weights none or random exports them at the "
        f"target {plan.settings.target}"
    ]


def _refuse_occupied(to: Path) -> None:
    """Raise UserError if a directory holds anything else than an exported model."""
    from star.export.front import OURS

    with disk_errors_reported(f"read {to}"):
        if foreign := sorted({one.name for one in to.iterdir()} - OURS) if to.is_dir() else []:
            raise UserError(f"{to} holds {foreign[0]:.60}, which no export wrote: choose another directory")
