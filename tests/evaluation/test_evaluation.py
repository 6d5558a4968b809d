"""An evaluation says what a model built, trained and priced by hand says, and turns every failure into a status."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from support.fitting import fit
from support.tiny import SETTINGS, TINY, make_corpus, make_task

from star.architecture.genome import Space, decode, parse, tile
from star.architecture.scales import SCALES
from star.architecture.spec import ModelSpec
from star.cost.cost import price
from star.cost.target import Target, TargetCost
from star.errors import UserError
from star.evaluation import evaluate as room
from star.evaluation.evaluate import EvaluationSettings, classify, describe, evaluate
from star.evaluation.objectives import OBJECTIVES, PRICES, Outcome, find_objectives
from star.model.language_model import LanguageModel
from star.records import Arrays, Fit, Job, Latency, Result, Status, Task, derive_seed
from star.storage.arrays import pack_arrays, unpack_arrays
from star.training.loss import Diverged

SHARED = parse("11211-31111-11211")  # two attentions with one featurizer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def train(task: Task, corpus, settings: EvaluationSettings = SETTINGS) -> Result:
    return evaluate(Job(task=task), settings, corpus)


def test_an_evaluation_is_build_fit_and_price(corpus):
    target = Target(dims=SCALES["1b"].dims, num_slots=48, context=32_768, dtype_bytes=1, batch=3)
    settings = replace(SETTINGS, target=target)
    task = make_task(SHARED)
    assert decode(task.genome)[2].weights_from[0] == 0
    found = evaluate(Job(task=task), settings, corpus)
    result, weights = found.evaluation, found.weights

    torch.manual_seed(task.seed)
    model = LanguageModel(ModelSpec(slots=decode(task.genome), dims=TINY.dims))
    by_hand = fit(model, corpus, TINY.recipe, task.seed)
    cost = price(decode(tile(task.genome, 48)), SCALES["1b"].dims, 32_768, 1)
    assert result.status is Status.OK and result.error == "" and result.hash == task.hash
    assert result.objectives == {
        "quality_bpb": by_hand.quality_bpb,
        "params": cost.params,
        "cache_bytes": cost.cache_bytes,
        "flops_per_token": cost.flops_per_token,
        "memory_bytes": cost.params + 3 * cost.cache_bytes,
    }
    assert result.loss_curve == by_hand.loss_curve
    assert 0 < result.train_seconds <= result.seconds
    expected = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    assert weights.keys() == expected.keys()
    assert all(np.array_equal(weights[name], expected[name]) for name in weights)
    assert all(array.dtype == np.float32 for array in weights.values())
    trained = price(decode(task.genome), TINY.dims)
    assert sum(array.size for array in weights.values()) == trained.params, "a shared weight came twice, or not once"


@pytest.mark.parametrize("space", [Space(3), Space(3, "extended"), Space(4, "extended", "all")])
def test_the_same_bits_whatever_ran_before(corpus, space):
    """Neither the generator's state nor the number of threads that others left behind shows."""
    rng = np.random.default_rng(3)
    tasks = [make_task(space.sample(rng)) for _ in range(6)]
    first = [evaluate(Job(task=task), SETTINGS, corpus) for task in tasks]
    torch.set_num_threads(2)
    again = [evaluate(Job(task=task), SETTINGS, corpus) for task in reversed(tasks)][::-1]
    assert torch.get_num_threads() == 1
    for one, other in zip(first, again, strict=True):
        a, b = one.evaluation, other.evaluation
        assert (a.objectives, a.loss_curve) == (b.objectives, b.loss_curve)
        assert all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_seeds_matter_and_are_derived():
    hashes = [make_task(Space(3).sample(np.random.default_rng(n))).hash for n in range(50)]
    seeds = {derive_seed(run, hash) for run in (0, 1, 2**70) for hash in hashes}
    assert len(seeds) == 3 * len(set(hashes))
    assert all(0 <= seed < 2**63 for seed in seeds), "what torch, numpy and a column of int64 take"
    assert derive_seed(1, "00000000000000ff") == derive_seed(1, "00000000000000ff")


def test_another_seed_gives_another_quality(corpus):
    one, other = (train(make_task(SHARED, seed), corpus).evaluation.objectives for seed in (0, 1))
    assert one["quality_bpb"] != other["quality_bpb"]
    assert one["params"] == other["params"]


def _raise(error, *_):
    raise error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Diverged("training loss before step 3 is nan"), Status.DIVERGED),
        (MemoryError(), Status.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), Status.OUT_OF_MEMORY),
        (RuntimeError("mat1 and mat2 shapes\n cannot be multiplied"), Status.FAILED),
        (ZeroDivisionError("x" * 10_000), Status.FAILED),
    ],
)
def test_failures_become_statuses(corpus, monkeypatch, error, status):
    monkeypatch.setattr(room, "measure", partial(_raise, error))
    found = train(make_task(SHARED), corpus)
    result = found.evaluation
    assert result.status is status and result.objectives == {} and found.weights == {}
    assert result.error == describe(error) and type(error).__name__ in result.error
    assert "\n" not in result.error and len(result.error) <= 300


def test_a_real_allocation_that_fails_is_out_of_memory():
    for allocate in (lambda: torch.empty(2**62, dtype=torch.uint8), lambda: np.empty(2**62, dtype=np.uint8)):
        with pytest.raises((RuntimeError, MemoryError)) as failure:
            allocate()
        assert classify(failure.value) is Status.OUT_OF_MEMORY


def test_a_real_divergence_is_diverged(corpus):
    recipe = replace(TINY.recipe, learning_rate=1e30, optimizer="adamw", tokens=640)
    settings = replace(SETTINGS, scale=replace(TINY, recipe=recipe))
    assert train(make_task(SHARED), corpus, settings).evaluation.status is Status.DIVERGED


def test_a_stop_is_not_a_failure(corpus, monkeypatch):
    monkeypatch.setattr(room, "measure", partial(_raise, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        train(make_task(SHARED), corpus)


def test_an_unbuildable_scale_is_a_failure_too(corpus):
    one_head = replace(TINY, dims=replace(TINY.dims, head_dim=16))  # which no group of query heads divides
    for scale, target in ((one_head, one_head), (one_head, TINY), (TINY, one_head)):
        settings = EvaluationSettings(scale=scale, target=Target(dims=target.dims, context=16, dtype_bytes=2))
        result = train(make_task(parse("31111")), corpus, settings).evaluation
        assert result.status is Status.FAILED and result.train_seconds <= result.seconds
        assert result.error.startswith("UserError: SA-3 repeats B over 4 query heads")


def test_an_architecture_without_operators_trains_too(corpus):
    result = train(make_task(parse("01111-01111")), corpus)
    assert result.evaluation.status is Status.OK and set(result.weights) == {"embedding.weight", "final_norm.weight"}


def test_objectives_by_name():
    fitted = Fit(quality_bpb=2.5, loss_curve=(), tokens=1, seconds=1.0)
    cost = TargetCost(params=7, cache_bytes=11, flops_per_token=1.5, memory_bytes=25)
    outcome = Outcome(cost=cost, fit=fitted, latency=Latency(prefill_ms=3.0, decode_ms=0.5))
    chosen = find_objectives(("cache", "quality", "params", "latency", "prefill", "memory", "flops"))
    values = {objective.column: objective.value(outcome) for objective in chosen}
    expected = {"cache_bytes": 11.0, "quality_bpb": 2.5, "params": 7.0, "decode_ms": 0.5, "prefill_ms": 3.0}
    expected |= {"memory_bytes": 25.0, "flops_per_token": 1.5}
    assert list(values.items()) == list(expected.items()), "in the order asked for"
    assert all(isinstance(value, float) for value in values.values())
    assert all(name == objective.name for name, objective in OBJECTIVES.items())
    assert outcome.columns() == values
    assert set(replace(outcome, fit=None, latency=None).columns()) == set(TargetCost._fields)
    assert {*TargetCost._fields, "decode_ms", "prefill_ms"} == PRICES, "what needs no training"
    with pytest.raises(UserError, match="unknown objective 'qualty'; did you mean 'quality'?"):
        find_objectives(("params", "qualty"))


@pytest.mark.parametrize("space", [Space(3), Space(4, "extended", "all")])
@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw"}, {"schedule": "inverse_sqrt", "average": 8.0}], ids=str)
def test_a_training_that_pauses_at_rungs_is_one_that_did_not(corpus, space, changes):
    """Whatever was written down of it between two rungs, and in whichever process it went on."""
    recipe = replace(TINY.recipe, tokens=640, **changes)
    settings = replace(SETTINGS, scale=replace(TINY, recipe=recipe), rungs=(3, 7))
    rng = np.random.default_rng(5)
    for _ in range(3):
        task = make_task(space.sample(rng))
        whole = train(task, corpus, replace(settings, rungs=()))
        state: Arrays = {}
        for until, stop in enumerate(settings.rungs):
            part = evaluate(Job(task=task, until=until, state=state), settings, corpus)
            assert part.evaluation.status is Status.STOPPED and part.weights == {}
            assert part.evaluation.tokens == stop * recipe.batch_size * recipe.seq_len
            assert part.evaluation.objectives["quality_bpb"] == part.evaluation.rungs[-1]
            state = unpack_arrays(pack_arrays(part.state))
        last = evaluate(Job(task=task, state=state), settings, corpus)
        at_once = train(task, corpus, settings)
        for one in (last, at_once):
            assert one.evaluation.objectives == whole.evaluation.objectives
            assert one.evaluation.loss_curve == whole.evaluation.loss_curve
            assert one.weights.keys() == whole.weights.keys()
            assert all(np.array_equal(one.weights[name], whole.weights[name]) for name in one.weights)
        assert last.evaluation.rungs == at_once.evaluation.rungs and len(last.evaluation.rungs) == 2


def test_inherited_weights_are_where_a_training_begins(corpus):
    parent, child = make_task(SHARED), make_task(SHARED, 1)
    weights = train(parent, corpus).weights
    still = replace(SETTINGS, scale=replace(TINY, recipe=replace(TINY.recipe, learning_rate=0.0, optimizer="adamw")))
    inherited = evaluate(Job(task=child, inherited=weights), still, corpus)
    assert all(np.array_equal(inherited.weights[name], weights[name]) for name in weights)
    assert not all(np.array_equal(train(child, corpus, still).weights[name], weights[name]) for name in weights)
