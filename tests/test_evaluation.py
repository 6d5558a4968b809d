"""An evaluation says what a model built, trained and priced by hand says, and turns every failure into a status."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from tiny import SETTINGS, TINY, make_corpus, make_task

from star import evaluation as room
from star.cost import Cost, price
from star.evaluation import EvaluationSettings, classify, derive_seed, describe, evaluate
from star.genome import PAPER, decode, parse, sample
from star.model import LanguageModel
from star.objectives import OBJECTIVES, find_objectives
from star.records import Status
from star.scales import SCALES
from star.spec import ModelSpec, UserError
from star.training import Diverged, Fit, fit

SHARED = parse("11211-31111-11211")  # two attentions with one featurizer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def test_an_evaluation_is_build_fit_and_price(corpus):
    settings = replace(SETTINGS, target=SCALES["1b"], context=32_768, dtype_bytes=1)
    task = make_task(SHARED)
    assert decode(task.genome)[2].weights_from[0] == 0
    result, weights = evaluate(task, settings, corpus)

    torch.manual_seed(task.seed)
    model = LanguageModel(ModelSpec(slots=decode(task.genome), dims=TINY.dims))
    by_hand = fit(model, corpus, TINY.recipe, task.seed)
    cost = price(decode(task.genome), SCALES["1b"].dims, 32_768, 1)
    assert result.status is Status.OK and result.error == "" and result.hash == task.hash
    assert result.objectives == {
        "quality_bpb": by_hand.quality_bpb,
        "params": cost.params,
        "cache_bytes": cost.cache_bytes,
    }
    assert result.loss_curve == by_hand.loss_curve
    assert 0 < result.train_seconds <= result.seconds
    expected = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    assert weights.keys() == expected.keys()
    assert all(np.array_equal(weights[name], expected[name]) for name in weights)
    assert all(array.dtype == np.float32 for array in weights.values())
    trained = price(decode(task.genome), TINY.dims)
    assert sum(array.size for array in weights.values()) == trained.params, "a shared weight came twice, or not once"


def test_the_same_bits_whatever_ran_before(corpus):
    """Neither the generator's state nor the number of threads that others left behind shows."""
    rng = np.random.default_rng(3)
    tasks = [make_task(sample(3, rng)) for _ in range(6)]
    first = [evaluate(task, SETTINGS, corpus) for task in tasks]
    torch.set_num_threads(2)
    again = [evaluate(task, SETTINGS, corpus) for task in reversed(tasks)][::-1]
    assert torch.get_num_threads() == 1
    for (a, one), (b, other) in zip(first, again, strict=True):
        assert (a.objectives, a.loss_curve) == (b.objectives, b.loss_curve)
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_seeds_matter_and_are_derived():
    hashes = [make_task(sample(3, np.random.default_rng(n))).hash for n in range(50)]
    seeds = {derive_seed(run, hash) for run in (0, 1, 2**70) for hash in hashes}
    assert len(seeds) == 3 * len(set(hashes))
    assert all(0 <= seed < 2**63 for seed in seeds), "what torch, numpy and a column of int64 take"
    assert derive_seed(1, "00000000000000ff") == derive_seed(1, "00000000000000ff")


def test_another_seed_gives_another_quality(corpus):
    one, other = (evaluate(make_task(SHARED, seed), SETTINGS, corpus)[0].objectives for seed in (0, 1))
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
    monkeypatch.setattr(room, "fit", partial(_raise, error))
    result, weights = evaluate(make_task(SHARED), SETTINGS, corpus)
    assert result.status is status and result.objectives == {} and weights == {}
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
    assert evaluate(make_task(SHARED), settings, corpus)[0].status is Status.DIVERGED


def test_a_stop_is_not_a_failure(corpus, monkeypatch):
    monkeypatch.setattr(room, "fit", partial(_raise, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        evaluate(make_task(SHARED), SETTINGS, corpus)


def test_an_unbuildable_scale_is_a_failure_too(corpus):
    one_head = replace(TINY, dims=replace(TINY.dims, head_dim=16))  # which no group of query heads divides
    settings = EvaluationSettings(scale=one_head, target=one_head, context=16, dtype_bytes=2)
    grouped = next(n for n, liv in PAPER.items() if any(group.repeat > 1 for group in liv.groups))
    result, _ = evaluate(make_task(parse(f"{grouped}1111")), settings, corpus)
    assert result.status is Status.FAILED and result.train_seconds == 0 and "heads" in result.error


def test_objectives_by_name():
    fitted = Fit(quality_bpb=2.5, loss_curve=(), tokens=1, seconds=1.0)
    cost = Cost(params=7, embedding_params=3, cache_bytes=11, cache_bytes_per_token=1)
    chosen = find_objectives(("cache", "quality", "params"))
    values = {objective.column: objective.value(cost, fitted) for objective in chosen}
    assert values == {"cache_bytes": 11.0, "quality_bpb": 2.5, "params": 7.0}
    assert list(values) == ["cache_bytes", "quality_bpb", "params"], "in the order asked for"
    assert all(isinstance(value, float) for value in values.values())
    assert all(name == objective.name for name, objective in OBJECTIVES.items())
    with pytest.raises(UserError, match="unknown objective 'qualty'; did you mean 'quality'?"):
        find_objectives(("params", "qualty"))
