"""The success of the variation operators is that of the offspring in the record."""

import json
from dataclasses import asdict, replace

import pytest
from support.runs import Driver
from support.tiny import CONFIG, invent, write_text

from star.architecture.genome import parse
from star.run.plan import read_plan
from star.run.variation import KINDS, kinds_of, measure_success

A, B = parse("11111-21111-31111"), parse("41112-51112-61112")
ALL = {"levels": "all", "slots": 4}


@pytest.fixture(params=[{}, {"mode": "steady"}, {"rungs": 2, "eta": 2, "tokens": 256}, ALL], ids=str)
def run(request, tmp_path):
    config = replace(CONFIG, corpus=(write_text(tmp_path),), **request.param)
    return Driver(invent).run_in(tmp_path / "run", config)


def shown(members, id):
    return kinds_of(members[id].genome, [members[parent].genome for parent in members[id].parents])


def test_success_is_counted_in_every_generation(run):
    """Survivors are in the generations' files with their parents; all others are told apart by their number alone."""
    found = {one.kind: one for one in measure_success(run)}
    generations = run.generations()
    members = {one.id: one for generation in generations for one in (*generation.individuals, *generation.front)}
    survived = {one.id for generation in generations for one in generation.individuals}
    on_front = {one.id for generation in generations for one in generation.front}
    assert found["uniform sample"].offspring == CONFIG.population
    assert found["uniform sample"].survived == sum(not members[id].parents for id in survived)
    assert found["crossover"].offspring <= generations[-1].next_id - CONFIG.population
    assert list(found) == [kind for kind in KINDS if kind in found]
    bred = {id for id, one in members.items() if one.parents and set(one.parents) <= members.keys()}
    for kind, one in found.items():
        own = {id for id in bred if kind in shown(members, id)}
        counts = [(one.survived, len(own & survived)), (one.on_front, len(own & on_front))]
        # In steady mode a parent can have lived between two generations only.
        is_steady = read_plan(run).settings.mode == "steady"
        assert kind == KINDS[0] or all(ours >= theirs if is_steady else ours == theirs for ours, theirs in counts)
        assert one.offspring >= one.survived >= 0 <= one.on_front


@pytest.mark.parametrize(
    ("child", "kinds"),
    [
        (A, ()),
        (B, ()),
        ((*A[:5], *B[5:]), ("crossover",)),
        ((7, *A[1:]), ("mutation: class",)),
        ((*A[:6], 2, *B[7:10], *A[10:]), ("crossover", "mutation: featurizer-sharing group")),
        ((*A[:12], 2, 2, 3), tuple(KINDS[i] for i in (4, 5, 6))),
    ],
)
def test_kinds_by_hand(child, kinds):
    assert kinds_of(child, (A, B)) == kinds


def test_children_of_one_parent_are_not_crossed():
    assert kinds_of(B, (A,)) == ("mutation: class", "mutation: feature-sharing strategy")
    assert kinds_of(A, ()) == ("uniform sample",)


def test_own_decks_mutate_on_their_levels():
    parent = parse("12123,1211,1211,1211+11142,1231,1231/11111-21111")
    operator, featurizer = (list(parent) for _ in range(2))
    operator[1], featurizer[7] = 2, 3
    assert kinds_of(tuple(operator), (parent, parent)) == ("mutation: operator genome",)
    assert kinds_of(tuple(featurizer), (parent, parent)) == ("mutation: featurizer genome",)


def test_the_command_prints_it_and_names_a_record_that_is_not_complete(star, refused, run):
    code, out, err = star("status", run.path, "--operators", "--json")
    assert (code, err) == (0, "") and json.loads(out) == [asdict(one) for one in measure_success(run)]
    lines = star("status", run.path, "--operators")[1].splitlines()
    assert lines[0].split()[:3] == ["kind", "offspring", "survived"] and len(lines) == 1 + len(json.loads(out))
    for path in (run.path / "evaluations").iterdir():
        path.unlink()
    refused(["status", run.path, "--operators"], "the record of", "is not complete")
