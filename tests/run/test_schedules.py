"""Schedules without files or pools: at any moment what is recorded leads back to where they stood."""

import random
from dataclasses import replace

import pytest
from support.tiny import CONFIG, invent

from star.records import Generation, Job
from star.run.core import NONE_YET
from star.run.evolve import evaluation_settings
from star.run.generational import Generational
from star.run.plan import plan_run
from star.run.settings import MODES
from star.run.steady import Steady
from star.run.steps import Known, Train, Wait

PLAIN = replace(CONFIG, generations=2)
RACE = replace(PLAIN, rungs=3, eta=2, tokens=256, population=14, offspring=8)
CONFIGS = {
    "plain": PLAIN,
    "race": RACE,
    "limits": replace(RACE, max_params=9_000.0),
    "one slot": replace(RACE, slots=1),
    "estimates": replace(RACE, ranking="estimate", longer_share=0.9),
}
BOTH = [(name, mode) for name in CONFIGS for mode in MODES if CONFIGS[name].ranking == "loss" or mode == "generations"]
WORKERS = 3


def schedule_of(plan, rows, latest, longer):
    return Steady(plan, rows) if plan.settings.mode == "steady" else Generational(plan, rows, latest, longer)


def next_trainings(schedule, number):
    """Return the next trainings that a schedule asks for, none of which lands."""
    found = []
    while len(found) < number:
        step = schedule.next(has_room=True)
        assert not isinstance(step, Known | Wait | None), "that was recorded"
        found += [step] if isinstance(step, Train) else []
    return found


def walk(plan, seed, is_restored=False):
    """Do all that a schedule asks for, with trainings that end in a random order; return its generations and rows.

    Restored, another schedule takes its place after each training that begins, made from what is recorded.
    """
    schedule, settings = schedule_of(plan, {}, NONE_YET, {}), evaluation_settings(plan)
    rng, flight, generations = random.Random(seed), [], []
    while (step := schedule.next(len(flight) <= WORKERS)) is not None:
        match step:
            case Train():
                flight.append(step)
                if is_restored:
                    core = schedule.core
                    schedule = schedule_of(plan, core.known, core.latest, core.longer)
                    assert next_trainings(schedule, len(flight)) == flight
            case Known(task, evaluation):
                schedule.report(task, evaluation)
            case Wait():
                task, until, _, tokens = flight.pop(rng.randrange(len(flight)))
                part = invent(Job(task=task, until=until, tokens=tokens), settings, None).evaluation
                row = schedule.report(task, part if tokens else schedule.core.join(task, part), tokens)
                assert row == (schedule.core.longer[task.hash, tokens] if tokens else schedule.core.known[task.hash])
            case Generation():
                generations.append(step)
    assert not flight
    return generations, schedule.core.known, schedule.core.longer


@pytest.mark.parametrize(("name", "mode"), BOTH)
@pytest.mark.parametrize("seed", range(3))
def test_a_schedule_is_restored_at_any_moment(mode, name, seed):
    plan = plan_run(replace(CONFIGS[name], mode=mode))
    generations, rows, longer = walk(plan, seed)
    assert [one.number for one in generations] == [0, 1, 2]
    assert walk(plan, seed, is_restored=True) == (generations, rows, longer)
    assert bool(longer) == (generations[-1].estimated > 0) == (name == "estimates")
    assert mode == "generations" or Steady(plan, rows).views == generations


@pytest.mark.parametrize("name", CONFIGS)
def test_by_generations_the_order_in_which_trainings_end_does_not_show(name):
    plan = plan_run(CONFIGS[name])
    assert walk(plan, 0) == walk(plan, 1)
