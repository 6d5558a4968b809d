"""Every search against brute force, naive twins and pymoo: who survives, who breeds, what a restored search repeats."""

import itertools
import json
import logging
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from support.searching import SIZES, SPACES, ask, make, measure, record

from star.architecture.genome import Rates, Space, canonical, parse, split, to_text
from star.errors import UserError
from star.records import Status
from star.run.plan import plan_run
from star.run.settings import Settings
from star.search import candidate_filter
from star.search.algorithms import ALGORITHMS
from star.search.front import front_mask, hypervolume, objective_matrix, reference_box
from star.search.plan import Plan
from star.search.rates import FACTORS, LEAST, PURSUIT_RATE, Pursuit
from star.search.search import Search

EVERY_SPACE = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
BREEDERS = [name for name, row in ALGORITHMS.items() if row.kind.breeds]
KINDS = [{"algorithm": name} for name in ALGORITHMS] + [{"algorithm": name, "adaptive": True} for name in BREEDERS]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(map(str, kind.values())))


def fails_often(proposal):
    return sum(proposal.genome) % 3 == 0


def advance(search, number, fails=fails_often):
    return record(search, number, search.tell([measure(proposal, number, fails) for proposal in ask(search)]))


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
@pytest.mark.parametrize("algorithm", ["nsga2", "nsga3", "random"])
def test_ranks_and_survivors_are_those_of_brute_force(num_objectives, algorithm):
    search = make(3, num_objectives=num_objectives, algorithm=algorithm)
    survivors = ()
    for number in range(8):
        told = [measure(p, number, fails_often, num_objectives) for p in ask(search)]
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
    search = make(5)
    planted = set()
    for number in range(5):
        told = [measure(proposal, number) for proposal in ask(search)]
        told[0] = replace(told[0], objectives={"z": -9.0, "y": -9.0, "x": bad})  # it would dominate everything
        planted.add(told[0].id)
        survivors = search.tell(told)
        assert not planted & {i.id for i in survivors if i.rank == 0}
        front = front_mask(objective_matrix(survivors))
        assert front.any() and not planted & {i.id for i, best in zip(survivors, front, strict=True) if best}


@pytest.mark.parametrize("algorithm", ["nsga2", "nsga3"])
def test_a_failed_individual_loses_every_tournament_against_a_sound_one(algorithm):
    for seed in range(20):
        search = make(seed, algorithm=algorithm)
        doomed = seed % SIZES["population"]
        advance(search, 0, fails=lambda proposal: proposal.id == doomed)  # noqa: B023
        parents = {parent for proposal in ask(search) for parent in proposal.parents}
        assert parents and doomed not in parents


def test_a_population_of_failures_survives_until_something_works():
    search = make(11)
    for number in range(3):
        survivors = advance(search, number, fails=lambda proposal: True).individuals
        assert len(survivors) == SIZES["population"]
        assert all(i.rank > 0 and i.crowding == 0 for i in survivors)
    survivors = advance(search, 3, fails=lambda proposal: proposal.id != search.next_id - 1).individuals
    assert [i.id for i in survivors if i.rank == 0] == [search.next_id - 1]


@EVERY_KIND
def test_no_draw_comes_from_the_system(monkeypatch, kind):
    seeded = np.random.default_rng

    def refuse_entropy(seed=None):
        assert seed is not None, "a draw that no seed repeats"
        return seeded(seed)

    monkeypatch.setattr(np.random, "default_rng", refuse_entropy)
    before = np.random.get_state()[1].copy()
    search = make(2, **kind)
    for number in range(6):
        advance(search, number)
    assert (np.random.get_state()[1] == before).all()


def run(seed, generations, **changes):
    search = make(seed, **changes)
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
    search = make(seed, population=4, space=Space(4), num_objectives=2)
    for number, texts in enumerate(GOLDEN[seed]):
        proposals = search.ask(3 if number else 4)
        assert [to_text(proposal.genome) for proposal in proposals] == texts.split()
        told = []
        for proposal in proposals:
            total = sum(proposal.genome)
            one = measure(proposal, number, lambda proposal: sum(proposal.genome) % 4 == 0)
            told.append(replace(one, objectives=one.objectives and {"a": total / 3, "b": 1 / (1 + total % 5)}))
        search.tell(told)


@EVERY_KIND
def test_one_seed_gives_one_search_and_another_seed_another(kind):
    assert run(7, 6, **kind) == run(7, 6, **kind)
    assert run(7, 1, **kind) != run(8, 1, **kind)


@EVERY_SPACE
@pytest.mark.parametrize("cut", range(7))
@pytest.mark.parametrize("killed_after_ask", [False, True])
def test_a_restored_search_goes_on_as_if_never_stopped(space, cut, killed_after_ask):
    whole = run(13, 8, space=space)
    plan = Plan(**SIZES | {"space": space}, seed=13)
    search = Search(plan)
    for number in range(cut + 1):
        last = advance(search, number)
    if killed_after_ask:
        assert ask(Search.restore(plan, last)) == ask(search)
    search = Search.restore(replace(plan, seed=999), last)
    assert [advance(search, number) for number in range(cut + 1, 8)] == whole[cut + 1 :]


@EVERY_KIND
@pytest.mark.parametrize("fails", [fails_often, lambda proposal: proposal.id < 12], ids=["often", "at first"])
def test_every_search_goes_on_from_any_generation(kind, fails):
    search, whole = make(13, **kind), []
    for number in range(8):
        whole.append(advance(search, number, fails))
    for cut in range(7):
        search = Search.restore(Plan(**SIZES, seed=999, **kind), whole[cut])
        assert [advance(search, number, fails) for number in range(cut + 1, 8)] == whole[cut + 1 :]


def test_the_order_in_which_results_arrive_does_not_matter():
    for kind in KINDS:
        forward, backward = make(4, **kind), make(4, **kind)
        for number in range(5):
            told = [measure(proposal, number, fails_often) for proposal in ask(forward)]
            ask(backward)
            assert forward.tell(told) == backward.tell(told[::-1])


def test_restore_refuses_what_belongs_to_another_search():
    plan = Plan(**SIZES, seed=1)
    last = advance(Search(plan), 0)
    for space in (Space(4), Space(3, "paper", "all"), Space(3, "extended", "all")):
        words = f"{space.num_slots} slots, deck {space.deck} and levels {space.levels} cannot give"
        with pytest.raises(UserError, match=f"generation 0 holds a genome that {words}"):
            Search.restore(replace(plan, space=space), last)
    Search.restore(replace(plan, space=Space(3, "extended")), last)  # a wider space holds it
    for space in (Space(3, "extended"), Space(3, "paper", "all")):
        (last_of_another,) = run(1, 1, space=space)
        with pytest.raises(UserError, match="cannot give: the run was made with others"):
            Search.restore(plan, last_of_another)
    for state in ("no json", "[]", '{"bit_generator": "MT19937"}', json.dumps({"bit_generator": "PCG64"})):
        with pytest.raises(UserError, match="no generator state"):
            Search.restore(plan, replace(last, rng_state=state))
    with pytest.raises(UserError, match="no generator state"):
        Search.restore(replace(plan, adaptive=True), last)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 4), st.integers(1, 12), st.integers(1, 12))
def test_no_duplicate_is_proposed_and_none_is_missing(seed, num_slots, population, offspring):
    search = make(seed, population=population, space=Space(num_slots))
    survivors, expected_id = (), 0
    for number in range(4):
        proposals = search.ask(offspring if number else population)
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
    for generation in run(3, 6, space=space):
        for one in generation.individuals:
            assert space.repair(one.genome) == one.genome and parse(to_text(canonical(one.genome)))


def test_children_that_need_repair_are_counted():
    assert [generation.repaired for name in ("paper", "extended") for generation in run(3, 4, space=SPACES[name])] == [
        0
    ] * 8
    counts = [generation.repaired for generation in run(3, 4, space=SPACES["own decks"])]
    assert counts[0] == 0 < counts[1] <= counts[2] <= counts[3]
    still = Rates(operator_mutation=0.0, featurizer_mutation=0.0, featurizer_crossover=0.0)
    assert run(3, 4, space=Space(3, "extended", "all", still))[-1].repaired == 0, "whole classes only change hands"


def test_lower_levels_evolve():
    space = SPACES["own decks"]
    first, *_, last = ({split(one.genome)[0] for one in each.individuals} for each in run(3, 6, space=space))
    assert last - first, "the same decks as at the beginning"


def test_the_space_of_a_run_is_as_configured():
    assert plan_run(Settings(slots=5)).search.space == Space(5) and plan_run(Settings()).search.space == Space(8)
    config = Settings(slots=6, deck="extended", levels="all", backbone_mutation=0.3, featurizer_crossover=1)
    assert plan_run(config).search.space == Space(
        6, "extended", "all", Rates(backbone_mutation=0.3, featurizer_crossover=1)
    )


def test_an_exhausted_space_ends_in_fewer_proposals_and_a_warning(caplog):
    rng = np.random.default_rng(0)
    space = {canonical(Space(1).sample(rng)) for _ in range(5_000)}
    search = make(population=len(space) - 2, space=Space(1))
    search.tell([measure(proposal, 0) for proposal in search.ask(len(space) - 2)])
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        proposals = search.ask(5)
    assert len(proposals) == 2 and "2 new ones instead of 5" in caplog.text
    search.tell([measure(proposal, 1) for proposal in proposals])

    for population in (len(space), len(space) + 1):
        full = make(population=population, space=Space(1))
        survivors = full.tell([measure(proposal, 0) for proposal in full.ask(population)])
        assert {canonical(survivor.genome) for survivor in survivors} == space
        assert full.ask(5) == [] and full.tell([]) == survivors


def test_a_search_that_found_nothing_new_can_still_go_on(monkeypatch):
    space = {canonical(Space(1).sample(np.random.default_rng(i))) for i in range(2_000)}
    search = make(population=len(space), space=Space(1))
    last = record(search, 0, search.tell([measure(proposal, 0) for proposal in search.ask(len(space))]))
    search = Search.restore(Plan(**SIZES | {"population": len(space), "space": Space(1)}, seed=0), last)
    assert search.ask(5) == [] and search.tell([]) == last.individuals
    monkeypatch.setattr(candidate_filter, "canonical", lambda genome: object())  # now everything is new
    survivors = search.tell([measure(proposal, 1) for proposal in search.ask(5)])
    assert len(survivors) == len(space) and search.next_id == len(space) + 5


@pytest.mark.parametrize("algorithm", BREEDERS)
def test_every_gene_of_an_unmutated_child_is_a_parents(algorithm):
    space = Space(6, rates=Rates(backbone_mutation=0.0))
    if not ALGORITHMS[algorithm].kind.crosses:
        space = Space(6, rates=Rates(backbone_mutation=1.0))
    search = make(population=20, space=space, algorithm=algorithm)
    survivors = search.tell([measure(proposal, 0, fails_often) for proposal in search.ask(20)])
    genome = {one.id: one.genome for one in survivors}
    for proposal in search.ask(20):
        inherited = list(zip(proposal.genome, *(genome[parent] for parent in proposal.parents), strict=True))
        if ALGORITHMS[algorithm].kind.crosses:
            assert 1 <= len(proposal.parents) <= 2
            assert all(child in parents for child, *parents in inherited)
        else:
            assert len(proposal.parents) == 1, "no crossover"
            assert not any(child == parent for child, parent in inherited), "every integer was to change"


def test_where_mating_finds_nothing_new_fresh_samples_fill_the_generation():
    one_slot = Space(1, rates=Rates(backbone_mutation=0.0))  # in which crossover alone makes no new class
    search = make(population=3, space=one_slot)
    search.tell([measure(proposal, 0, fails_often) for proposal in search.ask(3)])
    proposals = search.ask(10)
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


class Even:
    """A limit on the sum of a genome's canonical form: half of all architectures are beyond it."""

    num_constraints = 1

    def violations(self, genome):
        return (float(sum(canonical(genome)) % 2),)


@EVERY_KIND
@pytest.mark.parametrize("workers", [1, 5, 40])
def test_a_steady_search_proposes_nothing_twice_and_breeds_as_soon_as_it_can(kind, workers):
    seeds = tuple(Space(3).sample(np.random.default_rng(i)) for i in (5, 5, 6))  # of the equal two, one is proposed
    search, rng = make(3, Even(), seeds, **kind), np.random.default_rng(workers)
    proposals, survivors = [], ()
    for _ in range(60):
        while len(search.outstanding) < workers:
            (new,) = search.ask(1)
            others = [canonical(one.genome) for one in (*survivors, *search.outstanding) if one.id != new.id]
            assert canonical(new.genome) not in others and len(set(others)) == len(others)
            assert set(new.parents) <= {one.id for one in survivors}
            breeds = new.id >= SIZES["population"] and len(survivors) >= 2 and kind["algorithm"] != "random"
            assert bool(new.parents) == breeds
            proposals.append(new)
        told = search.outstanding[rng.integers(workers)]
        survivors = search.tell([measure(told, 0, fails_often)])
        assert told not in search.outstanding and len(survivors) <= SIZES["population"]
    assert [one.id for one in proposals] == list(range(search.next_id))
    assert [one.genome for one in proposals[:2]] == [seeds[0], seeds[2]]
    assert all(max(Even().violations(one.genome)) == 0 for one in proposals[2:])
    assert search.rejected_infeasible > 0 and search.duplicates_avoided > 0


@EVERY_KIND
@pytest.mark.parametrize("told", [1, 2, 5, 30])
def test_a_steady_search_goes_on_from_any_moment_without_outstanding(kind, told):
    seeds = tuple(Space(3).sample(np.random.default_rng(i)) for i in range(4))
    search = make(3, seeds=seeds, **kind)
    for _ in range(told):
        last = record(search, 0, search.tell([measure(one, 0, fails_often) for one in search.ask(1)]))
    again = Search.restore(Plan(**SIZES, seed=99, **kind), last)
    for _ in range(12):
        asked = search.ask(2)
        assert asked == again.ask(2)
        for one in asked:
            assert search.tell([measure(one, 1, fails_often)]) == again.tell([measure(one, 1, fails_often)])
    assert (search.snapshot(), search.duplicates_avoided) == (again.snapshot(), again.duplicates_avoided)


def test_only_what_is_outstanding_can_be_told():
    search = make()
    first, second, *_ = (measure(one, 0) for one in search.ask(4))
    search.tell([first])
    for wrong in ([first], [second, second], [replace(second, id=4)]):
        with pytest.raises(AssertionError, match="not asked"):
            search.tell(wrong)


def test_a_first_generation_can_be_asked_for_in_pieces():
    whole, pieces = make(5), make(5)
    assert whole.ask(8) == [one for _ in range(4) for one in pieces.ask(2)]


STANDINGS = [  # the best first; the better of two that are alike in all else is the one with the lower value
    {"status": Status.OK, "objectives": {"a": 1.0}},
    {"status": Status.SCREENED, "objectives": {"a": 5.0}},  # by its estimate
    {"status": Status.OK, "objectives": {"a": 9.0}},
    {"status": Status.STOPPED, "objectives": {"a": 0.0}, "shortfall": 1e-3},
    {"status": Status.STOPPED, "objectives": {"a": 0.0}, "shortfall": 1.9},
    {"status": Status.INFEASIBLE, "objectives": {}},  # by as little as a float can say
    {"status": Status.DIVERGED, "objectives": {}},
]


class Barely:
    """A limit that one genome exceeds by the least that a float can hold."""

    num_constraints = 1
    beyond = None

    def violations(self, genome):
        return (np.nextafter(1.0, 2.0) - 1.0 if genome == self.beyond else 0.0,)


@pytest.mark.parametrize("algorithm", ["nsga2", "nsga3", "random"])
@given(st.permutations(range(len(STANDINGS))), st.integers(1, len(STANDINGS)))
@settings(max_examples=30)
def test_the_stopped_stand_between_the_sound_and_the_rest(algorithm, order, population):
    limit = Barely()
    search = make(population=population, num_objectives=1, algorithm=algorithm, constraints=limit)
    told = [replace(measure(one, 0), **STANDINGS[place]) for one, place in zip(search.ask(7), order, strict=True)]
    limit.beyond = next(one.genome for one in told if one.status is Status.INFEASIBLE)
    survivors = search.tell(told)
    assert [one.id for one in survivors] == [order.index(place) for place in range(population)]
    assert all((one.rank == 0) == (place == 0) for place, one in enumerate(survivors))
    assert all(one.crowding == 0 for one in survivors[3:])


def test_a_stopped_parent_loses_against_the_sound_and_beats_the_failed():
    for algorithm in BREEDERS:
        for better, worse in itertools.combinations(STANDINGS[:5] + STANDINGS[6:], 2):
            search = make(1, population=2, space=Space(6), algorithm=algorithm, num_objectives=1)
            search.tell(
                [replace(measure(one, 0), **how) for one, how in zip(search.ask(2), (worse, better), strict=True)]
            )
            parents = [id for proposal in search.ask(100) for id in proposal.parents]
            wins, losses = parents.count(1), parents.count(0)
            if algorithm == "nsga3" and worse["status"] in (Status.OK, Status.SCREENED):
                assert 0.7 < wins / losses < 1.4, "parents of NSGA-III are drawn at random among those that compete"
            elif algorithm in ("nsga2", "nsga3"):
                assert wins and not losses, "there is one pair, and it is compared every time"
            else:
                assert wins > 1.5 * losses, "of four pairs drawn with replacement three hold the better one"


def spread(proposal, generation=0, fails=lambda proposal: False, units=(1.0, 1.0, 1.0)):
    """An evaluated proposal with three conflicting integer objectives, hardly any two of which are equal."""
    genes = np.array(proposal.genome)
    weights = np.random.default_rng(0).integers(-9, 10, size=(3, len(genes)))
    values = (weights - weights.mean(axis=0).round().astype(int)) @ genes
    one = measure(proposal, generation, fails)
    return replace(one, objectives=one.objectives and dict(zip("abc", (values * units).tolist(), strict=True)))


@pytest.mark.parametrize("fails", [lambda proposal: False, fails_often], ids=["never", "often"])
@pytest.mark.parametrize("offspring", [1, 6, 20])
def test_survivors_of_nsga3_are_those_of_pymoos_own(fails, offspring):
    search = make(3, population=16, space=Space(5), algorithm="nsga3")
    partitions_of_four = [(i, j, 4 - i - j) for i in range(5) for j in range(5 - i)]  # 15 directions, 21 are too many
    oracle = NSGA3(np.array(partitions_of_four) / 4, pop_size=16, output=None)
    oracle.setup(Problem(n_var=25, n_obj=3, n_ieq_constr=1), termination=NoTermination())
    unit = None
    for number in range(20):
        told = [spread(proposal, number, fails) for proposal in search.ask(offspring if number else 16)]
        values = objective_matrix(told)
        if unit is None:
            unit = np.exp2(np.floor(np.log2(np.nanmax(np.abs(values), axis=0))))
        failed = np.isnan(values).any(axis=1)
        infills = Population.new(
            X=np.array([one.genome for one in told]),
            F=np.where(failed[:, None], 1e30, values / unit),
            G=failed[:, None].astype(float),
            id=[one.id for one in told],
        )
        oracle.random_state.bit_generator.state = generator_of(search).bit_generator.state
        oracle.tell(infills=infills)
        survivors = search.tell(told)
        assert [one.id for one in survivors] == [candidate.get("id") for candidate in oracle.pop]
        assert generator_of(search).bit_generator.state == oracle.random_state.bit_generator.state


def generator_of(search):
    """A generator in the state of a search's."""
    state = json.loads(search.snapshot())
    rng = np.random.default_rng(0)
    rng.bit_generator.state = {name: state[name] for name in rng.bit_generator.state}
    return rng


def test_nsga3_does_not_care_for_units():
    def survivors(units):
        search = make(4, population=15, space=Space(5), algorithm="nsga3")
        return [
            [one.id for one in search.tell([spread(proposal, units=units) for proposal in search.ask(15)])]
            for _ in range(12)
        ]

    assert survivors((1.0, 1.0, 1.0)) == survivors((2.0**-9, 1.0, 2.0**30))


@pytest.mark.parametrize("num_objectives", [1, 2, 3])
@pytest.mark.parametrize("population", [1, 2, 4])
def test_nsga3_works_for_few_objectives_and_few_individuals(num_objectives, population):
    search = make(4, population=population, num_objectives=num_objectives, algorithm="nsga3")
    pool = []
    for number in range(6):
        told = [measure(one, number, fails_often, num_objectives) for one in search.ask(population)]
        pool = [*pool, *told]
        ranks = dict(zip((one.id for one in pool), brute_force_ranks(objective_matrix(pool)), strict=True))
        pool = search.tell(told)
        assert len(pool) == population and [one.rank for one in pool if one.objectives] == [
            ranks[one.id] for one in pool if one.objectives
        ]


def standings(individuals):
    """What a tournament compares: failed or not, rank by brute force, crowding as the search says."""
    ranks = brute_force_ranks(objective_matrix(individuals))
    return [
        (1, 0, 0) if rank is None else (0, rank, -one.crowding) for one, rank in zip(individuals, ranks, strict=True)
    ]


@pytest.mark.parametrize("told_at_once", [1, 5, 12])
def test_regularised_evolution_is_its_naive_twin(told_at_once):
    rates = Rates(backbone_mutation=0.5)  # so that hardly any mutant has to be drawn again
    search = make(6, space=Space(4, rates=rates), algorithm="regularised")
    alive, survivors, checked = deque(maxlen=8), (), 0
    for number in range(60):
        standing, avoided = standings(survivors), search.duplicates_avoided
        sample = generator_of(search).integers(len(survivors), size=2).tolist() if len(survivors) == 8 else []
        proposals = search.ask(told_at_once)
        if sample and proposals[0].id >= 8 and told_at_once == 1 and search.duplicates_avoided == avoided:
            assert proposals[0].parents == (survivors[min(sample, key=lambda i: standing[i])].id,)
            checked += 1
        told = [measure(one, number, fails_often) for one in proposals]
        alive.extend(one.id for one in told)
        survivors = search.tell(told[::-1])
        assert [one.id for one in survivors] == list(alive), "the oldest die, and nobody else"
    assert checked > 40 or told_at_once > 1


@pytest.mark.parametrize("told_at_once", [1, 5, 8, 12])
def test_the_plain_genetic_algorithm_keeps_two_and_replaces_the_rest(told_at_once):
    search, survivors = make(6, space=Space(4), algorithm="ga", num_objectives=1), ()

    def value(one):
        return one.objectives.get("z", np.inf)

    for number in range(40):
        told = [
            replace(one, objectives=one.objectives and {"z": spread(one).objectives["a"] + one.id / 1000})
            for one in (measure(proposal, number, fails_often) for proposal in search.ask(told_at_once))
        ]
        pool, old = [*survivors, *told], len(survivors)
        survivors = search.tell(told)
        kept = {one.id for one in survivors}
        two_best = {one.id for one in sorted(pool, key=value)[:2] if one.objectives}
        assert len(survivors) == min(8, len(pool)) and two_best <= kept
        assert [one.id for one in survivors] == [one.id for one in pool if one.id in kept], "in the order of age"
        dead = [one for one in pool if one.id not in kept]
        dead_newcomers = [value(one) for one in dead if one in pool[old:]]
        if dead_newcomers:
            assert not [one for one in pool[:old] if one.id in kept - two_best and one.objectives]
            assert min(dead_newcomers) >= max(value(one) for one in pool[old:] if one.id in kept)
        else:
            spared = [one.id for one in pool[:old] if one.id not in two_best and one.objectives]
            assert [one.id for one in dead if one.objectives] == spared[: len([one for one in dead if one.objectives])]


def explored(seed, kind):
    """Hypervolume of all that a search of 180 proposals saw, in units of its first twelve."""
    search, seen = make(seed, population=12, space=Space(8), num_objectives=2, **kind), []
    for number in range(15):
        told = []
        for proposal in search.ask(12):
            classes = np.array(proposal.genome[::5])
            objectives = {"near 3": float(abs(classes - 3).sum()), "near 9": float(abs(classes - 9).sum())}
            told.append(replace(measure(proposal, number), objectives=objectives))
        search.tell(told)
        seen += told
    return hypervolume(objective_matrix(seen), reference_box(objective_matrix(seen[:12])))


def test_every_search_beats_random_search_on_an_easy_problem():
    found = {" ".join(map(str, kind.values())): [explored(seed, kind) for seed in range(2)] for kind in KINDS}
    baseline = found.pop("random")
    for kind, volumes in found.items():
        assert min(np.array(volumes) / baseline) > 1.05, (kind, volumes, baseline)


def test_pursuit_follows_its_equations():
    pursuit = Pursuit(3)
    for reward in [0] * 4 + [1] * 9:
        pursuit.reward(0, reward)
        assert sum(pursuit.probability) == pytest.approx(1)
    assert pursuit.quality == pytest.approx([1 - (1 - 0.9**4) * 0.9**9, 1, 1])
    far = (1 - PURSUIT_RATE) ** 13
    most = 1 - 2 * LEAST
    assert pursuit.probability == pytest.approx(
        [LEAST + (1 / 3 - LEAST) * far, most + (1 / 3 - most) * far, LEAST + (1 / 3 - LEAST) * far]
    )


def probabilities(search):
    return {name: one["probability"] for name, one in json.loads(search.snapshot())["rates"].items()}


@pytest.mark.parametrize("algorithm", BREEDERS)
@pytest.mark.parametrize("steady", [False, True])
def test_rates_move_to_where_children_succeed(algorithm, steady):
    """Rigged: a child is better than all before it if it has few genes of its parents, or if it has many."""
    for wanted, (low, high) in {2: (0.0, 0.2), 0: (0.6, 1.0)}.items():
        rates = Rates(backbone_mutation=0.5)  # of which the double changes all integers, and half of it one in four
        search = make(8, space=Space(8, rates=rates), num_objectives=1, algorithm=algorithm, adaptive=True)
        survivors = ()
        for number in range(100 if steady else 15):
            genomes = {one.id: one.genome for one in survivors}
            told = []
            for proposal in search.ask(1 if steady else 8):
                parents = [genomes[id] for id in proposal.parents] or [(0,) * 40]
                inherited = np.mean([gene in genes for gene, *genes in zip(proposal.genome, *parents, strict=True)])
                value = -proposal.id if low <= inherited <= high else 1e6 + proposal.id
                told.append(replace(measure(proposal, number), objectives={"z": float(value)}))
            survivors = search.tell(told)
        mutation = probabilities(search)["mutation"]
        assert FACTORS[wanted] == (0.5, 1.0, 2.0)[wanted] and mutation[wanted] > 0.6, (wanted, mutation)


@pytest.mark.parametrize("algorithm", ["nsga2", "nsga3", "ga"])
def test_crossover_fades_where_only_children_of_one_parent_succeed(algorithm):
    search = make(8, space=Space(8), num_objectives=1, algorithm=algorithm, adaptive=True)
    for number in range(20):
        told = []
        for proposal in search.ask(8):
            value = -proposal.id if len(proposal.parents) == 1 else 1e6 + proposal.id
            told.append(replace(measure(proposal, number), objectives={"z": float(value)}))
        search.tell(told)
    assert probabilities(search)["crossover"][0] > 0.7


def test_random_search_has_no_rates_to_adapt():
    with pytest.raises(UserError, match="algorithm random breeds nothing"):
        make(algorithm="random", adaptive=True)
    assert "crossover" not in probabilities(make(algorithm="regularised", adaptive=True))
    assert json.loads(make(9).snapshot()) == np.random.default_rng(9).bit_generator.state, "nothing else is kept"
