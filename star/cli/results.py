"""Commands that read a run: status, front, report, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from star.cli.console import print_json, si, stderr, stdout, table
from star.errors import UserError
from star.records import STORE, Generation, Status
from star.report.failures import describe_failures
from star.report.front import FrontRow, front_rows

if TYPE_CHECKING:
    from star.run.plan import RunPlan

Directory = Annotated[Path, typer.Argument(help="The directory of a run.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on standard output.")]

OWN = "~"  # before what tells apart the operators of one structure that are in no table
# In the order of columns.
HEADS = {
    "quality_bpb": "bits/byte",
    "params": "params",
    "cache_bytes": "cache",
    "memory_bytes": "memory",
    "flops_per_token": "FLOP/token",
}
ALWAYS = ("params", "cache_bytes", "memory_bytes")  # of the costs at a target of its own
BYTES = ("cache_bytes", "memory_bytes")


def status(run: Directory, json: Json = False) -> None:
    """Tell how far a run has come; also while it is running.

    Training seconds are those of the whole run; the other times are of the last process that reached its end.
    """
    from star.cost.limits import describe_limits
    from star.run.plan import read_plan
    from star.storage.run_directory import RunDirectory

    directory = RunDirectory(run).open()
    plan = read_plan(directory)
    config, limits = plan.settings, dict(plan.limits)
    generation, evaluations = directory.latest_generation(), directory.evaluations().values()
    timing = directory.timing()
    trained = [evaluation for evaluation in evaluations if evaluation.status is not Status.INFEASIBLE]
    failures: dict[str, int] = {}
    for evaluation in trained:
        if evaluation.status not in (Status.OK, Status.STOPPED):
            failures[evaluation.status] = failures.get(evaluation.status, 0) + 1
    found = {
        "run": str(run),
        "generation": generation.number if generation else None,
        "generations": config.generations,
        "finished": bool(generation) and generation.number >= config.generations,
        "algorithm": config.algorithm,
        "mode": config.mode,
        "rungs": config.rungs,
        "target": config.target,
        "context": config.context,
        "dtype": config.dtype,
        "batch": config.batch,
        "limits": limits,
        "evaluations": len(trained),
        "stopped": sum(evaluation.status is Status.STOPPED for evaluation in trained),
        "reused": sum(evaluation.worker == STORE for evaluation in trained),
        "training_tokens": sum(evaluation.tokens for evaluation in trained),
        "failures": failures,
        "duplicates_avoided": generation.duplicates_avoided if generation else 0,
        "repaired": generation.repaired if generation else 0,
        "turned_away": generation.turned_away if generation else 0,
        "hypervolume": generation.hypervolume if generation else None,
        "front_size": len(front_rows(generation)) if generation else 0,
        "wall_seconds": timing.wall_seconds if timing else None,
        "training_seconds": sum(evaluation.train_seconds for evaluation in trained),
        "overhead_seconds": timing.overhead_seconds if timing else None,
        "worker_utilisation": timing.worker_utilisation if timing else None,
        "warnings": directory.warnings,
    }
    if json:
        print_json(found)
        return
    texts = {"failures": describe_failures(failures, len(trained)), "limits": describe_limits(limits)}
    for name, value in (found | texts).items():
        if value not in ([], None, ""):
            print(f"{name.replace('_', ' '):20}{_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def front(run: Directory, json: Json = False) -> None:
    """List the Pareto front of a run, best quality first. ~ marks an operator of a genome's own; --json names it."""
    plan, rows = read_front(run)
    if json:
        print_json([row.as_json() for row in rows])
    else:
        stdout().print(front_table(rows, plan))


def report(
    run: Directory,
    to: Annotated[Path | None, typer.Option("--to", help="A directory; that of the run by default.")] = None,
    json: Json = False,
) -> None:
    """Write report.html and front.png: the front in all pairs of objectives, the classes of every generation."""
    from star.report.page import write_report
    from star.storage.run_directory import RunDirectory

    out = to or run
    write_report(RunDirectory(run).open(), out)
    if json:
        print_json({"run": str(run), "report": str(out / "report.html"), "figure": str(out / "front.png")})
    else:
        print(f"{out / 'report.html'}\n{out / 'front.png'}")


def export(
    run: Directory,
    to: Annotated[Path, typer.Option("--to", help="The directory to write to.")],
    json: Json = False,
) -> None:
    """Write the front as standalone models: for each one a Python file that needs only torch, and its weights."""
    from star.export.front import export_front
    from star.storage.run_directory import RunDirectory

    notes = export_front(RunDirectory(run).open(), to)
    for note in notes:
        stderr().print(note, markup=False)
    models = [str(to / str(row.id)) for row in front_rows(latest(run))]
    if json:
        print_json({"run": str(run), "to": str(to), "models": models, "notes": notes})
    else:
        print(f"{len(models)} models in {to}; {to / 'README.md'} lists them")


def read_front(run: Path) -> tuple["RunPlan", list[FrontRow]]:
    """Return the plan of a run and its front, with costs at its target."""
    from star.run.plan import read_plan
    from star.storage.run_directory import RunDirectory

    plan = read_plan(RunDirectory(run).open())
    return plan, front_rows(latest(run), plan.target)


def latest(run: Path) -> Generation:
    """The newest generation of a run; UserError if there is none."""
    from star.storage.run_directory import RunDirectory

    directory = RunDirectory(run).open()
    generation = directory.latest_generation()
    for warning in directory.warnings:
        stderr().print(f"note: {warning}", markup=False)
    if generation is None:
        raise UserError(f"{run} has no finished generation yet; `star status {run}` tells how far it is")
    return generation


def front_table(front: list[FrontRow], plan: "RunPlan") -> Table:
    """One line a member of the front: identity, objectives, the operator of every slot; also what it takes at a target
    that is another scale, or has limits."""
    measured = dict(front[0].objectives) if front else {}
    if front and (plan.is_priced_elsewhere or plan.limits):
        measured |= {name: value for name, value in front[0].costs.items() if name in ALWAYS}
    columns = [*(column for column in HEADS if column in measured), *(measured.keys() - HEADS.keys())]
    rows = table(">id", ">born", *(f">{HEADS.get(column, column)}" for column in columns), "operators, slot by slot")
    for row in front:
        values = row.costs | row.objectives
        figures = [figure(column, values[column]) for column in columns]
        names = [name.partition(OWN)[0] + OWN * (OWN in name) for name in row.classes]
        rows.add_row(str(row.id), str(row.generation), *figures, " ".join(names))
    return rows


def figure(column: str, value: float) -> str:
    """Return a value of a column as tables show it."""
    if column == "quality_bpb":
        return f"{value:.4f}"
    return si(value, "B" if column in BYTES else "")
