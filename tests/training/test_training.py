"""The training loop: what it learns and measures, with which rates, and when it gives up."""

import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.fitting import fit
from support.tiny import TINY
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from star.architecture.genome import decode, parse
from star.architecture.scales import Recipe
from star.architecture.structures import specify
from star.data.corpus import Corpus
from star.errors import UserError
from star.model.language_model import LanguageModel
from star.training.batches import Windows
from star.training.loop import Training
from star.training.loss import Diverged, check_corpus, measure
from star.training.optimizers import make_optimizers
from star.training.schedule import schedule

WIDTH = 16
RECIPE = Recipe(
    tokens=40 * 4 * 16,
    batch_size=4,
    seq_len=16,
    optimizer="adamw",
    learning_rate=3e-2,
    matrix_learning_rate=3e-2,
    valid_tokens=160,
)


class Stand(nn.Module):
    """The least that looks like a language model: it sees one byte and guesses the next."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(256, WIDTH)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.norms = nn.ModuleList(nn.RMSNorm(WIDTH) for _ in range(2))
        self.final_norm = nn.RMSNorm(WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + layer(norm(x))
        return self.final_norm(x) @ self.embedding.weight.mT


class Bigram(nn.Module):
    """Logits looked up in a table, so that any other program can compute its loss."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.ModuleList()
        self.table = nn.Parameter(torch.randn(256, 256))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]


class Wrapped(Stand):
    """A stand-in whose logits pass through a function of the number of calls so far."""

    def __init__(self, change: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__()
        self.change, self.calls = change, 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        return self.change(super().forward(tokens), self.calls)


def corpus_of(train: bytes, valid: bytes) -> Corpus:
    return Corpus("test", np.frombuffer(train, np.uint8), np.frombuffer(valid, np.uint8), "")


def random_bytes(count: int, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(count)


NOISE = corpus_of(random_bytes(5000, 1), random_bytes(1000, 2))
PATTERN = corpus_of(b"abcdefg\n" * 200, b"abcdefg\n" * 40)


def naive_bits(table: np.ndarray, text: np.ndarray, starts: np.ndarray, length: int) -> float:
    """Mean bits per byte of a bigram table over windows, one position after the other."""
    total = 0.0
    for start in starts:
        for place in range(start, start + length):
            row = table[text[place]].astype(np.float64)
            total += math.log2(np.exp(row).sum()) - row[text[place + 1]] / math.log(2)
    return total / (len(starts) * length)


# Learning


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_learns_a_pattern(optimizer):
    result = fit(Stand(), PATTERN, replace(RECIPE, optimizer=optimizer), seed=0)
    assert result.quality_bpb < 0.05
    assert result.loss_curve[0] > 4 > 0.1 > result.loss_curve[-1]
    assert result.tokens == 40 * 4 * 16
    assert result.seconds > 0


def test_noise_cannot_be_learned():
    """Bytes drawn at random hold eight bits each: less would mean that targets leak into inputs."""
    assert fit(Stand(), NOISE, RECIPE, seed=0).quality_bpb > 7.9


def test_same_seed_same_bits_whatever_the_global_generators_hold():
    results = []
    for seed in (0, 0, 1):
        model = Stand()
        torch.manual_seed(len(results))
        np.random.seed(len(results))
        results.append(fit(model, NOISE, replace(RECIPE, optimizer="muon"), seed))
    first, again, other = results
    assert (first.quality_bpb, first.loss_curve) == (again.quality_bpb, again.loss_curve)
    assert first.quality_bpb != other.quality_bpb


def test_half_precision_is_for_those_who_ask_and_the_gpu():
    recipe = replace(RECIPE, dtype="bfloat16")
    full = fit(Stand(), NOISE, RECIPE, seed=0).quality_bpb
    assert fit(Stand(), NOISE, recipe.on("cpu"), seed=0).quality_bpb == full
    half = fit(Stand(), NOISE, recipe, seed=0).quality_bpb
    assert half != full and half == pytest.approx(full, rel=0.01)
    assert recipe.on("cuda") == recipe


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_learns_on_the_gpu(dtype):
    recipe = replace(RECIPE, optimizer="muon", dtype=dtype)
    assert fit(Stand().cuda(), PATTERN, recipe, seed=0).quality_bpb < 0.05


# Measuring


def test_quality_is_what_a_naive_program_computes():
    model = Bigram()
    text = NOISE.valid
    count = RECIPE.valid_tokens // RECIPE.seq_len
    starts = np.array([i * (len(text) // count) for i in range(count)])
    expected = naive_bits(model.table.detach().numpy(), text, starts, RECIPE.seq_len)
    assert measure(model, text, RECIPE) == pytest.approx(expected, rel=1e-6)


@given(size=st.integers(9, 300), length=st.integers(1, 8), wanted=st.integers(0, 200), batch=st.integers(1, 5))
def test_validation_windows_are_as_many_as_fit_and_do_not_overlap(size, length, wanted, batch):
    recipe = replace(RECIPE, seq_len=length, valid_tokens=wanted, batch_size=batch)
    text = np.arange(size).astype(np.uint16)  # places as tokens, so that a window tells where it was
    seen = []

    class Spy(Bigram):
        def forward(self, tokens: Tensor) -> Tensor:
            seen.extend(tokens[:, 0].tolist())
            return torch.zeros(*tokens.shape, 300)

    assert measure(Spy(), text.astype(np.int64), recipe) == pytest.approx(math.log2(300))
    assert len(seen) == max(1, min(wanted // length, size // (length + 1)))
    assert all(late - early > length for early, late in zip(seen, seen[1:], strict=False))
    assert seen[-1] + length < size


def test_loss_curve_is_what_a_naive_program_computes():
    """With a rate of zero the table stays as it is, and the curve is its loss on the windows drawn."""
    model = Bigram()
    recipe = replace(RECIPE, tokens=70 * 4 * 16, learning_rate=0.0)
    curve = fit(model, NOISE, recipe, seed=5).loss_curve
    rng = np.random.default_rng(5)
    table = model.table.detach().numpy()
    bits = [naive_bits(table, NOISE.train, rng.integers(0, NOISE.train.size - 16, 4), 16) for _ in range(70)]
    marks = [math.floor(70 * i / 32) for i in range(33)]
    expected = [np.mean(bits[a:b]) for a, b in zip(marks, marks[1:], strict=False)]
    assert curve == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("steps, points", [(1, 1), (5, 5), (32, 32), (33, 32)])
def test_loss_curve_has_at_most_32_points(steps, points):
    result = fit(Stand(), NOISE, replace(RECIPE, tokens=steps * 4 * 16 + 7), seed=0)
    assert len(result.loss_curve) == points
    assert result.tokens == steps * 4 * 16


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("exponent", [0.5, 8.0])
def test_the_average_is_the_weighted_mean_of_all_weights(optimizer, exponent):
    recipe = replace(RECIPE, optimizer=optimizer, average=exponent)
    plain, model = Stand(), Stand()
    reference = Training(plain, Windows(NOISE.train, recipe), replace(recipe, average=0.0), 3)
    training = Training(model, Windows(NOISE.train, recipe), recipe, 3)
    weights = []
    for step in range(1, 8):
        reference.advance(step)
        weights.append([param.detach().double() for param in plain.parameters()])
        weights[-1] = [value.clone() for value in weights[-1]]
    training.advance(7)
    steps = np.arange(1, 8)
    shares = (steps ** (exponent + 1) - (steps - 1) ** (exponent + 1)) / 7 ** (exponent + 1)
    expected = [
        sum(share * value for share, value in zip(shares, values, strict=True)) for values in zip(*weights, strict=True)
    ]
    with training.averaged():
        for param, value in zip(model.parameters(), expected, strict=True):
            torch.testing.assert_close(param.double(), value, rtol=1e-5, atol=1e-6)
    for param, value in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(param, value)
    training.use_average()
    for param, value in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(param.double(), value, rtol=1e-5, atol=1e-6)


def test_a_training_whose_schedule_needs_no_end_is_the_beginning_of_a_longer_one():
    """Paused and restored or not, and whatever the tokens of its recipe; the average too."""
    results = []
    for tokens, stops in ((40, (7, 40, 90)), (90, (90,))):
        shares = {"warmup": 4 / tokens, "hold": 20 / tokens}
        recipe = replace(RECIPE, tokens=tokens * 64, schedule="inverse_sqrt", **shares, average=8.0)
        state = None
        for stop in stops:
            torch.manual_seed(0)
            model = LanguageModel(specify(decode(parse("11111-91111")), TINY.dims))
            training = Training(model, Windows(NOISE.train, recipe), recipe, 1)
            if state:
                training.restore(state)
            training.advance(stop)
            state = training.state()
        with training.averaged():
            results.append((measure(model, NOISE.valid, recipe), training.tokens))
        results[-1] += (measure(model, NOISE.valid, recipe),)
    assert results[0] == results[1]
    assert results[0][0] != results[0][2]


# Rates and groups


def test_schedule_by_hand():
    recipe = replace(RECIPE, tokens=20 * 4 * 16, warmup=0.1, final_rate=0.1)
    rates = [schedule(step, recipe) for step in range(20)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[2] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 18)) / 2)
    assert rates[10] == pytest.approx(0.55)  # half way down
    assert rates[19] == pytest.approx(0.1)
    assert rates[1:] == sorted(rates[1:], reverse=True)


@given(steps=st.integers(1, 200), warmup=st.floats(0, 1), final=st.floats(0, 1))
def test_schedule_stays_between_nothing_and_its_peak(steps, warmup, final):
    recipe = replace(RECIPE, tokens=steps * 4 * 16, warmup=warmup, final_rate=final)
    rates = [schedule(step, recipe) for step in range(steps)]
    assert all(0 <= rate <= 1 + 1e-12 for rate in rates)
    assert rates[-1] == pytest.approx(1.0 if round(warmup * steps) == steps else final)


def test_inverse_square_root_by_hand():
    recipe = replace(
        RECIPE, tokens=20 * 4 * 16, schedule="inverse_sqrt", warmup=0.1, hold=0.5, decay=0.2, final_rate=0.2
    )
    falling = [math.sqrt(10 / step) for step in range(11, 21)]
    shares = [1.0] * 6 + [0.8, 0.6, 0.4, 0.2]
    expected = [0.5] + [1.0] * 9 + [rate * share for rate, share in zip(falling, shares, strict=True)]
    assert [schedule(step, recipe) for step in range(20)] == pytest.approx(expected)
    endless = replace(recipe, decay=0.0)
    assert [schedule(step, endless) for step in (9, 39, 89)] == pytest.approx([1.0, 0.5, 1 / 3])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("hold", 1.5, "hold of a recipe must lie between 0 and 1, not 1.5"),
        ("decay", -0.1, "decay of a recipe must lie between 0 and 1, not -0.1"),
        ("warmup", 2.0, "warmup of a recipe must lie between 0 and 1, not 2.0"),
        ("average", -1.0, "average of a recipe must be 0 or more, not -1.0"),
        ("schedule", "inverse", "unknown schedule 'inverse'; did you mean 'inverse_sqrt'?"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(key, value, words):
    with pytest.raises(UserError, match=re.escape(words)):
        replace(RECIPE, **{key: value})


def test_every_step_sees_its_rate_and_a_clipped_gradient():
    recipe = replace(RECIPE, optimizer="muon", learning_rate=0.02, matrix_learning_rate=0.3)
    model = Wrapped(lambda logits, _: logits * 100)
    seen: dict[str, list[float]] = {"AdamW": [], "Muon": []}
    norms = []

    def note(optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        rates = {group["lr"] for group in optimizer.param_groups}
        seen[type(optimizer).__name__].extend(rates)
        if type(optimizer).__name__ == "AdamW":
            norms.append(math.sqrt(sum(param.grad.square().sum().item() for param in model.parameters())))

    hook = register_optimizer_step_pre_hook(note)
    try:
        fit(model, NOISE, recipe, seed=0)
    finally:
        hook.remove()
    expected = np.array([schedule(step, recipe) for step in range(40)])
    assert seen["AdamW"] == pytest.approx(0.02 * expected)
    assert seen["Muon"] == pytest.approx(0.3 * expected)
    assert norms == pytest.approx([1.0] * 40, rel=1e-3)


def grouped(model: nn.Module, recipe: Recipe) -> dict[str, tuple[str, float, float]]:
    """Parameter name to (optimizer, rate, weight decay); fails if one has no place or two."""
    names = {id(param): name for name, param in model.named_parameters()}
    places = {}
    for optimizer in make_optimizers(model, recipe):
        for group in optimizer.param_groups:
            for param in group["params"]:
                name = names.pop(id(param))
                places[name] = (type(optimizer).__name__, group["lr"], group["weight_decay"])
    assert not names
    return places


def test_muon_takes_matrices_of_slots_and_only_matrices_decay():
    model = Stand()
    model.layers[1].weight = model.layers[0].weight  # shared, as featurizers are
    model.layers[1].kernel = nn.Parameter(torch.zeros(3, 5))
    model.layers[1].log_rate = nn.Parameter(torch.zeros(5, 4))
    model.layers[1].blocks = nn.Parameter(torch.zeros(2, 3, 3))
    matrix, other = ("Muon", 0.03, 0.1), ("AdamW", 0.01, 0.1)
    vector = ("AdamW", 0.01, 0.0)
    assert grouped(model, replace(RECIPE, optimizer="muon", learning_rate=0.01)) == {
        "embedding.weight": other,
        "layers.0.weight": matrix,
        "layers.0.bias": vector,
        "layers.1.kernel": vector,
        "layers.1.log_rate": vector,
        "layers.1.blocks": vector,
        "layers.1.bias": vector,
        "norms.0.weight": vector,
        "norms.1.weight": vector,
        "final_norm.weight": vector,
    }
    adamw = grouped(model, replace(RECIPE, learning_rate=0.01))
    assert set(adamw.values()) == {other, vector}
    assert adamw["layers.0.weight"] == other


def test_muon_is_not_needed_where_slots_have_no_matrix():
    assert grouped(Bigram(), replace(RECIPE, optimizer="muon")) == {"table": ("AdamW", 0.03, 0.0)}


def test_unknown_optimizer_names_the_nearest():
    with pytest.raises(UserError, match="unknown optimizer 'adam'; did you mean 'adamw'?"):
        make_optimizers(Stand(), replace(RECIPE, optimizer="adam"))


# Giving up


class ExplodingGradient(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context, grad: Tensor) -> Tensor:
        return grad * math.inf


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("at", [1, 7, 40])
def test_a_bad_loss_diverges_soon(bad, at):
    model = Wrapped(lambda logits, call: logits * bad if call == at else logits)
    with pytest.raises(Diverged, match="training loss|gradient"):
        fit(model, NOISE, RECIPE, seed=0)
    assert model.calls <= at + 1  # forty steps make thirty-two stretches of one or two


def test_a_bad_gradient_diverges_though_the_loss_is_sound():
    model = Wrapped(lambda logits, call: ExplodingGradient.apply(logits) if call == 40 else logits)
    with pytest.raises(Diverged, match="norm of the gradient by step 40 is"):
        fit(model, NOISE, RECIPE, seed=0)


def test_a_bad_validation_diverges():
    model = Wrapped(lambda logits, call: logits * math.nan if call > 40 else logits)
    with pytest.raises(Diverged, match="validation loss is nan"):
        fit(model, NOISE, RECIPE, seed=0)


def test_too_fast_a_rate_diverges():
    with pytest.raises(Diverged):
        fit(Stand(), NOISE, replace(RECIPE, learning_rate=1e38), seed=0)


@pytest.mark.parametrize("train, valid, enough", [(17, 17, True), (16, 17, False), (17, 16, False)])
def test_each_side_must_hold_one_window(train, valid, enough):
    corpus = corpus_of(b"x" * train, b"x" * valid)
    if enough:
        check_corpus(corpus, RECIPE)
        assert fit(Stand(), corpus, RECIPE, seed=0).quality_bpb < 0.1
        return
    with pytest.raises(UserError) as caught:
        fit(Stand(), corpus, RECIPE, seed=0)
    assert str(caught.value) == (
        "corpus test is too short: a window takes 17 tokens, "
        f"and it has {train} for training and {valid} for validation"
    )
