"""Samples, tasks, speed and memory of a model."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.measured import MIXED, PAIRS, UNTIED, export_small
from support.tiny import TINY_TOML

from star.architecture.scales import SCALES, nearest_recipe
from star.architecture.structures import specify
from star.cost.cost import memory_bytes, price
from star.data.synthetic import MAD, TASKS
from star.errors import SettingError, UserError
from star.metrics.samples import cut_at_end, sample
from star.metrics.speed import measure_speed
from star.metrics.tasks import find_tasks, run_task
from star.metrics.trained_model import read_model
from star.model.language_model import LanguageModel
from star.training.probe import probe

LEARNED = TINY_TOML + '\n[style]\npositions = "learned"\n'
LONG = TINY_TOML.replace("seq_len = 16", "seq_len = 64").replace("tokens = 64", "tokens = 256", 1)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return read_model(export_small(tmp_path_factory.mktemp("pairs"), PAIRS, scale_toml=UNTIED))


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_likeliest_sample_is_that_of_a_loop(pairs):
    (text,) = sample(pairs, "3 times", 1, 12, 0.0, chance())
    tokens, added = PAIRS.encode(["3 times"])[0].tolist(), []
    while len(added) < 12 and (not added or added[-1] != PAIRS.end):
        with torch.no_grad():
            added.append(int(pairs.model(torch.tensor([tokens + added]))[0, -1].argmax()))
    assert text == PAIRS.decode(np.array(added))


def test_samples_follow_from_the_seed_and_differ(pairs):
    first, again, other = (sample(pairs, "", 3, 20, 1.5, chance(seed)) for seed in (0, 0, 1))
    assert first == again != other and len(set(first)) == 3


def test_frequencies_of_samples_are_the_chances_of_the_model(pairs):
    """Within four standard deviations, of every first token that is likely."""
    tokens = PAIRS.encode(["is"])[0]
    with torch.no_grad():
        logits = pairs.model(torch.from_numpy(tokens.astype(np.int64))[None])[0, -1].double()
    expected = (logits / 0.7).softmax(0).numpy()
    texts = sample(pairs, "is", 4_000, 1, 0.7, chance(3))
    likely = [token for token in np.argsort(-expected)[:4] if token < 300 and token != PAIRS.end]
    for token in likely:
        text = PAIRS.decode(np.array([token]))
        same = [i for i in range(300) if PAIRS.decode(np.array([i])) == text]
        p = expected[same].sum()
        assert abs(texts.count(text) - 4_000 * p) < 4 * math.sqrt(4_000 * p * (1 - p))
    assert likely


def test_a_text_ends_where_a_document_does():
    assert cut_at_end(np.array([4, 5, 9, 6, 9]), 9).tolist() == [4, 5]
    assert cut_at_end(np.array([4, 5]), 9).tolist() == cut_at_end(np.array([4, 5]), None).tolist() == [4, 5]


def test_learned_positions_bound_samples_and_speed(tmp_path):
    trained = read_model(export_small(tmp_path, scale_toml=LEARNED))
    assert len(sample(trained, "abc", 1, 13, 0.0, chance())) == 1
    with pytest.raises(SettingError, match="max_tokens must be at most 16, the learned positions of .*, not 17"):
        sample(trained, "abc", 1, 14, 0.0, chance())
    assert measure_speed(trained, 16).context == 16
    with pytest.raises(SettingError, match="contexts must be at most 16, the learned positions"):
        measure_speed(trained, 17)


@pytest.mark.parametrize("genome", [MIXED, "211111-231111-91111", "21211-21211-101111-91111"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_is_what_the_genome_is_priced_at(tmp_path, genome, dtype):
    """To the byte, in the number format that the model is in."""
    trained = read_model(export_small(tmp_path, genome=genome))
    trained.model.to(dtype)
    width = {torch.float32: 4, torch.bfloat16: 2}[dtype]
    for context in (2, 16, 40):
        found, cost = measure_speed(trained, context), price(trained.slots, trained.dims, context, width)
        assert found.cache_bytes == found.priced_cache_bytes == cost.cache_bytes
        assert found.weight_bytes == found.priced_weight_bytes == width * cost.params
        assert found.weight_bytes + found.cache_bytes == memory_bytes(cost, 1, width) and found.peak_bytes is None


def test_times_are_those_of_the_work(tmp_path, monkeypatch):
    """By a clock that a token of each pass moves on by a second, and the rest not at all."""
    trained, now = read_model(export_small(tmp_path)), [0.0]
    forward = trained.model.forward

    def counted(tokens, cache=None):
        now[0] += tokens.shape[1]
        return forward(tokens, cache)

    monkeypatch.setattr(trained.model, "forward", counted)
    monkeypatch.setattr("star.metrics.speed.time.perf_counter", lambda: now[0])
    for context in (2, 3, 64):
        found = measure_speed(trained, context)
        assert found.prefill_seconds == found.first_token_seconds == (context,) * 3
        assert found.decode_seconds == (1, 1, 1)


def test_names_of_tasks():
    assert find_tasks(["mqar", "mad", "mad/compression"]) == ["mqar", *MAD]
    with pytest.raises(UserError, match="unknown task 'mad/recal'; did you mean 'mad/"):
        find_tasks(["mad/recal"])


@pytest.mark.parametrize("name", ["mqar", "mad/compression"])
def test_a_task_is_a_probe_of_a_new_model(tmp_path, name):
    trained = read_model(export_small(tmp_path, scale_toml=LONG))
    found = run_task(trained, name, 512, seed=5, device="cpu")
    torch.manual_seed(5)
    fresh = LanguageModel(specify(trained.slots, trained.dims))
    recipe = replace(trained.scale.recipe, tokens=512)
    expected = probe(fresh, TASKS[name], recipe, 5)
    assert (found.task, found.error, found.tokens) == (name, expected.error, expected.tokens)
    assert run_task(trained, name, 0, seed=5, device="cpu").tokens == 256


def test_the_recipe_of_a_scale_without_one_is_that_of_the_nearest():
    wide = replace(SCALES["nano"], recipe=None, dims=replace(SCALES["nano"].dims, d_model=96, head_dim=8, seq_len=100))
    assert nearest_recipe(wide) == replace(SCALES["micro"].recipe, seq_len=100)
    assert nearest_recipe(SCALES["nano"]) is SCALES["nano"].recipe
