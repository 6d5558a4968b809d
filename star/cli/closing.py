"""The end of a search in lines: its front, verification, seeds and time."""

from pathlib import Path
from typing import TYPE_CHECKING

from star.cli.columns import HEADS, figure
from star.cli.console import count, duration, say, stdout
from star.cli.results import describe_estimates, front_table, latest, read_front
from star.cli.table import Table
from star.cli.verification import print_verification
from star.cost.limits import describe_limits
from star.evaluation.objectives import QUALITY
from star.records import Status
from star.report.text import describe_failures

if TYPE_CHECKING:
    from star.run.seeds import SeedResult
    from star.run.summary import Summary
    from star.run.verification import Verification

ROWS = 20  # of the front that are printed


def print_end(
    path: Path, summary: "Summary", seeds: list["SeedResult"], verified: "Verification | None" = None
) -> None:
    """Print the front of a run, its verification, the results of its seed genomes, and what the search took."""
    plan, front = read_front(path)
    stdout().print(front_table(front[:ROWS], plan))
    if len(front) > ROWS:
        say(f"and {len(front) - ROWS} more: star front {path}")
    if sentence := describe_estimates(latest(path)):
        say(sentence)
    if verified:
        say("")
        print_verification(verified)
    if seeds:
        say("")
        stdout().print(seeds_table(seeds, {row.id for row in front}, bool(latest(path).estimated)))
    if timing := describe_timing(summary):
        say("", *timing)
    if plan.race.steps and summary.evaluations:
        share = summary.training_tokens / (summary.evaluations * plan.settings.tokens)
        stopped = count(summary.stopped, "proxy")
        say(f"race    {stopped} stopped at a rung; {share:.1%} of the tokens of full training")
    if summary.screened:
        say(f"screen  {count(summary.screened, 'candidate')} not trained, by an estimate from costs and operators")
    if reused := describe_store(summary):
        say(f"store   {reused}")
    say(
        f"costs   at {summary.target}, {summary.context:,} tokens in {summary.dtype}, "
        f"{count(summary.batch, 'sequence')} at a time"
    )
    if summary.limits or summary.turned_away:
        limits = describe_limits(summary.limits) or "none"
        mostly = f", mostly: {summary.turned_away_mostly}" if summary.turned_away_mostly else ""
        say(f"limits  {limits}; {count(summary.turned_away, 'candidate')} rejected before training{mostly}")
    say(f"failed  {describe_failures(summary.failures, summary.evaluations)}")
    elsewhere = f", as trained; at {summary.target}: star export {path} --weights none --to DIR"
    models = f"models  {path / 'export'}{elsewhere if plan.is_priced_elsewhere else ''}"
    say(f"report  {path / 'report.html'}", models)


def describe_timing(summary: "Summary") -> list[str]:
    """Return what was trained in which time, and the use of the workers; empty if this process began none."""
    wall = summary.wall_seconds
    if not wall:
        return []
    lines = [
        f"{count(summary.evaluations, 'proxy')}, {count(summary.duplicates_avoided, 'duplicate')} avoided, "
        f"children repaired: {summary.repaired}; {duration(wall)} with {count(summary.workers, 'worker')}"
    ]
    if not summary.worker_utilisation:
        return [*lines, "nothing to train: every result was known already"]
    overhead, busy = summary.overhead_seconds / wall, summary.worker_utilisation
    return [*lines, f"overhead {overhead:.1%}: the time in which no proxy was training; workers busy {busy:.1%}"]


def describe_store(summary: "Summary") -> str:
    """Return how many of the proxies earlier runs had trained; empty if none."""
    if not summary.reused:
        return ""
    return f"{summary.reused} of these proxies {'was' if summary.reused == 1 else 'were'} trained by earlier runs"


def seeds_table(seeds: list["SeedResult"], front: set[int], is_estimated: bool = False) -> Table:
    """Return one line a seed genome: its name, identity and objectives, and whether it is on the front."""
    columns = list(dict.fromkeys(column for one in seeds for column in one.objectives))
    heads = HEADS | ({QUALITY: "bits/byte, estimate"} if is_estimated else {})
    rows = Table("seed genome", ">id", *(f">{heads.get(column, column)}" for column in columns), "outcome")
    for one in seeds:
        values = [figure(column, one.objectives[column]) if column in one.objectives else "" for column in columns]
        outcome = "on the front" if one.id in front else "dominated" if one.status is Status.OK else str(one.status)
        rows.add_row(_brief(one.name), str(one.id), *values, outcome)
    return rows


def _brief(name: str) -> str:
    """Return a name in one short line: of a file its last part."""
    return name if len(name) <= 40 else Path(name).name[-40:]
