"""A verification as tables and as JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from star.cli.columns import HEADS, figure
from star.cli.console import count, say, stdout
from star.cli.table import Table

if TYPE_CHECKING:
    from star.run.verification import Verification, Verified


def describe(found: "Verification") -> dict[str, Any]:
    """Return a verification as JSON has it."""
    verdicts = {one.hash: found.verdict(one) for one in found.baselines}
    front = {one.hash for one in found.front}
    return {
        "tokens": found.tokens,
        "members": [_as_json(found, one) | {"on_front": one.hash in front} for one in found.members],
        "baselines": [
            _as_json(found, one) | {"beaten": verdicts[one.hash][0], "by": list(verdicts[one.hash][1])}
            for one in found.baselines
        ],
    }


def print_verification(found: "Verification") -> None:
    """Print members and baselines with their intervals, changed places and verdicts."""
    from star.run.verification import changed_places

    places, front = changed_places(found.members), {one.hash for one in found.front}
    columns = list(dict.fromkeys(column for one in found.members for column in one.costs))
    heads = [f">{HEADS.get(column, column)}" for column in columns]
    rows = Table(">id", f">{found.ranked_by}", ">verified", ">place", *heads, "on the verified front")
    for one in sorted(found.members, key=lambda one: (not one.qualities, one.mean)):
        place = "{} -> {}".format(*places[one.hash]) if one.hash in places else ""
        proxy = "" if one.proxy is None else f"{one.proxy:.4f}"
        stands = "yes" if one.hash in front else "no"
        rows.add_row(one.id, proxy, _interval(found, one), place, *_costs(one, columns), stands)
    stdout().print(rows)
    baselines = Table("baseline", ">verified", *heads, "beaten on all objectives")
    for one in found.baselines:
        verdict, ids = found.verdict(one)
        by = f", by {', '.join(map(str, ids))}" if ids else ""
        baselines.add_row(one.name, _interval(found, one), *_costs(one, columns), verdict + by)
    say("")
    stdout().print(baselines)
    say("", f"bits per byte after {found.tokens:,} tokens, with 95 % intervals where trainings were repeated")
    deviation, freedom = found.deviation
    if freedom:
        say(f"standard deviation between seeds {deviation:.4f}, with {count(freedom, 'degree')} of freedom")


def _costs(one: "Verified", columns: list[str]) -> list[str]:
    """Return the costs as cells, empty where one was not measured because the training failed."""
    return [figure(column, one.costs[column]) if column in one.costs else "" for column in columns]


def _as_json(found: "Verification", one: "Verified") -> dict[str, Any]:
    half = found.half_width(one)
    numbers = {"quality_bpb": one.mean if one.qualities else None, "half_width": half if half == half else None}
    return asdict(one) | numbers


def _interval(found: "Verification", one: "Verified") -> str:
    if not one.qualities:
        return one.error.partition(":")[0] or "not yet"
    half = found.half_width(one)
    return f"{one.mean:.4f} ± {half:.4f}" if half == half else f"{one.mean:.4f}"
