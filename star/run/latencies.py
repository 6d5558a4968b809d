"""The latencies that a run has recorded."""

from typing import TYPE_CHECKING

from star.cost.latency import LatencyTable
from star.errors import UserError
from star.evaluation.objectives import OBJECTIVES
from star.run.plan import RunPlan

if TYPE_CHECKING:
    from star.storage.run_directory import RunDirectory  # loads pyarrow

COLUMNS = {one.column for one in OBJECTIVES.values() if one.needs_latency}


def read_latencies(plan: RunPlan, run: "RunDirectory") -> LatencyTable:
    """Return the table of a run; empty if it minimises no latency, or none is recorded."""
    rows = run.latencies(plan.latency_table().setting) if plan.minimises_latency else None
    return plan.latency_table(rows)


def refuse_latencies_of_proxies(plan: RunPlan, run: "RunDirectory") -> None:
    """Raise UserError if a run has latencies without a table of operators: they were measured on its proxies."""
    if not plan.minimises_latency or run.latencies(plan.latency_table().setting) is not None:
        return
    measured = any(COLUMNS & one.objectives.keys() for one in run.evaluations().values())
    if measured and not run.has_lost_latencies():
        raise UserError(
            f"the latencies in {run.path} were measured on its proxies, not at the target, and cannot be compared with "
            "new ones: begin a new run"
        )
