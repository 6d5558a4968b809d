"""What a person reads of the time of a run, while it lasts and at its end."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from star.cli.closing import describe_store, describe_timing
from star.cli.console import count
from star.cli.live import Watcher
from star.records import STORE, Evaluation, Generation, Individual, Status
from star.run.plan import plan_run
from star.run.settings import Settings


def summary(**fields):
    """Of a run of 12 proxies in a minute."""
    values = {"wall_seconds": 60.0, "evaluations": 12, "duplicates_avoided": 1, "repaired": 3, "workers": 2}
    values |= {"overhead_seconds": 6.0, "worker_utilisation": 0.85, "reused": 0}
    return SimpleNamespace(**values | fields)


def test_timing():
    assert describe_timing(summary()) == [
        "12 proxies, 1 duplicate avoided, children repaired: 3; 1 min 00 s with 2 workers",
        "overhead 10.0%: the time in which no proxy was training; workers busy 85.0%",
    ]
    assert describe_timing(summary(wall_seconds=0.0)) == [], "a finished run was resumed"


def test_timing_where_all_was_known():
    assert describe_timing(summary(wall_seconds=0.2, overhead_seconds=0.2, worker_utilisation=0.0, reused=12)) == [
        "12 proxies, 1 duplicate avoided, children repaired: 3; 0 s with 2 workers",
        "nothing to train: every result was known already",
    ]


@pytest.mark.parametrize("reused, line", [(0, ""), (1, "1 of these proxies was"), (2, "2 of these proxies were")])
def test_the_store(reused, line):
    assert describe_store(summary(reused=reused)) == (f"{line} trained by earlier runs" if line else "")


def test_nouns_agree_with_their_numbers():
    assert [count(n, "proxy") for n in (0, 1, 2)] == ["0 proxies", "1 proxy", "2 proxies"]
    assert [count(n, "worker") for n in (0, 1, 2)] == ["0 workers", "1 worker", "2 workers"]


def watch(capsys, worker: str) -> tuple[str, str]:
    """The lines of a search after its first generation of one proxy, and the news on the bar."""
    one = Individual(
        id=0, genome=(), hash="a", generation=0, parents=(), status=Status.OK, objectives={"quality_bpb": 2.5},
        rank=0, crowding=0.0,
    )  # fmt: skip
    generation = Generation(
        number=0, individuals=(one,), front=(one,), rng_state="", next_id=1, evaluations=1, duplicates_avoided=0,
        repaired=0, failures={}, hypervolume=1.0,
    )  # fmt: skip
    with Watcher(plan_run(Settings(generations=3)), Path()) as watcher:
        watcher.run_started(3, None)
        watcher.workers_ready(1, 2.0)
        watcher.generation_started(0, 1, 1)
        watcher.evaluated(Evaluation(hash="a", status=Status.OK, objectives={"quality_bpb": 2.5}, worker=worker))
        watcher.generation_finished(generation, "")
        (task,) = watcher._bar.tasks
    return capsys.readouterr().err, task.fields["news"]


def test_the_time_left_is_on_the_bar_alone(capsys):
    lines, news = watch(capsys, "host:1")
    assert news.endswith(" left") and " left" not in lines
    assert lines.splitlines()[-1] == (
        "generation 0/3  1 proxy  best 2.500, median 2.500 bits/byte  hypervolume 1.0000  front 1"
    )


def test_what_the_store_gives_says_nothing_of_the_pace(capsys):
    assert watch(capsys, STORE)[1] == ", best 2.500, median 2.500 bits/byte"
