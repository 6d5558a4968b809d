"""Children that begin with their parents' weights: which weights, and that a run with them still repeats itself."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.runs import Driver, Witness
from support.strategies import any_genomes, genomes, styles
from support.tiny import CONFIG, SETTINGS, TINY, contents, invent, make_corpus, make_task, outcomes, write_text

from star.architecture.genome import DECK, canonical, decode, genes_of, parse
from star.architecture.structures import specify
from star.evaluation.evaluate import evaluate
from star.model.language_model import LanguageModel
from star.records import Job, Result, Status
from star.run.evolve import Interrupted, evolve, resume
from star.run.inheritance import inherit
from star.storage.run_directory import RunDirectory

SLOTTED = ("layers.", "norms.", "post_norms.", "shifts.")


def build(genome, dims=TINY.dims) -> LanguageModel:
    return LanguageModel(specify(decode(genome), dims))


def filled(genome, seed: int, dims=TINY.dims) -> dict[str, np.ndarray]:
    """Weights as those of a model of that genome, no two numbers alike."""
    rng = np.random.default_rng(seed)
    weights = build(genome, dims).weights()
    return {name: rng.standard_normal(tuple(one.shape), dtype=np.float32) for name, one in weights.items()}


def slot_of(name: str) -> int | None:
    return int(name.split(".")[1]) if name.startswith(SLOTTED) else None


def by_slot(names) -> dict[int | None, set[str]]:
    found = defaultdict(set)
    for name in names:
        found[slot_of(name)].add(name)
    return found


# Which weights.


@given(any_genomes(max_slots=5), st.data())
def test_an_unchanged_child_inherits_everything(genome, data):
    weights = filled(genome, 0)
    other = data.draw(any_genomes(max_slots=5))
    taken = inherit(canonical(genome), [(genome, weights), (other, filled(other, 1))])
    assert taken.keys() == weights.keys() and all(taken[name] is weights[name] for name in taken)


@given(genomes(max_slots=5), st.data())
def test_a_child_of_new_slots_alone_takes_what_belongs_to_none(child, data):
    number = data.draw(st.sampled_from(sorted(DECK.keys() - set(child[::5]))))
    parent = (number, 1, 1, 1, 1) * (len(child) // 5)
    weights = filled(parent, 0)
    taken = inherit(child, [(parent, weights)])
    assert taken.keys() == {"embedding.weight", "final_norm.weight"} and all(taken[n] is weights[n] for n in taken)


@st.composite
def families(draw):
    """A genome and up to three others, which have some slots in common with it, or all, or none but by chance."""
    child, parents = draw(any_genomes(max_slots=5)), []
    size = len(child) // 5
    for _ in range(draw(st.integers(1, 3))):
        if child[0] < 0 or draw(st.booleans()):
            parents.append(draw(st.sampled_from([child, draw(any_genomes(max_slots=5))])))
            continue
        pair = child, draw(genomes(size, size))
        whose = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
        parents.append(tuple(gene for i, which in enumerate(whose) for gene in pair[which][5 * i : 5 * i + 5]))
    return child, parents


@given(families())
def test_whatever_the_parents_it_fits_the_child(family):
    """Slot by slot all or nothing, from a parent that has this class there, with all that it computes with; of the
    right names and shapes."""
    child, own = family
    known = [(genome, filled(genome, seed)) for seed, genome in enumerate(own)]
    taken = inherit(child, known)
    model = build(child)
    weights, slots = model.weights(), decode(child)
    missing = weights.keys() - taken.keys()
    with torch.no_grad():
        for name, array in taken.items():
            assert weights[name].shape == array.shape
            weights[name].copy_(torch.from_numpy(array))
    names, found = by_slot(weights), by_slot(taken)
    assert found[None] == names[None] and all(taken[name] is known[0][1][name] for name in names[None])
    source = {}
    for i, slot in enumerate(slots):
        assert found[i] in (set(), names[i])
        if not found[i]:
            assert names[i] <= missing
            continue
        shared = [n for n, (_, arrays) in enumerate(known) if any(arrays.get(name) is taken[name] for name in found[i])]
        (source[i],) = shared
        other = decode(own[source[i]])[i]
        assert genes_of(other.liv) == genes_of(slot.liv)
        assert (other.weights_from, other.features_from) == (slot.weights_from, slot.features_from)
        assert {source[j] for j in (*slot.weights_from, *slot.features_from)} == {source[i]}


@given(genomes(max_slots=4), styles())
def test_in_any_style_a_child_of_one_parent_computes_what_the_parent_does(genome, style):
    dims = replace(TINY.dims, style=style)
    parent, child = build(genome, dims), build(genome, dims)
    taken = inherit(genome, [(genome, {name: one.numpy() for name, one in parent.weights().items()})])
    with torch.no_grad():
        for name, weight in child.weights().items():
            weight.copy_(torch.from_numpy(taken[name]))
        tokens = torch.arange(8)[None]
        assert torch.equal(parent.eval()(tokens), child.eval()(tokens))


def test_a_crossing_of_two_takes_from_each_what_it_has_from_it():
    mother, father = parse("91111-21111-31111-51111"), parse("71111-21111-81111-51111-91111")
    child = parse("91111-21111-81111-71111-91111")
    a, b = filled(mother, 0), filled(father, 1)
    taken = by_slot(inherit(child, [(mother, a), (father, b)]))
    assert {slot for slot, names in taken.items() if names} == {None, 0, 1, 2, 4}
    both = inherit(child, [(mother, a), (father, b)])
    for slot, arrays in ((None, a), (0, a), (1, a), (2, b), (4, b)):
        assert all(both[name] is arrays[name] for name in taken[slot])


def test_a_slot_that_shares_is_taken_only_with_the_slot_it_shares_with():
    mother, father = parse("11211-11211"), parse("11111-11211-11211")
    child = parse("11211-11211")
    a, b = filled(mother, 0), filled(father, 1)
    assert {slot_of(name) for name in inherit(child, [(mother, a)])} == {None, 0, 1}
    assert "layers.1.featurizer.C.weight" not in filled(child, 0), "it is named by its owner"
    alone = inherit(parse("21111-11211-11211"), [(father, b)])
    assert {slot_of(name) for name in alone} == {None, 1, 2}
    changed = inherit(parse("11211-11111-11211"), [(father, b)])
    assert {slot_of(name) for name in changed} == {None, 0, 1}, "slot 2 of the father computes with its slot 1"
    others = [parse("11211-21111-11211"), parse("21111-11111-11211")]
    mixed = inherit(parse("11211-11111-11211"), [(other, filled(other, 2)) for other in others])
    assert {slot_of(name) for name in mixed} == {None, 0, 1, 2}
    others = [parse("11211-21111-11211"), parse("11211-11211")]
    apart = inherit(parse("11211-11211"), [(other, filled(other, 3)) for other in others])
    assert {slot_of(name) for name in apart} == {None, 0}, "slot 1 of the second computes with the second's slot 0"


def test_nobody_inherits_from_nobody():
    assert inherit(parse("91111"), []) == {}


# In a run.


def begun(job: Job, settings, corpus) -> Result:
    """As `invent`, with weights that follow from those inherited, and a quality that follows from them."""
    result = invent(job, settings, corpus)
    if result.evaluation.status is not Status.OK:
        return result
    rng = np.random.default_rng(job.task.seed)
    weights = {f"layers.{i}.w": rng.random(2, dtype=np.float32) for i in range(len(decode(job.task.genome)))}
    weights["embedding.weight"] = rng.random(2, dtype=np.float32)
    for name, array in job.inherited.items():
        weights[name] = weights[name] / 2 + array / 2
    quality = result.evaluation.objectives["quality_bpb"] + sum(float(one.sum()) for one in weights.values()) / 100
    objectives = result.evaluation.objectives | {"quality_bpb": quality}
    return replace(result, weights=weights, evaluation=replace(result.evaluation, objectives=objectives))


@pytest.fixture
def config(tmp_path):
    return replace(CONFIG, corpus=(write_text(tmp_path),), warm_weights=True, generations=3)


@pytest.fixture
def jobs():
    """Those that workers were given."""
    return []


@pytest.fixture
def driver(jobs):
    def count(job, settings, corpus):
        jobs.append(job)
        return begun(job, settings, corpus)

    return Driver(count)


run_in = Driver().run_in


@pytest.mark.parametrize("objectives", [CONFIG.objectives, ("quality",)])
def test_children_begin_with_what_their_parents_left_them(tmp_path, config, jobs, monkeypatch, objectives, driver):
    """With one objective most parents were never of the front."""
    config = replace(config, objectives=objectives)
    kept, save = {}, RunDirectory.save_weights
    monkeypatch.setattr(RunDirectory, "save_weights", lambda *args: (kept.setdefault(*args[1:]), save(*args)))
    run = driver.run_in(tmp_path / "run", config)
    people = {one.id: one for generation in run.generations() for one in (*generation.individuals, *generation.front)}
    given = {job.task.hash: job for job in jobs}
    heirs = 0
    for one in people.values():
        alive = [people[id] for id in one.parents if people[id].status is Status.OK] if one.parents else []
        expected = inherit(one.genome, [(parent.genome, kept[parent.hash]) for parent in alive])
        job = given[one.hash]
        assert job.inherited.keys() == expected.keys() and (not one.parents) <= (not expected)
        assert all(np.array_equal(job.inherited[name], array) for name, array in expected.items())
        heirs += bool(expected)
    assert heirs > 3
    for generation in run.generations()[-1:]:
        hashes = {one.hash for one in (*generation.individuals, *generation.front) if one.status is Status.OK}
        assert {path.stem for path in (run.path / "weights").iterdir()} == hashes


def test_without_the_option_all_begin_at_random(tmp_path, config, jobs, driver):
    run = driver.run_in(tmp_path / "run", replace(config, warm_weights=False))
    assert all(not job.inherited for job in jobs)
    kept = {path.stem for path in (run.path / "weights").iterdir()}
    assert kept == {one.hash for one in run.latest_generation().front}


def test_what_is_inherited_is_what_training_begins_with(tmp_path):
    """A recipe whose rates are 0 leaves it as it was."""
    still = replace(TINY.recipe, learning_rate=0.0, matrix_learning_rate=0.0)
    task, weights = make_task(parse("91111-21111")), filled(parse("91111-21111"), 3)
    settings = replace(SETTINGS, scale=replace(TINY, recipe=still))
    result = evaluate(Job(task=task, inherited=weights), settings, make_corpus(tmp_path))
    assert result.weights.keys() == weights.keys()
    assert all(np.array_equal(result.weights[name], array) for name, array in weights.items())


@pytest.mark.parametrize("settings", [{}, {"slots": 1, "generations": 9}, {"rungs": 2, "eta": 2}])
def test_a_stopped_run_ends_like_one_that_was_not(tmp_path, config, jobs, settings, driver):
    """With one slot the search comes back to architectures that had died out, and whose weights are gone."""
    config = replace(config, **settings)
    whole = driver.run_in(tmp_path / "whole", config)
    assert any(job.inherited for job in jobs)
    for stop_at in (2, 7, 12):
        run = RunDirectory(tmp_path / f"stopped{stop_at}")
        with pytest.raises(Interrupted):
            driver.evolve(config, run, Witness(stop_at))
        with pytest.raises(Interrupted):
            driver.resume(run, progress=Witness(1))
        driver.resume(run)
        assert contents(run) == contents(whole) and outcomes(run) == outcomes(whole)


@pytest.mark.parametrize(("seed", "stop_at"), [(1, 3), (1, 4), (5, 1), (5, 3), (5, 6), (5, 7)])
def test_killed_before_the_weights_of_the_dead_are_gone(tmp_path, config, jobs, monkeypatch, seed, stop_at, driver):
    """Where they die of age, of few architectures, some come back at once: as heirs of nobody, for their weights are
    gone, in an interrupted run as in any."""
    config = replace(config, slots=1, generations=8, population=3, offspring=3, seed=seed)
    config = replace(config, algorithm="regularised", objectives=("quality",))
    prune, calls = RunDirectory.prune_weights, []
    whole = driver.run_in(tmp_path / "whole", config)

    def die(self, keep):
        calls.append(keep)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        prune(self, keep)

    monkeypatch.setattr(RunDirectory, "prune_weights", die)
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(Interrupted):
        driver.evolve(config, run)
    driver.resume(run)
    assert contents(run) == contents(whole) and outcomes(run) == outcomes(whole)


def test_really_trained_and_interrupted(tmp_path, config):
    config = replace(config, generations=2, population=4, offspring=3)
    whole = run_in(tmp_path / "whole", config)
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(Interrupted):
        evolve(config, run, Witness(5))
    resume(run)
    assert contents(run) == contents(whole) and outcomes(run) == outcomes(whole)
    cold = run_in(tmp_path / "cold", replace(config, warm_weights=False))
    (first, second, _), (cold_first, cold_second, _) = whole.generations(), cold.generations()
    assert first.individuals == cold_first.individuals, "the first generation begins at random"
    assert second.individuals != cold_second.individuals


@pytest.mark.parametrize("damage", ["gone", "torn"])
def test_lost_weights_of_a_parent_are_told_of(tmp_path, config, jobs, damage, driver):
    run, witness = RunDirectory(tmp_path / "run"), Witness()
    with pytest.raises(Interrupted):
        driver.evolve(config, run, Witness(config.population + 1))
    jobs.clear()
    for path in (run.path / "weights").iterdir():
        path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:-4])
    driver.resume(run, progress=witness)
    told = [note for note in witness.notes if "begins with random ones" in note]
    assert told and all(not job.inherited for job in jobs if any(job.task.hash in note for note in told))
    assert all(generation.front for generation in run.generations())
