"""One training: what it learns, what it records, how it continues, and what it refuses."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny import write_text
from support.trained import SMALL, Sentences, result_of, train_small

from star.architecture import catalogue
from star.architecture.genome import decode, to_text
from star.architecture.structures import specify
from star.cost.cost import price
from star.data.corpus import load_corpus
from star.errors import UserError
from star.model.language_model import LanguageModel
from star.storage.training_directory import TrainingDirectory
from star.trainer.plan import plan_training
from star.trainer.settings import from_toml
from star.trainer.train import extend, train
from star.trainer.trainer import Watcher
from star.training.batches import Windows
from star.training.execution import Execution
from star.training.loop import Training
from star.training.loss import Diverged, measure, measure_windows
from star.training.schedule import schedule

STEPS, EVERY = 40, 4
EXPERTS = "7.1.1.1.1-33.1.1.1.1-34.1.1.1.1"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def small(text):
    return replace(SMALL, corpus=(text,))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small):
    path = tmp_path_factory.mktemp("whole") / "training"
    return path, train_small(path, small)


def test_a_training_is_the_loop_of_a_proxy_with_checkpoints(whole, small):
    """The same steps by hand, without any directory: the weights are equal to the last bit."""
    plan = plan_training(small)
    corpus = load_corpus(small.corpus, 1 << 25)
    torch.manual_seed(small.seed)
    model = LanguageModel(specify(decode(plan.genome), plan.dims))
    Training(model, Windows(corpus.train, plan.recipe), plan.recipe, small.seed).advance(STEPS)
    _, trained = whole
    for name, weight in model.weights().items():
        np.testing.assert_array_equal(trained.outcome.weights[name], weight.numpy())
    assert trained.outcome.quality.mean == pytest.approx(
        measure(model, corpus.valid, replace(plan.recipe, valid_tokens=262_144)), rel=1e-6
    )


def test_the_curve_has_a_row_for_each_checkpoint(whole, small):
    path, trained = whole
    rows = TrainingDirectory(path).read_curve()
    assert rows == trained.outcome.rows
    steps = [row["step"] for row in rows]
    assert steps == sorted({*range(EVERY, STEPS + 1, EVERY), 32})
    assert [row["tokens"] for row in rows] == [32 * step for step in steps]
    assert rows[-1]["valid_bpb"] < rows[0]["valid_bpb"] and rows[-1]["train_bpb"] < rows[0]["train_bpb"]
    plan = plan_training(small)
    cost = price(decode(plan.genome), plan.dims, plan.recipe.seq_len)
    for row in rows:
        assert row["utilisation"] == pytest.approx(3 * cost.flops_per_token * row["tokens_per_second"] / 1e9)
        assert row["learning_rate"] == plan.recipe.learning_rate * schedule(row["step"] - 1, plan.recipe)


def test_the_rate_rises_stays_and_falls_to_zero():
    recipe = plan_training(replace(SMALL, tokens=3200.0)).recipe
    rates = [schedule(step, recipe) for step in range(recipe.steps)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10:80] == [1.0] * 70
    assert rates[80:] == pytest.approx([1 - (step + 1) / 20 for step in range(20)])
    cosine = plan_training(replace(SMALL, tokens=3200.0, schedule="cosine")).recipe
    rates = [schedule(step, cosine) for step in range(100)]
    assert (
        rates[9] == 1 and rates[-1] == pytest.approx(cosine.final_rate) and rates[54] == pytest.approx(0.55, abs=0.02)
    )


def test_a_finished_training_is_not_trained_again(whole, small):
    path, trained = whole
    before, watcher = result_of(path), Sentences()
    again = train_small(path, small, watcher)
    assert watcher.begun == [STEPS] and result_of(path) == before
    assert again.outcome.quality == trained.outcome.quality


def test_only_the_latest_checkpoints_and_that_before_the_decay_are_kept(tmp_path, small):
    train_small(tmp_path / "two", small, keep=2, decay=0.5)
    assert TrainingDirectory(tmp_path / "two").steps() == [20, 36, 40]
    train_small(tmp_path / "all", small, keep=99)
    assert TrainingDirectory(tmp_path / "all").steps() == list(range(4, 41, 4))


def test_a_longer_training_goes_on_from_where_the_rate_was_constant(tmp_path, small):
    """It ends as one that was to be as long from the beginning, since the rate up to there is the same."""
    short, long = tmp_path / "short", tmp_path / "long"
    train_small(short, small, warmup_tokens=128.0)
    settings = extend(TrainingDirectory(short), 640)
    assert settings.tokens == 1920 and TrainingDirectory(short).steps()[-1] == 32
    watcher = Sentences()
    train_small(short, settings, watcher)
    assert watcher.begun == [32]
    train_small(long, small, warmup_tokens=128.0, tokens=1920.0)
    (_, state, rows), (_, other, others) = result_of(short), result_of(long)
    assert {**state, "progress": b""} == {**other, "progress": b""}
    assert rows[-1] == others[-1]


def test_a_cosine_cannot_be_extended(tmp_path, small):
    train_small(tmp_path / "t", small, schedule="cosine", tokens=128.0)
    with pytest.raises(UserError, match="a training with a cosine schedule cannot be extended"):
        extend(TrainingDirectory(tmp_path / "t"), 640)


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_takes_its_place(tmp_path, whole, small):
    path = tmp_path / "t"
    train_small(path, small)
    for name in ("model.safetensors", "state.safetensors", "checkpoint.json"):
        place = TrainingDirectory(path).checkpoint_path(STEPS) / name
        data = bytearray(place.read_bytes())
        data[len(data) // 2] ^= 1
        place.write_bytes(data)
        watcher = Sentences()
        train_small(path, small, watcher)
        assert watcher.begun == [36]
        assert len(watcher.notes) == 1 and "000000040 is torn" in watcher.notes[0]
        assert result_of(path) == result_of(whole[0])
        assert place.parent.with_name("000000040.torn").exists()


def test_settings_that_decide_the_result_must_stay(tmp_path, small):
    path = tmp_path / "t"
    train_small(path, small, tokens=128.0)
    with pytest.raises(UserError, match=r"holds a training with seed 0, not 1: choose another --out"):
        train_small(path, small, tokens=128.0, seed=1)
    train_small(path, small, tokens=128.0, keep=5, micro_batch=1)


def test_the_text_is_kept_and_one_that_changed_is_refused(tmp_path, small):
    text, path = Path(write_text(tmp_path)), tmp_path / "t"
    train_small(path, small, tokens=128.0, corpus=(str(text),))
    text.write_text(text.read_text() + "more\n")
    train_small(path, small, tokens=128.0, corpus=(str(text),))
    shutil.rmtree(path / "text")
    with pytest.raises(UserError, match="the corpus is not the one that this training began with"):
        train_small(path, small, tokens=128.0, corpus=(str(text),))


def test_settings_are_read_back_as_they_were_written(whole, small):
    path, trained = whole
    assert from_toml(TrainingDirectory(path).config_toml) == trained.plan.settings
    assert plan_training(trained.plan.settings) == replace(trained.plan, settings=trained.plan.settings)


def test_a_directory_with_something_else_is_refused(tmp_path, small):
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(UserError, match="is no training and not empty"):
        train_small(tmp_path, small)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["letter.txt"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"tokens": 31.0}, "tokens 31 is less than one training step of 32 tokens"),
        ({"micro_batch": 3}, "micro_batch must be at most the batch of 2 sequences, not 3"),
        (
            {"scale": "lfm2-1.2b", "scale_toml": "", "tokens": None},
            "tokens must be given: scale lfm2-1.2b has no recipe",
        ),
        ({"scale": "125m", "scale_toml": "", "optimizer": "muon"}, "matrix_learning_rate must be given: scale 125m"),
    ],
)
def test_plans_refuse_in_one_sentence(given, sentence):
    with pytest.raises(UserError, match=sentence):
        plan_training(replace(SMALL, **given))


def test_a_published_model_takes_the_recipe_of_the_scale_with_the_nearest_width():
    plan = plan_training(replace(SMALL, scale="lfm2-1.2b", scale_toml="", tokens=1e6))
    assert (plan.dims.d_model, plan.recipe.learning_rate, plan.recipe.seq_len) == (2048, 4e-4, 4096)


def test_divergence_is_told(tmp_path, small):
    with pytest.raises(Diverged):
        train_small(tmp_path / "t", small, optimizer="adamw", learning_rate=10.0, weight_decay=10.0, tokens=12_800.0)


def test_weights_to_begin_with_are_those_of_the_same_model(tmp_path, small, whole):
    weights = whole[1].outcome.weights
    begun = train(replace(small, tokens=32.0), TrainingDirectory(tmp_path / "t"), Watcher(), lambda: weights)
    assert begun.outcome.quality.mean < whole[1].outcome.rows[0]["valid_bpb"]
    name = next(iter(weights))
    with pytest.raises(UserError, match=f"those of another model: {name} is missing or of another shape"):
        train(small, TrainingDirectory(tmp_path / "u"), Watcher(), lambda: {**weights, name: np.zeros((1, 1))})
    with pytest.raises(UserError, match="this one has no more"):
        train(small, TrainingDirectory(tmp_path / "v"), Watcher(), lambda: {**weights, "more": np.zeros(1)})


GENOMES = ("lfm2-like", "transformer-pp", "mamba", "striped-mamba")


@pytest.mark.parametrize("name", GENOMES)
@pytest.mark.parametrize(
    "execution",
    [Execution(micro_batch=1), Execution(recomputes=True), Execution(micro_batch=1, recomputes=True)],
    ids=["micro-batches", "recomputed", "both"],
)
def test_however_it_is_computed_a_step_is_the_same_but_for_rounding(text, name, execution):
    plan = plan_training(replace(SMALL, genome=to_text(catalogue.load(name).at(3)), optimizer="adamw"))
    corpus = load_corpus((text,), 1 << 25)

    def gradients(execution):
        torch.manual_seed(0)
        model = LanguageModel(specify(decode(plan.genome), plan.dims)).double()
        training = Training(model, Windows(corpus.train, plan.recipe), plan.recipe, 0, execution)
        model.train()
        loss = training._backward(*Windows(corpus.train, plan.recipe).batch(np.random.default_rng(1)))
        return loss.item(), {name: one.grad for name, one in model.named_parameters()}

    loss, found = gradients(execution)
    expected_loss, expected = gradients(Execution())
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    for key, one in expected.items():
        torch.testing.assert_close(found[key], one, rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.parametrize(
    "execution", [Execution(micro_batch=1), Execution(recomputes=True)], ids=["parts", "recomputed"]
)
def test_experts_are_balanced_by_the_load_of_the_whole_batch(text, execution):
    def biases(execution):
        plan = plan_training(replace(SMALL, genome=EXPERTS))
        torch.manual_seed(0)
        model = LanguageModel(specify(decode(plan.genome), plan.dims))
        training = Training(model, Windows(load_corpus((text,), 1 << 25).train, plan.recipe), plan.recipe, 0, execution)
        training.advance(1)
        return [one for name, one in model.weights().items() if name.endswith("selection_bias")]

    found, expected = biases(execution), biases(Execution())
    assert found and all(one.any() for one in found)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_quality_is_the_mean_over_windows_and_its_error_that_of_a_mean(whole, small):
    plan = plan_training(small)
    corpus = load_corpus(small.corpus, 1 << 25)
    torch.manual_seed(0)
    model = LanguageModel(specify(decode(plan.genome), plan.dims))
    recipe = replace(plan.recipe, valid_tokens=320)
    found = measure_windows(model, corpus, recipe)
    starts = np.arange(20) * (corpus.valid.size // 20)
    losses = []
    for start in starts:
        tokens = torch.from_numpy(corpus.valid[start : start + 17].astype(np.int64))
        with torch.no_grad():
            chances = model(tokens[None, :-1])[0].log_softmax(dim=1)
        losses.append(-chances[torch.arange(16), tokens[1:]].mean().item() / math.log(2))
    assert found.mean == pytest.approx(np.mean(losses), rel=1e-5)
    assert found.error == pytest.approx(np.std(losses, ddof=1) / math.sqrt(20), rel=1e-4)
    assert found.tokens == 320
    assert measure_windows(model, replace(corpus, bytes_per_token=4.0), recipe).mean == pytest.approx(found.mean / 4)
    assert measure(model, corpus.valid, recipe, bytes_per_token=4.0) == pytest.approx(found.mean / 4, rel=1e-6)


def test_what_a_killed_build_of_the_text_left_is_removed(tmp_path, small):
    path = tmp_path / "t"
    (path / ".text.tmp").mkdir(parents=True)
    (path / ".text.tmp" / "train.bin").write_bytes(b"half")
    (path / "text").mkdir()
    (path / "text" / "corpus.json").write_text("of another training")
    train_small(path, small, tokens=128.0)
    assert not (path / ".text.tmp").exists()


def test_without_a_decay_a_longer_training_has_the_rows_of_a_long_one(tmp_path, small):
    """The end of the shorter one lies between checkpoints, and so inside a stretch of the curve of the longer one."""
    given = {"decay": 0.0, "warmup_tokens": 64.0}
    train_small(tmp_path / "short", small, tokens=320.0, **given)
    train_small(tmp_path / "short", extend(TrainingDirectory(tmp_path / "short"), 320))
    train_small(tmp_path / "long", small, tokens=640.0, **given)
    rows, others = result_of(tmp_path / "short")[2], result_of(tmp_path / "long")[2]
    assert [row["step"] for row in rows] == [4, 8, 10, 12, 16, 20]
    by_step = {row["step"]: row for row in rows}
    assert by_step[10]["train_bpb"] * 2 + by_step[12]["train_bpb"] * 2 == pytest.approx(others[2]["train_bpb"] * 4)
    for row in others:
        if row["step"] != 12:
            assert by_step[row["step"]] == row


def test_checkpoints_of_another_training_are_refused(tmp_path, small):
    for seed in (0, 1):
        train_small(tmp_path / f"{seed}", small, seed=seed, tokens=128.0)
    shutil.rmtree(tmp_path / "0" / "checkpoints")
    shutil.copytree(tmp_path / "1" / "checkpoints", tmp_path / "0" / "checkpoints")
    with pytest.raises(UserError, match="is a checkpoint of another training: remove it"):
        train_small(tmp_path / "0", small, tokens=128.0)


def test_no_forward_pass_takes_more_sequences_than_a_part_of_a_batch(tmp_path, small, monkeypatch):
    """When the validation text is measured, too."""
    sizes = set()
    forward = LanguageModel.forward

    def spy(self, tokens, cache=None):
        sizes.add(len(tokens))
        return forward(self, tokens, cache)

    monkeypatch.setattr(LanguageModel, "forward", spy)
    train_small(tmp_path / "t", small, tokens=128.0, batch_size=4, micro_batch=1)
    assert sizes == {1}
