"""The search against brute force: ranks, fronts, failures, duplicates, resumption, hypervolume."""

import itertools
import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from star.config import RunConfig
from star.genome import Rates, Space, canonical, genome_hash, parse, split, to_text
from star.records import Generation, Individual, Status
from star.search import Search, front_mask, hypervolume, objective_matrix, operators, reference_box, space_of
from star.spec import UserError

SPACES = {
    "paper": Space(3),
    "extended": Space(3, "extended"),
    "own decks": Space(3, "extended", "all", Rates(operator_mutation=0.2, featurizer_crossover=0.5)),
}
SIZES = {"population": 8, "offspring": 6, "space": SPACES["paper"], "num_objectives": 3}
EVERY_SPACE = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def measure(proposal, generation, fails=lambda proposal: False, num_objectives=3):
    """An evaluated proposal: integer objectives with ties, computed from the genome alone."""
    classes = np.array(proposal.genome[::5])
    values = {"z": classes.sum() % 7, "y": (17 - classes).sum() % 5, "x": abs(np.diff(classes, append=3)).sum() % 6}
    failed = fails(proposal)
    return Individual(
        id=proposal.id,
        genome=proposal.genome,
        hash=genome_hash(proposal.genome),
        generation=generation,
        parents=proposal.parents,
        status=Status.DIVERGED if failed else Status.OK,
        objectives={} if failed else {name: float(values[name]) for name in "zyx"[:num_objectives]},
        rank=0,
        crowding=0.0,
    )


def fails_often(proposal):
    return sum(proposal.genome) % 3 == 0


def record(search, number, survivors):
    return Generation(
        number=number,
        individuals=survivors,
        rng_state=search.snapshot(),
        next_id=search.next_id,
        evaluations=search.next_id,
        duplicates_avoided=search.duplicates_avoided,
        repaired=search.repaired,
        failures={},
        hypervolume=0.0,
    )


def advance(search, number, fails=fails_often):
    proposals = search.ask()
    return record(search, number, search.tell([measure(proposal, number, fails) for proposal in proposals]))


def dominates(a, b):
    return all(a <= b) and any(a < b)


def brute_force_ranks(values):
    """Rank of each finite row by peeling one front after another; None for the others."""
    ranks = [None] * len(values)
    left = [i for i, row in enumerate(values) if np.isfinite(row).all()]
    for rank in itertools.count():
        if not left:
            return ranks
        front = [i for i in left if not any(dominates(values[j], values[i]) for j in left)]
        for i in front:
            ranks[i] = rank
        left = [i for i in left if i not in front]


MATRICES = arrays(
    float,
    st.tuples(st.integers(0, 12), st.integers(1, 4)),
    elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, np.nan, np.inf, -np.inf]),
)


@given(MATRICES)
def test_front_mask_is_the_brute_force_front(values):
    assert front_mask(values).tolist() == [rank == 0 for rank in brute_force_ranks(values)]


@pytest.mark.parametrize("num_objectives", [1, 2, 3])
def test_ranks_and_survivors_are_those_of_brute_force(num_objectives):
    search = Search(**SIZES | {"num_objectives": num_objectives}, seed=3)
    survivors = ()
    for number in range(8):
        told = [measure(p, number, fails_often, num_objectives) for p in search.ask()]
        pool = [*survivors, *told]
        ranks = dict(zip((i.id for i in pool), brute_force_ranks(objective_matrix(pool)), strict=True))
        survivors = search.tell(told)
        assert len(survivors) == min(len(pool), SIZES["population"])
        sound = [i for i in survivors if i.status is Status.OK]
        assert [i.rank for i in sound] == [ranks[i.id] for i in sound]
        gone = [ranks[i.id] for i in pool if i.id not in {s.id for s in survivors} and ranks[i.id] is not None]
        assert max((i.rank for i in sound), default=0) <= min(gone, default=99)
        if gone:
            assert len(sound) == len(survivors), "a failed individual took the place of a sound one"
        assert all(i.rank > max((s.rank for s in sound), default=0) for i in survivors if i not in sound)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sound_status_with_an_objective_that_is_no_number_never_reaches_the_front(bad):
    search = Search(**SIZES, seed=5)
    planted = set()
    for number in range(5):
        told = [measure(proposal, number) for proposal in search.ask()]
        told[0] = replace(told[0], objectives={"z": -9.0, "y": -9.0, "x": bad})  # it would dominate everything
        planted.add(told[0].id)
        survivors = search.tell(told)
        assert not planted & {i.id for i in survivors if i.rank == 0}
        front = front_mask(objective_matrix(survivors))
        assert front.any() and not planted & {i.id for i, best in zip(survivors, front, strict=True) if best}


def test_a_failed_individual_loses_every_tournament_against_a_sound_one():
    for seed in range(20):
        search = Search(**SIZES, seed=seed)
        doomed = seed % SIZES["population"]
        advance(search, 0, fails=lambda proposal: proposal.id == doomed)  # noqa: B023
        parents = {parent for proposal in search.ask() for parent in proposal.parents}
        assert parents and doomed not in parents


def test_a_population_of_failures_survives_until_something_works():
    search = Search(**SIZES, seed=11)
    for number in range(3):
        survivors = advance(search, number, fails=lambda proposal: True).individuals
        assert len(survivors) == SIZES["population"]
        assert all(i.rank > 0 and i.crowding == 0 for i in survivors)
    survivors = advance(search, 3, fails=lambda proposal: proposal.id != search.next_id - 1).individuals
    assert [i.id for i in survivors if i.rank == 0] == [search.next_id - 1]


def test_no_draw_comes_from_the_system(monkeypatch):
    seeded = np.random.default_rng

    def refuse_entropy(seed=None):
        assert seed is not None, "a draw that no seed repeats"
        return seeded(seed)

    monkeypatch.setattr(np.random, "default_rng", refuse_entropy)
    before = np.random.get_state()[1].copy()
    search = Search(**SIZES, seed=2)
    for number in range(6):
        advance(search, number)
    assert (np.random.get_state()[1] == before).all()


def run(seed, generations, space=SIZES["space"]):
    search = Search(**SIZES | {"space": space}, seed=seed)
    return [advance(search, number) for number in range(generations)]


# What the search gave before it knew any other deck than the paper's or any lower level.
GOLDEN = {
    0: (
        "152212-11114-122224-132224 52212-152123-151121-101112 71111-122213-131124-171223 152214-32223-71113-161222",
        "52213-122123-111111-101112 71111-152213-132122-172223 52212-12114-122224-132224",
        "71213-122211-21124-171223 52213-122114-121211-101112 52211-11123-111124-132124",
    ),
    7: (
        "172223-142112-52212-141212 141113-52113-102224-142214 81214-111111-32214-162213 51114-11123-151212-12221",
        "51214-142112-52212-12121 141113-52113-151214-141214 62223-11123-151212-142212",
        "41114-12112-52212-142221 172123-141123-151212-141222 51223-142112-52222-142222",
    ),
}


@pytest.mark.parametrize("seed", GOLDEN)
def test_the_papers_space_gives_what_it_always_gave(seed):
    search = Search(4, 3, Space(4), 2, seed)
    for number, texts in enumerate(GOLDEN[seed]):
        proposals = search.ask()
        assert [to_text(proposal.genome) for proposal in proposals] == texts.split()
        told = []
        for proposal in proposals:
            total = sum(proposal.genome)
            one = measure(proposal, number, lambda proposal: sum(proposal.genome) % 4 == 0)
            told.append(replace(one, objectives=one.objectives and {"a": total / 3, "b": 1 / (1 + total % 5)}))
        search.tell(told)


def test_one_seed_gives_one_search_and_another_seed_another():
    assert run(7, 6) == run(7, 6)
    assert run(7, 1) != run(8, 1)


@EVERY_SPACE
@pytest.mark.parametrize("cut", range(7))
@pytest.mark.parametrize("killed_after_ask", [False, True])
def test_a_restored_search_goes_on_as_if_never_stopped(space, cut, killed_after_ask):
    whole = run(13, 8, space)
    sizes = SIZES | {"space": space}
    search = Search(**sizes, seed=13)
    for number in range(cut + 1):
        last = advance(search, number)
    if killed_after_ask:
        lost = search.ask()
        again = Search.restore(**sizes, seed=13, generation=last).ask()
        assert again == lost
    search = Search.restore(**sizes, seed=999, generation=last)
    assert [advance(search, number) for number in range(cut + 1, 8)] == whole[cut + 1 :]


def test_the_order_in_which_results_arrive_does_not_matter():
    forward, backward = Search(**SIZES, seed=4), Search(**SIZES, seed=4)
    for number in range(5):
        told = [measure(proposal, number, fails_often) for proposal in forward.ask()]
        backward.ask()
        assert forward.tell(told) == backward.tell(told[::-1])


def test_restore_refuses_what_belongs_to_another_search():
    search = Search(**SIZES, seed=1)
    last = advance(search, 0)
    for space in (Space(4), Space(3, "paper", "all"), Space(3, "extended", "all")):
        words = f"{space.num_slots} slots, deck {space.deck} and levels {space.levels} cannot give"
        with pytest.raises(UserError, match=f"generation 0 holds a genome that {words}"):
            Search.restore(**SIZES | {"space": space}, seed=1, generation=last)
    Search.restore(**SIZES | {"space": Space(3, "extended")}, seed=1, generation=last)  # a wider space holds it
    for space in (Space(3, "extended"), Space(3, "paper", "all")):
        (last_of_another,) = run(1, 1, space)
        with pytest.raises(UserError, match="cannot give: the run was made with others"):
            Search.restore(**SIZES, seed=1, generation=last_of_another)
    for state in ("no json", "[]", '{"bit_generator": "MT19937"}', json.dumps({"bit_generator": "PCG64"})):
        with pytest.raises(UserError, match="no generator state"):
            Search.restore(**SIZES, seed=1, generation=replace(last, rng_state=state))


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 4), st.integers(1, 12), st.integers(1, 12))
def test_no_duplicate_is_proposed_and_none_is_missing(seed, num_slots, population, offspring):
    search = Search(population, offspring, Space(num_slots), 3, seed)
    survivors, expected_id = (), 0
    for number in range(4):
        proposals = search.ask()
        assert len(proposals) == (offspring if number else population)
        assert [proposal.id for proposal in proposals] == list(range(expected_id, search.next_id))
        expected_id = search.next_id
        forms = [canonical(member.genome) for member in (*survivors, *proposals)]
        assert len(set(forms)) == len(forms)
        known = {survivor.id for survivor in survivors}
        assert all(set(proposal.parents) <= known for proposal in proposals)
        survivors = search.tell([measure(proposal, number, fails_often) for proposal in proposals])


@EVERY_SPACE
def test_every_proposal_is_a_genome_of_the_space(space):
    for generation in run(3, 6, space):
        for one in generation.individuals:
            assert space.repair(one.genome) == one.genome and parse(to_text(canonical(one.genome)))


def test_children_that_need_repair_are_counted():
    assert [generation.repaired for name in ("paper", "extended") for generation in run(3, 4, SPACES[name])] == [0] * 8
    counts = [generation.repaired for generation in run(3, 4, SPACES["own decks"])]
    assert counts[0] == 0 < counts[1] <= counts[2] <= counts[3]
    still = Rates(operator_mutation=0.0, featurizer_mutation=0.0, featurizer_crossover=0.0)
    assert run(3, 4, Space(3, "extended", "all", still))[-1].repaired == 0, "whole classes only change hands"


def test_lower_levels_evolve():
    space = SPACES["own decks"]
    first, *_, last = ({split(one.genome)[0] for one in each.individuals} for each in run(3, 6, space))
    assert last - first, "the same decks as at the beginning"


def test_the_space_of_a_run_is_as_configured():
    assert space_of(RunConfig(slots=5)) == Space(5) and space_of(RunConfig()) == Space(8)
    config = RunConfig(slots=6, deck="extended", levels="all", backbone_mutation=0.3, featurizer_crossover=1)
    assert space_of(config) == Space(6, "extended", "all", Rates(backbone_mutation=0.3, featurizer_crossover=1))


def test_an_exhausted_space_ends_in_fewer_proposals_and_a_warning(caplog):
    rng = np.random.default_rng(0)
    space = {canonical(Space(1).sample(rng)) for _ in range(5_000)}
    search = Search(len(space) - 2, 5, Space(1), 3, seed=0)
    search.tell([measure(proposal, 0) for proposal in search.ask()])
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        proposals = search.ask()
    assert len(proposals) == 2 and "2 new ones instead of 5" in caplog.text
    search.tell([measure(proposal, 1) for proposal in proposals])

    full = Search(len(space), 5, Space(1), 3, seed=0)
    survivors = full.tell([measure(proposal, 0) for proposal in full.ask()])
    assert {canonical(survivor.genome) for survivor in survivors} == space
    for _ in range(2):
        assert full.ask() == []
        assert full.tell([]) == survivors


def test_a_search_that_found_nothing_new_can_still_go_on(monkeypatch):
    space = {canonical(Space(1).sample(np.random.default_rng(i))) for i in range(2_000)}
    search = Search(len(space), 5, Space(1), 3, seed=0)
    last = advance(search, 0)
    search = Search.restore(len(space), 5, Space(1), 3, 0, last)
    assert search.ask() == [] and search.tell([]) == last.individuals
    monkeypatch.setattr(operators, "canonical", lambda genome: object())  # now everything is new
    survivors = advance(search, 1).individuals
    assert len(survivors) == len(space) and search.next_id == len(space) + 5


def test_every_gene_of_an_unmutated_child_is_a_parents():
    search = Search(20, 20, Space(6, rates=Rates(backbone_mutation=0.0)), 3, seed=0)
    genome = {i.id: i.genome for i in advance(search, 0).individuals}
    for proposal in search.ask():
        assert 1 <= len(proposal.parents) <= 2
        inherited = zip(proposal.genome, *(genome[parent] for parent in proposal.parents), strict=True)
        assert all(child in parents for child, *parents in inherited)


def test_where_mating_finds_nothing_new_fresh_samples_fill_the_generation():
    one_slot = Space(1, rates=Rates(backbone_mutation=0.0))  # in which crossover alone makes no new class
    search = Search(3, 10, one_slot, 3, seed=0)
    advance(search, 0)
    proposals = search.ask()
    assert len(proposals) == 10 and all(proposal.parents == () for proposal in proposals)


def grid_volume(points, corner):
    """Hypervolume of integer points against an integer corner, by counting unit cells."""
    cells = itertools.product(*(range(size) for size in corner))
    return sum(any(all(p <= c for p, c in zip(point, cell, strict=True)) for point in points) for cell in cells)


@given(st.integers(1, 3), st.data())
def test_hypervolume_counts_what_is_dominated(width, data):
    coordinates = st.tuples(*[st.integers(0, 7)] * width)
    first = data.draw(st.lists(coordinates, min_size=1, max_size=6))
    points = data.draw(st.lists(coordinates, max_size=6))
    values = 10.0 * np.array([*first, (0,) * width, (5,) * width])
    values[values > 50] = 50  # the first generation spans 0..50 in every objective, so the corner is 55
    reference = reference_box(values)
    assert reference.point == (55.0,) * width and reference.unit == (55.0,) * width
    halves = [tuple(2 * c for c in point) for point in points]  # cells of 5
    expected = grid_volume(halves, (11,) * width) / 11**width
    rows = 10 * np.array(points, dtype=float).reshape(-1, width)
    assert hypervolume(rows, reference) == pytest.approx(expected, abs=1e-12)
    assert hypervolume(rows[::-1], reference) == hypervolume(rows, reference)


def test_the_unit_of_hypervolume_is_the_ideal_of_the_first_generation():
    first = np.array([[3.0, 1e9, 0.0], [5.0, 1e8, 0.0], [np.nan] * 3])
    reference = reference_box(first)
    assert hypervolume(np.array([[3.0, 1e8, 0.0]]), reference) == pytest.approx(1.0)
    assert 0 < hypervolume(first[1:2], reference) < hypervolume(first, reference) < 1
    assert hypervolume(np.array([[9.0, 9e9, 9.0], [np.nan] * 3]), reference) == 0
    assert hypervolume(np.empty((0, 3)), reference) == 0
    assert reference_box(first[2:]) is None and hypervolume(first, None) == 0
