"""The results of a run's seed genomes, as a table."""

from pathlib import Path

from star.cli.results import HEADS, figure
from star.cli.table import Table
from star.records import Status
from star.run.seeds import SeedResult


def seeds_table(seeds: list[SeedResult], front: set[int]) -> Table:
    """Return one line a seed genome: its name, identity and objectives, and whether it is on the front."""
    columns = list(dict.fromkeys(column for one in seeds for column in one.objectives))
    rows = Table("seed genome", ">id", *(f">{HEADS.get(column, column)}" for column in columns), "outcome")
    for one in seeds:
        values = [figure(column, one.objectives[column]) if column in one.objectives else "" for column in columns]
        outcome = "on the front" if one.id in front else "dominated" if one.status is Status.OK else str(one.status)
        rows.add_row(_brief(one.name), str(one.id), *values, outcome)
    return rows


def _brief(name: str) -> str:
    """Return a name in one short line: of a file its last part."""
    return name if len(name) <= 40 else Path(name).name[-40:]
