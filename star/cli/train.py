"""The command that trains one architecture: train."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from star.architecture.catalogue import scale_text
from star.architecture.description import KEY, read_names, renamed
from star.architecture.genome import to_text
from star.cli import options
from star.cli.console import duration, note, print_json, say, si
from star.cli.find import Found, Sizes, find, find_member, open_run
from star.cli.sizes import Json
from star.cli.sources import absolute, absolute_sources
from star.data.vocabulary import BYTES
from star.errors import UserError
from star.options import options_of
from star.storage.places import MODEL, TEXT, WEIGHTS_FILE, claimed_directory
from star.tracking.trackers import Trackers, check_trackers
from star.trainer.settings import TrainSettings, from_toml
from star.trainer.torchrun import count_processes

if TYPE_CHECKING:
    from star.records import Arrays
    from star.storage.training_directory import Row, TrainingDirectory
    from star.trainer.plan import TrainPlan
    from star.trainer.train import Trained

OPTIONS = tuple(name for name, (_, known) in options_of(TrainSettings).items() if not known.in_file_only)
TRAININGS = Path("trainings")
FAILED = 1
TWO_SIDED = 1.96  # standard errors on each side of the mean in a 95 % interval


@options.with_settings(OPTIONS, TrainSettings)
def train(
    given: dict[str, Any],
    genome: Annotated[str, typer.Argument(help="A name, a .toml file, the text of a genome, or RUN:ID.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the training; one that holds this training already is continued. "
            "\\[default: trainings/DATE-TIME]"
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Train one architecture on text, with checkpoints; the same command continues it after any stop."""
    if not out and count_processes() > 1:
        raise UserError("several processes train together: give the directory by --out")
    found, own = _find(genome, given.get("scale"))
    for sentence in found.notes:
        note(f"note: {sentence.replace('are priced', 'are trained')}")
    for name in ("tokenizer", "init_from"):
        if name in given:
            given[name] = absolute(given[name])
    if "corpus" in given:
        given["corpus"] = absolute_sources(given["corpus"])
    with options.named_as_options(given.keys()):
        settings = TrainSettings(genome=to_text(found.genome), **own | given)
        check_trackers(settings.track)
        if out:
            drive(settings, out, json)
        else:
            with claimed_directory(TRAININGS / time.strftime("%Y-%m-%d-%H%M%S")) as path:
                drive(settings, path, json)


def resume_training(path: Path, more: float, corpus: list[str] | None, json: bool) -> None:
    """Continue the training in a directory, on so many tokens more than it was to have. A corpus says where its folder
    of tokens lies now."""
    from star.storage.training_directory import TrainingDirectory
    from star.trainer.train import extend

    directory = TrainingDirectory(path)
    if more and count_processes() > 1:
        raise UserError(
            f"several processes would each add tokens: begin star resume {path} --tokens +N alone, stop it by Ctrl-C, "
            "then start all"
        )
    settings = extend(directory, more) if more else from_toml(directory.config_toml)
    drive(replace(settings, corpus=absolute_sources(corpus)) if corpus else settings, path, json)


def drive(settings: TrainSettings, path: Path, json: bool) -> None:
    """Train in a directory while a person watches, then export the model and tell what came out."""
    from star.storage.training_directory import TrainingDirectory
    from star.trainer.train import train as run
    from star.trainer.trainer import Stopped
    from star.training.loss import Diverged

    directory = TrainingDirectory(path)
    trackers = Trackers(settings.track, path, asdict(settings), note)
    try:
        trained = run(settings, directory, make_watcher(trackers), lambda: read_initial(settings.init_from))
        if trained.is_first:
            quality = trained.outcome.quality
            trackers.log(trained.plan.recipe.steps, {"final_bpb": quality.mean, "final_error": quality.error})
    except (Stopped, KeyboardInterrupt):
        how = f"interrupted; go on with: star resume {path}" if directory.is_begun else "interrupted before it began"
        raise typer.Abort(how) from None
    except Diverged as error:
        note(f"star: the training diverged: {error}; a lower --learning-rate may help")
        raise typer.Exit(FAILED) from None
    finally:
        trackers.close()
    if trained.is_first:
        _export(trained, directory)
        tell(trained, directory, json)


def _find(genome: str, scale: str | None) -> tuple[Found, dict[str, Any]]:
    """Return the architecture, and the settings that follow from where it comes from: the scale, its text, and of a
    member of a run its window, tokenizer and balance."""
    member = find_member(genome)
    if scale:
        return find(genome, Sizes(scale=scale)), {"scale": scale}
    if member:
        run = member.plan.settings
        names = ("scale", "scale_toml", "window", "tokenizer", "balance")
        own = {name: getattr(run, name) for name in names}
        found = Found(
            genome=member.individual.genome,
            scale=member.plan.trained,
            context=member.plan.trained.dims.seq_len,
            batch=1,
            dtype=run.dtype,
        )
        return found, own | {"tokenizer": "" if run.tokenizer == BYTES else run.tokenizer}
    found = find(genome, Sizes())
    has_sizes = found.named is not None and found.named.scale is not None
    return found, {"scale": genome, "scale_toml": scale_text(genome)} if has_sizes else {"scale": found.scale.name}


def read_initial(place: str) -> "Arrays":
    """Return the weights that a training begins with: those of an exported model, of a training, or of RUN:ID.

    Raises:
        UserError: there are none.
    """
    if not place:
        return {}
    from safetensors import SafetensorError, safe_open

    if member := find_member(place):
        weights = open_run(place.rpartition(":")[0]).load_weights(member.individual.hash)
        if weights is None:
            raise UserError(f"the run keeps no weights of {place}, only those of its front")
        return weights
    tried = [Path(place), Path(place) / WEIGHTS_FILE, Path(place) / MODEL / WEIGHTS_FILE]
    path = next((one for one in tried if one.is_file()), None)
    if path is None:
        raise UserError(f"{place} holds no weights: neither an exported model nor a finished training")
    try:
        with safe_open(path, framework="np") as file:
            names = read_names((file.metadata() or {}).get(KEY))
            return {renamed(name, names): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, TypeError, SafetensorError) as error:  # TypeError: of bfloat16
        raise UserError(f"{path} is not a complete safetensors file: {error}") from error


def make_watcher(trackers: Trackers):
    """Return what prints the progress of a training on standard error and passes the rows of its curve to trackers."""
    from star.trainer.trainer import Watcher

    class Lines(Watcher):
        def noted(self, sentence: str) -> None:
            note(f"note: {sentence}")

        def started(self, plan: "TrainPlan", step: int, params: int) -> None:
            self._plan, self._begun, self._first = plan, time.perf_counter(), step
            recipe = plan.recipe
            where = f"step {step:,} of {recipe.steps:,}" if step else f"{recipe.steps:,} steps"
            note(
                f"training {si(params)} parameters: {where}, {recipe.batch_size} sequences of {recipe.seq_len} tokens, "
                f"{recipe.optimizer}, {recipe.dtype}"
            )

        def recorded(self, row: "Row") -> None:
            trackers.log(row["step"], {name: value for name, value in row.items() if name != "step"})
            steps = self._plan.recipe.steps
            spent = time.perf_counter() - self._begun
            left = spent * (steps - row["step"]) / (row["step"] - self._first)
            note(
                f"step {row['step']:,}/{steps:,}  {si(row['tokens'])} tokens  train {row['train_bpb']:.4f}, "
                f"validation {row['valid_bpb']:.4f} bits/byte  {row['tokens_per_second']:,.0f} tokens/s  "
                f"{row['utilisation']:.0%} of peak  {duration(left)} left"
            )

    return Lines()


def _export(trained: "Trained", directory: "TrainingDirectory") -> None:
    """Write the model as code and weights."""
    from star.data.prepare import stored_tokenizer
    from star.export.trained import export_training
    from star.trainer.train import text_source

    plan, quality = trained.plan, trained.outcome.quality
    tokenizer = stored_tokenizer(text_source(plan), directory.path / TEXT)
    measured = f"{quality.mean:.4f} bits per byte, standard error {quality.error:.4f}"
    export_training(plan, plan.dims.vocab_size, trained.outcome.weights, tokenizer, measured, directory.path / MODEL)


def tell(trained: "Trained", directory: "TrainingDirectory", json: bool) -> None:
    """Print what came out of a training."""
    quality, rows = trained.outcome.quality, trained.outcome.rows
    seconds = rows[-1]["seconds"] if rows else 0.0
    speed = rows[-1]["tokens"] / seconds if seconds else 0.0
    if json:
        print_json(
            {
                "training": str(directory.path),
                "model": str(directory.path / MODEL),
                "bits_per_byte": quality.mean,
                "standard_error": quality.error,
                "validation_tokens": quality.tokens,
                "tokens": trained.plan.recipe.steps * trained.plan.step_tokens,
                "train_seconds": seconds,
                "tokens_per_second": speed,
                "curve": rows,
            }
        )
        return
    interval = f"{quality.mean:.4f} ± {TWO_SIDED * quality.error:.4f}"
    say(
        f"{interval} bits/byte on {quality.tokens:,} tokens of validation text",
        f"trained on {si(trained.plan.recipe.steps * trained.plan.step_tokens)} tokens in {duration(seconds)}, "
        f"{speed:,.0f} tokens/s",
        f"model: {directory.path / MODEL}",
        f"star resume {directory.path} --tokens +N trains it on N tokens more",
    )
