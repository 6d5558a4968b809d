"""Commands that read a run: status, front, report."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from star.cli.columns import HEADS, figure
from star.cli.console import count, note, print_json, printable, say, stdout
from star.cli.find import open_run
from star.cli.sizes import Json
from star.cli.table import Table
from star.cli.verification import describe, print_verification
from star.cost.limits import describe_limits
from star.errors import UserError
from star.records import STORE, UNTRAINED, Evaluation, Generation, Status
from star.report.front import QUALITY, FrontRow, front_rows
from star.report.text import describe_failures
from star.run.plan import RunPlan, read_plan

if TYPE_CHECKING:
    from star.storage.run_directory import RunDirectory

Directory = Annotated[Path, typer.Argument(help="The directory of a run.")]

OWN = "~"  # before what tells apart the operators of one structure that are in no table
SETTINGS = ("algorithm", "mode", "scale", "tokens", "ranking", "rungs", "target", "context", "dtype", "batch")
ALWAYS = ("params", "cache_bytes", "memory_bytes")  # of the costs at a target of its own


# What `status` calls the keys of its JSON that do not say it themselves.
LABELS = {
    "stopped": "stopped early",
    "screened": "screened untrained",
    "estimated_tokens": "tokens estimated for",
    "reused": "taken from the store",
    "repaired": "children repaired",
    "turned_away": "rejected untrained",
    "tokens": "tokens a proxy",
    "workers": "workers at most",
}


def status(
    run: Directory,
    operators: Annotated[
        bool,
        typer.Option(
            "--operators",
            help="Show instead how often offspring of each kind of crossover and mutation survived and reached the "
            "front.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Show the progress of a run, finished or not.

    Training seconds are summed over the whole run; wall and overhead seconds are those of the last process that ended.
    """
    directory = open_run(run)
    if operators:
        _print_variation(directory, json)
        return
    plan = read_plan(directory)
    settings = plan.settings
    generation, timing = directory.latest_generation(), directory.timing()
    evaluations = list(directory.evaluations().values())
    found = {
        "run": str(run),
        "generation": generation.number if generation else None,
        "generations": settings.generations,
        "finished": bool(generation) and generation.number >= settings.generations,
        **{name: getattr(settings, name) for name in SETTINGS},
        "limits": dict(plan.limits),
        "objectives": list(settings.objectives),
        "corpus": list(settings.corpus),
        **_count(evaluations, _longer_tokens(plan, directory)),
        "longer_trainings": generation.longer if generation else 0,
        "estimated_tokens": generation.estimated if generation else 0,
        "duplicates_avoided": generation.duplicates_avoided if generation else 0,
        "repaired": generation.repaired if generation else 0,
        "turned_away": generation.turned_away if generation else 0,
        "hypervolume": generation.hypervolume if generation else None,
        "front_size": len(front_rows(generation)) if generation else 0,
        "workers": timing.workers if timing else settings.workers or None,
        "wall_seconds": timing.wall_seconds if timing else None,
        "training_seconds": sum(evaluation.train_seconds for evaluation in evaluations if _is_trained(evaluation)),
        "overhead_seconds": timing.overhead_seconds if timing else None,
        "worker_utilisation": timing.worker_utilisation if timing else None,
        "warnings": directory.warnings,
    }
    if json:
        print_json(found)
    else:
        _print_status(found)


def _print_variation(directory: "RunDirectory", json: bool) -> None:
    from star.run.replay import Differs  # these load pymoo
    from star.run.variation import measure_success

    try:
        found = measure_success(directory)
    except Differs as difference:
        raise UserError(f"the record of {directory.path} is not complete: {difference}") from difference
    if json:
        print_json([asdict(one) for one in found])
        return
    table = Table("kind", ">offspring", ">survived", ">share", ">reached the front", ">share")
    for one in found:
        shares = (f"{count / one.offspring:.1%}" for count in (one.survived, one.on_front))
        table.add_row(one.kind, one.offspring, one.survived, next(shares), one.on_front, next(shares))
    stdout().print(table)


def _is_trained(evaluation: Evaluation) -> bool:
    return evaluation.status not in UNTRAINED


def _longer_tokens(plan: RunPlan, directory: "RunDirectory") -> int:
    """Return the tokens of the longer trainings from which qualities are estimated, beyond those of the proxies."""
    if not plan.estimation:
        return 0
    from star.run.estimates import read_longer, tokens_of

    return sum(tokens_of(read_longer(plan, directory), plan).values())


def _count(evaluations: list[Evaluation], longer_tokens: int) -> dict[str, Any]:
    """Return how many proxies were trained, how they ended, and the tokens of all trainings of the search."""
    trained = [evaluation for evaluation in evaluations if _is_trained(evaluation)]
    failed = [one.status for one in trained if one.status not in (Status.OK, Status.STOPPED)]
    return {
        "evaluations": len(trained),
        "stopped": sum(evaluation.status is Status.STOPPED for evaluation in trained),
        "screened": sum(evaluation.status is Status.SCREENED for evaluation in evaluations),
        "reused": sum(evaluation.worker == STORE for evaluation in trained),
        "training_tokens": sum(evaluation.tokens for evaluation in trained) + longer_tokens,
        "failures": {str(status): failed.count(status) for status in dict.fromkeys(failed)},
    }


def _print_status(found: dict[str, Any]) -> None:
    texts = {
        "failures": describe_failures(found["failures"], found["evaluations"]),
        "limits": describe_limits(found["limits"]),
        "objectives": ", ".join(found["objectives"]),
        "corpus": ", ".join(found["corpus"]),
    }
    for name, value in (found | texts).items():
        if value not in ([], None, ""):
            say(f"{LABELS.get(name, name.replace('_', ' ')):22}{_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def front(run: Directory, json: Json = False) -> None:
    """List the Pareto front of a run, best quality first, and its verification if there is one.

    ~ marks an operator outside the table of classes; --json spells it out.
    """
    plan, rows = read_front(run)

    from star.run.verifier import read_verification  # which loads pyarrow

    verified = read_verification(open_run(run), plan)
    if json:
        longer = {one["id"]: one for one in describe(verified)["members"]} if verified else {}
        keys = {"verified_bpb": "quality_bpb", "verified_half_width": "half_width", "on_verified_front": "on_front"}
        print_json(
            [row.as_json() | {key: longer[row.id][name] for key, name in keys.items() if longer} for row in rows]
        )
        return
    stdout().print(front_table(rows, plan))
    if sentence := describe_estimates(latest(run)):
        say(sentence)
    if verified:
        say("")
        print_verification(verified)


def report(
    run: Directory,
    to: Annotated[Path | None, typer.Option(help="Directory to write to.", show_default="that of the run")] = None,
    json: Json = False,
) -> None:
    """Write report.html and front.png: charts of the Pareto front and of the operators of each generation."""
    directory = open_run(run)
    from star.report.page import write_report  # which loads torch

    out = to or run
    paths = write_report(directory, out)
    if json:
        print_json({"run": str(run), "report": str(paths[0]), "figure": str(paths[1])})
    else:
        say(*paths)


def read_front(run: Path) -> tuple[RunPlan, list[FrontRow]]:
    """Return the plan of a run and its front, with costs at its target."""
    plan = read_plan(open_run(run))
    return plan, front_rows(latest(run), plan.target)


def latest(run: Path) -> Generation:
    """The newest generation of a run; UserError if there is none."""
    directory = open_run(run)
    generation = directory.latest_generation()
    for warning in directory.warnings:
        note(f"note: {warning}")
    if generation is None:
        raise UserError(f"{run} has no finished generation yet; `star status {run}` tells how far it is")
    return generation


def describe_estimates(generation: Generation) -> str:
    """Return in a sentence what the estimates of a generation stand for; empty if its qualities are measured."""
    if not generation.estimated:
        return ""
    return (
        f"bits per byte estimated for {generation.estimated:,} training tokens, ± one standard error, with "
        f"{count(generation.longer, 'longer training')} of this run"
    )


def front_table(front: list[FrontRow], plan: RunPlan) -> Table:
    """One line a member of the front: identity, objectives, the operator of every slot; also what it takes at a target
    that is another scale, or has limits."""
    measured = dict(front[0].objectives) if front else {}
    if front and (plan.is_priced_elsewhere or plan.limits):
        measured |= {name: value for name, value in front[0].costs.items() if name in ALWAYS}
    columns = [column for column in HEADS | measured if column in measured]
    kind = "estimate" if any(row.quality_error for row in front) else "proxy"
    proxy = {QUALITY: f"bits/byte, {kind} at {plan.settings.scale}"} if plan.is_priced_elsewhere else {}
    if kind == "estimate" and not proxy:
        proxy = {QUALITY: "bits/byte, estimate"}
    heads = HEADS | proxy
    rows = Table(
        ">id", ">born", *(f">{printable(heads.get(column, column))}" for column in columns), "operators, slot by slot"
    )
    for row in front:
        values = row.costs | row.objectives
        figures = [figure(column, values[column]) for column in columns]
        if row.quality_error:
            figures[columns.index(QUALITY)] += f" ± {row.quality_error:.4f}"
        names = [name.partition(OWN)[0] + OWN * (OWN in name) for name in row.classes]
        rows.add_row(row.id, row.generation, *figures, " ".join(names))
    return rows
