"""Commands that search: evolve and resume. Torch, Ray and pymoo are loaded only when the configuration is right."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from star.cli import options
from star.cli.closing import print_end
from star.cli.console import note, print_json
from star.cli.live import Watcher
from star.cli.sizes import Json
from star.cli.sources import absolute, absolute_sources
from star.cli.train import resume_training
from star.cli.verification import describe
from star.errors import UserError
from star.options import read_count, read_number
from star.records import UNTRAINED
from star.run.plan import RunPlan, plan_run, read_plan
from star.run.settings import Settings, from_toml
from star.storage.places import TRAIN_CONFIG
from star.tracking.trackers import check_trackers

if TYPE_CHECKING:
    from star.run.summary import Summary
    from star.storage.run_directory import RunDirectory

RUNS = Path("runs")
NOTHING_TRAINED = 1


@options.with_settings(options.ALL)
def evolve(
    given: dict[str, Any],
    config: Annotated[Path | None, typer.Option(help="TOML file of a run; options given beside it win.")] = None,
    out: Annotated[Path | None, typer.Option(help="New directory of the run. \\[default: runs/DATE-TIME]")] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Synthetic task whose error replaces quality as an objective: mad, mad/in-context-recall, mqar, ... "
            "May be repeated.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Search for architectures. Everything is recorded as it happens; `star resume` continues after any stop."""
    base = _read(config)
    if "target" in given:
        base = replace(base, target_toml="")  # that of a run.toml belongs to the target there
    if "scale" in given:
        base = replace(base, scale_toml="")
    if "tokenizer" in given:
        given["tokenizer"] = absolute(given["tokenizer"])
    with options.named_as_options(given.keys()):
        settings = replace(base, **given)
        settings = replace(
            settings,
            corpus=absolute_sources(settings.corpus),
            objectives=_with_tasks(settings.objectives, task or []),
        )
        plan = plan_run(settings)
        if "eta" in given and not plan.race.steps:
            raise UserError("--eta is the ratio between the rungs of a race, and this run has none: give --rungs too")
        plan.check()
        check_trackers(settings.track)

        from star.storage.places import claimed_directory, refuse_occupied, refuse_undecodable
        from star.storage.run_directory import RunDirectory

        for source in settings.corpus:
            refuse_undecodable(source)
        place = nullcontext(out) if out else claimed_directory(RUNS / time.strftime("%Y-%m-%d-%H%M%S"))
        with place as path:
            refuse_occupied(path)

            from star.run.evolve import evolve as search

            run = RunDirectory(path)
            _drive(run, plan, lambda watcher: search(settings, run, watcher), json)


@options.with_settings((*options.PLACES, "track"))
def resume(
    given: dict[str, Any],
    run: Annotated[Path, typer.Argument(help="Directory of the run.")],
    generations: Annotated[str, typer.Option(help="Generations to add to those the run was to have, as +N.")] = "+0",
    tokens: Annotated[str, typer.Option(help="Tokens to add to those of a training, as +N, such as +2M.")] = "",
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Where the text of the run lies now, if it has moved. May be repeated."),
    ] = None,
    json: Json = False,
) -> None:
    """Continue a stopped run or training; the result is identical to that of an uninterrupted one."""
    if (run / TRAIN_CONFIG).is_file():
        _refuse_options(generations, given)
        resume_training(run, _read_tokens(tokens), corpus, json)
        return
    if tokens:
        raise UserError("--tokens adds to a training: a run takes --generations +N")
    extra = read_count(generations.removeprefix("+"))
    if extra is None or not generations.startswith("+"):
        raise UserError(f"--generations of resume adds to the run: write +N, such as +2, not {generations:.40}")

    from star.run.damage import summarise_finished
    from star.run.verifier import is_verified
    from star.storage.run_directory import RunDirectory

    with RunDirectory(run).resume() as directory:
        plan = read_plan(directory)
        settings = replace(plan.settings, generations=plan.settings.generations + extra)
        summary = summarise_finished(directory, replace(plan, settings=settings))
        if summary and is_verified(directory, plan):
            note(f"{run} is finished; star resume {run} --generations +N adds more")
            _tell(directory, summary, json, only_missing=True)
            return

        from star.run.evolve import resume as go_on

        if corpus:
            given["corpus"] = absolute_sources(corpus)
        tracked = replace(plan, settings=replace(plan.settings, track=given.get("track", plan.settings.track)))
        _drive(directory, tracked, lambda watcher: go_on(directory, extra, watcher, given), json)


def _refuse_options(generations: str, given: dict[str, Any]) -> None:
    """Raise UserError for options of resume that are for runs."""
    names = [options.spell(name) for name in given] + ["--generations"] * (generations != "+0")
    if names:
        raise UserError(f"{names[0]} is for runs, and this is a training, which takes --tokens and --corpus")


def _read_tokens(text: str) -> float:
    if text and not text.startswith("+"):
        raise UserError(f"--tokens of resume adds to the training: write +N, such as +2M, not {text:.40}")
    return read_number("--tokens", text[1:]) if text else 0.0


def _with_tasks(objectives: tuple[str, ...], tasks: list[str]) -> tuple[str, ...]:
    """Return the objectives with synthetic tasks in the place of quality, or before all others."""
    if not tasks:
        return objectives
    names = objectives if "quality" in objectives else ("quality", *objectives)
    return tuple(one for name in names for one in (tasks if name == "quality" else [name]))


def _drive(run: "RunDirectory", plan: RunPlan, search: Callable[[Watcher], "Summary"], json: bool) -> None:
    """Search while a person watches, then export, report and tell what came out."""
    from star.run.evolve import Interrupted
    from star.run.verifier import read_verification

    try:
        with Watcher(plan, run.path) as watcher:
            summary = search(watcher)
            watcher.verified(read_verification(run, plan))
    except Interrupted as stop:
        raise typer.Abort(stop) from None
    _tell(run, summary, json)


def _tell(run: "RunDirectory", summary: "Summary", json: bool, only_missing: bool = False) -> None:
    """Write the models and the report of a run, or what is missing of these, and tell what came out."""
    from star.run.seeds import seed_results
    from star.run.verifier import read_verification

    if not (only_missing and (run.path / "export" / "README.md").exists()):
        from star.export.front import export_front

        note(*export_front(run, run.path / "export"))
    if not (only_missing and (run.path / "report.html").exists() and (run.path / "front.png").exists()):
        from star.report.page import write_report

        write_report(run, run.path)
    seeds, verified = seed_results(run), read_verification(run, read_plan(run))
    if json:
        verification = {"verification": describe(verified)} if verified else {}
        print_json(asdict(summary) | {"seeds": [asdict(one) for one in seeds]} | verification)
    else:
        print_end(run.path, summary, seeds, verified)
    if not summary.front_size:
        note(f"star: no proxy was trained to the end, mostly for: {_usual_failure(run)}")
        raise typer.Exit(NOTHING_TRAINED)


def _usual_failure(run: "RunDirectory") -> str:
    """The most frequent error, of what was trained if anything was."""
    failed = [one for one in run.evaluations().values() if one.error]
    trained = [one for one in failed if one.status not in UNTRAINED]
    reasons = Counter(one.error for one in trained or failed)
    return reasons.most_common(1)[0][0] if reasons else "there was nothing to train"


def _read(path: Path | None) -> Settings:
    if path is None:
        return Settings()
    try:
        return from_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the configuration {path} is not text") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
