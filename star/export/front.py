"""The Pareto front of a run as a folder of standalone models and a README that lists them."""

import shutil
from collections import Counter
from pathlib import Path

from star.architecture.description import ModelDescription
from star.architecture.genome import canonical, decode, split, tile, to_text
from star.architecture.structures import specify
from star.data.sources import called
from star.data.tokenizer import TOKENIZER_FILES, Tokenizer
from star.errors import UserError, disk_errors_reported
from star.export.formats import OTHER_FILES, TORCH, find_writer
from star.export.single_file import CODE_FILES, ExportHeader
from star.export.untrained import Size, export_untrained
from star.options import read_record
from star.records import Genome, Individual
from star.run.plan import RunPlan, read_plan
from star.run.seeds import lineage, seed_names
from star.run.text import read_tokenizer
from star.storage.files import write_atomic
from star.storage.places import WEIGHTS_FILE
from star.storage.run_directory import RunDirectory

TITLE = "# Pareto front of "
# All that a model's folder may hold, killed exports included.
FILES = (*CODE_FILES, WEIGHTS_FILE, *TOKENIZER_FILES, *OTHER_FILES)
OURS = {*FILES, *(f".{name}.tmp" for name in FILES), "__pycache__"}
USE = """\
Each folder is one model: `model.py` needs only torch, `model.safetensors` holds its weights, `train.py` trains it.

    cd {id}
    python model.py "def "                 # continues a text
    python -c "import model; print(model.load())"

The head of each `model.py` tells its genome, its costs slot by slot, its lineage and how it was trained.
"""


def export_front(run: RunDirectory, out: Path, size: Size | None = None, format: str = TORCH) -> list[str]:
    """Write OUT/README.md and OUT/ID/ for every member of the front of the latest generation: as it was trained, or at
    another size, in a format of `find_writer`.

    Folders of an earlier export into `out` are replaced; nothing else in it is touched.
    Returns one sentence for each thing that is missing: weights that are not kept, an empty front.
    Raises UserError if there is no generation, the tokenizer of the run is gone, or `out` cannot be written or holds a
    README of something else.
    """
    generation = run.latest_generation()
    if generation is None:
        raise UserError(f"{run.path} has no finished generation yet, so there is no front to export")
    plan = read_plan(run)
    columns, tokenizer = plan.columns, read_tokenizer(plan.settings, run.path)
    front = sorted(generation.front, key=lambda one: [one.objectives[column] for column in columns])
    notes = [] if front else [f"The front of generation {generation.number} is empty: no proxy trained."]
    with disk_errors_reported(f"write {out}"):
        _prepare(out, {str(one.id) for one in front})
        for individual in front:
            notes += export_member(individual, run, plan, tokenizer, out / str(individual.id), size, format)
        write_atomic(out / "README.md", _readme(run, front, columns, notes, format).encode(errors="backslashreplace"))
    return notes


def _prepare(out: Path, keep: set[str]) -> None:
    """Make `out` if need be, and take away the models that an earlier export left there."""
    readme = out / "README.md"
    text = readme.read_text(errors="replace") if readme.exists() else ""
    if text and not text.startswith(TITLE):  # an empty one may be all that a full disk took of ours
        raise UserError(f"{out} holds a README.md that no export wrote; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    for folder in out.iterdir():
        stale = folder.is_dir() and folder.name.isdigit() and folder.name not in keep
        if stale and {path.name for path in folder.iterdir()} <= OURS:
            shutil.rmtree(folder)


def export_member(
    individual: Individual,
    run: RunDirectory,
    plan: RunPlan,
    tokenizer: Tokenizer,
    out: Path,
    size: Size | None = None,
    format: str = TORCH,
) -> list[str]:
    """Write the folder `out` of one individual: as it was trained, or at another size. Return sentences on what is
    missing."""
    if size:
        genome = tile(canonical(individual.genome), size.scale.num_slots)
        return export_untrained(genome, size, _facts(individual, run, plan), out, format)
    weights = run.load_weights(individual.hash) or {}
    header = ExportHeader(
        genome=individual.genome,
        facts=_facts(individual, run, plan),
        context=plan.target.context,
        dtype_bytes=plan.target.dtype_bytes,
        description=ModelDescription(
            genome=to_text(individual.genome),
            scale=plan.settings.scale,
            scale_toml=plan.settings.scale_toml,
            window=plan.settings.window,
            vocab_size=plan.trained.dims.vocab_size,
            context=plan.trained.recipe.seq_len,
            tokenizer=Path(tokenizer.name).name,
            tokenizer_digest=tokenizer.digest,
        ),
        tokenizer=tokenizer.file(),
    )
    spec = specify(decode(individual.genome), plan.trained.dims)
    notes = [f"Model {individual.id}: {sentence}" for sentence in find_writer(format)(spec, weights, header, out)]
    if weights:
        return notes
    return [f"Model {individual.id} has code but no weights: {run.path} does not keep those of {individual.hash}."]


def _facts(individual: Individual, run: RunDirectory, plan: RunPlan) -> tuple[tuple[str, str], ...]:
    config, recipe = plan.settings, plan.trained.recipe
    elsewhere = "" if config.target == config.scale else f" (costs counted at {config.target})"
    measured = ", ".join(f"{name} {format_number(value)}" for name, value in individual.objectives.items())
    return (
        (
            "lineage",
            f"individual {individual.id} of {run.path.resolve().name}, born in generation {individual.generation} "
            f"{lineage(individual, seed_names(config))}",
        ),
        ("measured", measured + elsewhere),
        *_costs(individual, plan),
        ("corpus", ", ".join(map(called, config.corpus))),
        (
            "recipe",
            f"scale {config.scale}: {recipe.tokens:,} tokens in {recipe.steps:,} steps of {recipe.batch_size} x "
            f"{recipe.seq_len}, {recipe.optimizer}, learning rate {recipe.learning_rate:g}, seed {config.seed}",
        ),
        ("made with", ", ".join(f"{name} {value}" for name, value in read_record(run.config_toml).items())),
    )


def _costs(individual: Individual, plan: RunPlan) -> list[tuple[str, str]]:
    """Return the line on its costs at a target that is another scale than the trained one."""
    if not plan.is_priced_elsewhere:
        return []
    config, cost = plan.settings, plan.target.count(individual.genome)
    return [
        (
            "target",
            f"{config.target}: {cost.params:,} parameters, {cost.cache_bytes:,} bytes of cache at {config.context:,} "
            f"tokens, {cost.memory_bytes:,} bytes of both in {config.dtype} for {config.batch:,} at a time",
        )
    ]


def _brief(genome: Genome) -> str:
    classes, backbone = split(genome)
    return f"`{to_text(backbone)}`" + (f" over {len(classes)} classes of its own" if classes else "")


def format_number(value: float) -> str:
    """Return a whole number in full, any other with four decimals."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4f}"


def _readme(run: RunDirectory, front: list[Individual], columns: list[str], notes: list[str], format: str) -> str:
    names = ["model", *columns, "operators", "genome"]
    rows = [names, ["---", *("---:" for _ in columns), "---", "---"]]
    for one in front:
        counts = Counter(slot.liv.name for slot in decode(one.genome)).most_common()
        operators = ", ".join(f"{count} {name}" for name, count in counts)
        values = [format_number(one.objectives[column]) for column in columns]
        rows.append(
            [f"[{one.id}]({one.id}{'/model.py' if format == TORCH else ''})", *values, operators, _brief(one.genome)]
        )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    use = USE.format(id=front[0].id) if front and format == TORCH else ""
    remarks = "\n".join(f"- {note}" for note in notes)
    parts = [f"{TITLE}{run.path.resolve().name}", table, use.strip(), remarks]
    return "\n\n".join(part for part in parts if part) + "\n"
