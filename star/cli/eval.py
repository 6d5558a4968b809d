"""The command that measures a trained model: eval."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from star.architecture.genome import to_text
from star.cli import options
from star.cli.console import is_text, note, print_json
from star.cli.eval_tables import SHOW
from star.cli.find import find_member, open_run
from star.cli.sizes import Json
from star.cli.sources import absolute_sources
from star.errors import UserError
from star.metrics.settings import EvalSettings
from star.options import options_of

if TYPE_CHECKING:
    from star.metrics.loss import Stretch
    from star.metrics.trained_model import TrainedModel

OPTIONS = tuple(options_of(EvalSettings))
Record = dict[str, Any]


@options.with_settings(OPTIONS, EvalSettings)
def eval(
    given: dict[str, Any],
    model: Annotated[
        str,
        typer.Argument(help="Directory of a training, an exported folder or the model.safetensors in it, or RUN:ID."),
    ],
    json: Json = False,
) -> None:
    """Measure a trained model: loss on text, synthetic tasks, tasks of lm-eval, samples, speed and memory."""
    if "corpus" in given:
        given["corpus"] = absolute_sources(given["corpus"])
    with options.named_as_options(given.keys()):
        settings = EvalSettings(**given)
        if not all(map(is_text, settings.prompt)):
            raise UserError("--prompt must be text in UTF-8")
        found: Record = {}
        for name, record in measure(model, settings):
            found[name] = record
            if not json:
                SHOW[name](record)
    if json:
        print_json(finite(found))


def measure(name: str, settings: EvalSettings) -> Iterator[tuple[str, Any]]:
    """Yield what a model is, and then what is measured of it, part by part, under names and as JSON has it."""
    from star.metrics.tasks import find_tasks

    tasks = find_tasks(settings.task)
    harness = import_harness() if settings.harness else None
    loaded = harness.load_tasks(settings.harness, settings.harness_dir) if harness else None
    trained = load(name, settings)
    yield "model", describe(trained, settings)
    if settings.measures_text:
        yield "text", measure_text(trained, settings)
    if tasks:
        yield "tasks", measure_tasks(trained, settings, tasks)
    if harness:
        context = settings.context or trained.context
        trained.check_context("context", context)
        yield "harness", harness.run_tasks(trained, context, loaded)
    if settings.prompt:
        yield "samples", draw_samples(trained, settings)
    if settings.speed:
        yield "speed", measure_speed(trained, settings)


def load(name: str, settings: EvalSettings) -> "TrainedModel":
    """Return the model that a person named, on the device and in the number format of the settings."""
    import torch

    from star.metrics.trained_model import read_member, read_model
    from star.trainer.processes import find_device

    device = find_device(settings.device)
    member = find_member(name)
    trained = read_member(open_run(name.rpartition(":")[0]), *member) if member else read_model(Path(name))
    for sentence in trained.notes:
        note(f"note: {sentence}")
    trained.model.to(device=device, dtype=getattr(torch, settings.dtype))
    if settings.compile:
        trained.model.compile()
    return trained


def import_harness() -> Any:
    """Return the module that runs tasks of lm-eval. Raise UserError if that is not installed."""
    try:
        from star.metrics import harness
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("lm_eval", "datasets", "huggingface_hub"):
            raise
        raise UserError('--harness needs lm-eval: pip install lm-eval, or "star[eval]"') from error
    return harness


def describe(trained: "TrainedModel", settings: EvalSettings) -> Record:
    """Return what a model is."""
    return {
        "name": trained.name,
        "genome": to_text(trained.genome),
        "scale": trained.scale.name,
        "params": sum(one.numel() for one in trained.model.parameters()),
        "vocabulary": trained.dims.vocab_size,
        "tokenizer": trained.tokenizer.name,
        "context": trained.context,
        "device": trained.model.embedding.weight.device.type,
        "dtype": settings.dtype,
    }


def measure_text(trained: "TrainedModel", settings: EvalSettings) -> Record:
    """Return the loss on the corpus."""
    from star.data.sources import called
    from star.metrics import text
    from star.metrics.documents import choose_source

    source = choose_source(trained, settings.corpus, settings.text_field)
    found = text.measure_text(trained, source, settings)
    loss = found.loss
    return {
        "corpus": ", ".join(map(called, source.sources)),
        "side": settings.side,
        "documents": loss.documents,
        "tokens": loss.tokens,
        "bytes": round(loss.num_bytes),
        "context": found.windowing.context,
        "stride": found.windowing.stride,
        "loss": loss.loss,
        "perplexity": loss.perplexity,
        "bits_per_byte": loss.bits_per_byte,
        "interval": loss.interval,
        "positions": list(map(_stretch, loss.positions.doublings())),
        "contexts": [{"context": one.last, **_stretch(one)} for one in found.contexts],
        "full_windows": found.full_windows,
    }


def _stretch(one: "Stretch") -> Record:
    return one._asdict()


def measure_tasks(trained: "TrainedModel", settings: EvalSettings, tasks: list[str]) -> list[Record]:
    """Return the errors of new models in synthetic tasks."""
    from star.metrics.tasks import run_task

    device, found = trained.model.embedding.weight.device.type, []
    for task in tasks:
        note(f"training a new model on {task}")
        found.append(run_task(trained, task, int(settings.task_tokens or 0), settings.seed, device)._asdict())
    return found


def draw_samples(trained: "TrainedModel", settings: EvalSettings) -> list[Record]:
    """Return continuations of each prompt."""
    import torch

    from star.metrics.samples import sample

    device, found = trained.model.embedding.weight.device, []
    for prompt in settings.prompt:
        chance = torch.Generator(device).manual_seed(settings.seed)
        texts = sample(trained, prompt, settings.samples, settings.max_tokens, settings.temperature, chance)
        found.append({"prompt": prompt, "texts": texts})
    return found


def measure_speed(trained: "TrainedModel", settings: EvalSettings) -> list[Record]:
    """Return time and memory at each context."""
    from star.metrics import speed

    found = []
    for context in settings.contexts or (max(2, trained.context),):
        one = speed.measure_speed(trained, context)
        rates = {
            "prefill_tokens_per_second": context / one.prefill_seconds.median,
            "decode_tokens_per_second": 1 / one.decode_seconds.median,
        }
        found.append(asdict(one) | rates)
    return found


def finite(value: Any) -> Any:
    """Return a value with None in place of the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
