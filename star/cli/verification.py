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
    front = {one.hash for one in found.front}
    return {
        "tokens": found.tokens,
        "expected_tokens": found.expected_tokens,
        "members": [_as_json(found, one) | {"on_front": one.hash in front} for one in found.members],
        "baselines": [_as_json(found, one) | _verdicts(found, one) for one in found.baselines],
    }


def _verdicts(found: "Verification", one: "Verified") -> dict[str, Any]:
    beaten, by = found.verdict(one)
    verdict = {"beaten": beaten, "by": list(by)}
    if found.expected_tokens:
        beaten, by = found.expected_verdict(one)
        verdict |= {"expected_beaten": beaten, "expected_by": list(by)}
    return verdict


def print_verification(found: "Verification") -> None:
    """Print members and baselines with their intervals, changed places and verdicts."""
    from star.run.verification import changed_places

    places, front = changed_places(found.members), {one.hash for one in found.front}
    columns = list(dict.fromkeys(column for one in found.members for column in one.costs))
    heads = [f">{HEADS.get(column, column)}" for column in columns]
    is_estimated = bool(found.expected_tokens)
    expected = [">expected"] * is_estimated
    rows = Table(">id", f">{found.ranked_by}", ">verified", *expected, ">place", *heads, "on the verified front")
    for one in sorted(found.members, key=lambda one: (not one.qualities, one.score)):
        place = "{} -> {}".format(*places[one.hash]) if one.hash in places else ""
        proxy = "" if one.proxy is None else f"{one.proxy:.4f}"
        stands = "yes" if one.hash in front else "no"
        rows.add_row(one.id, proxy, *_qualities(found, one), place, *_costs(one, columns), stands)
    stdout().print(rows)
    judged = ["beaten on all objectives", *["expected to be beaten"] * is_estimated]
    baselines = Table("baseline", ">verified", *expected, *heads, *judged)
    for one in found.baselines:
        verdicts = [_verdict(found.verdict(one))] + [_verdict(found.expected_verdict(one))] * is_estimated
        baselines.add_row(one.name, *_qualities(found, one), *_costs(one, columns), *verdicts)
    say("")
    stdout().print(baselines)
    say("", f"bits per byte after {found.tokens:,} tokens, with 95 % intervals where the noise between seeds is known")
    if is_estimated:
        say(f"expected: estimated from these for {found.expected_tokens:,} tokens, ± one standard error; the order")
    deviation, freedom = found.deviation
    if freedom:
        prior = f", {found.noise.freedom} of them from the prior" if found.noise.freedom else ""
        say(f"standard deviation between seeds {deviation:.4f}, with {count(freedom, 'degree')} of freedom{prior}")


def _verdict(found: tuple[str, tuple[int, ...]]) -> str:
    verdict, ids = found
    return verdict + (f", by {', '.join(map(str, ids))}" if ids else "")


def _qualities(found: "Verification", one: "Verified") -> list[str]:
    """Return the verified quality as a cell, and the expected one if there are any."""
    cells = [_interval(found, one)]
    if found.expected_tokens:
        cells.append(f"{one.expected.mean:.4f} ± {one.expected.error:.4f}" if one.expected else "")
    return cells


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
