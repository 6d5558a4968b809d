"""The loss on text against the definition, closed forms, and a bootstrap by hand."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.measured import PAIRS, draw_documents, export_small, naive_nats
from support.tiny import TINY_TOML

from star.data.text_source import TextSource
from star.errors import SettingError, UserError
from star.metrics.documents import Document
from star.metrics.interval import RESAMPLES, SEED, ratio_interval
from star.metrics.loss import PASS_LOGITS, PASS_TOKENS, count_rows, measure_loss
from star.metrics.settings import EvalSettings
from star.metrics.text import measure_text
from star.metrics.trained_model import read_model
from star.metrics.windows import Windowing

LENGTHS = (1, 2, 15, 16, 17, 32, 33, 40, 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return export_small(tmp_path_factory.mktemp("models") / "bytes")


@pytest.fixture
def model(folder, monkeypatch):
    """A model in double precision."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    return read_model(folder).model.double()


@pytest.mark.parametrize(("context", "stride"), [(16, 16), (16, 5), (16, 1), (7, 3), (64, 64), (1, 1)])
def test_every_token_counts_once_with_the_context_that_the_rule_gives_it(model, context, stride):
    documents = [Document(tokens, 2.5 * tokens.size) for tokens in draw_documents(LENGTHS)]
    expected = [naive_nats(model, one.tokens.tolist(), 10, context, stride) for one in documents]
    found = measure_loss(model, documents, 10, Windowing(context, stride))
    flat = [pair for one in expected for pair in one]
    assert (found.documents, found.tokens) == (len(LENGTHS), sum(LENGTHS))
    assert found.num_bytes == pytest.approx(2.5 * sum(LENGTHS), rel=1e-12)
    assert found.nats == pytest.approx(sum(nats for _, nats in flat), rel=1e-10)
    assert found.loss == pytest.approx(found.nats / found.tokens, rel=1e-12)
    assert found.perplexity == pytest.approx(math.exp(found.nats / found.tokens), rel=1e-12)
    assert found.bits_per_byte == pytest.approx(found.nats / math.log(2) / found.num_bytes, rel=1e-12)
    for part in found.positions.doublings():
        inside = [nats for seen, nats in flat if part.first <= seen <= part.last]
        assert (part.tokens, part.loss) == (len(inside), pytest.approx(np.mean(inside), rel=1e-10))
    assert sum(part.tokens for part in found.positions.doublings()) == found.tokens


def test_documents_do_not_see_each_other(model):
    """The sum over documents is that of each alone, in any order."""
    documents = [Document(tokens, 1.0 * tokens.size) for tokens in draw_documents(LENGTHS)]
    alone = [measure_loss(model, [one], 10, Windowing(16, 16)).nats for one in documents]
    together = measure_loss(model, documents[::-1], 10, Windowing(16, 16))
    assert together.nats == pytest.approx(sum(alone), rel=1e-12)


def test_a_document_that_a_tokenizer_makes_nothing_of_counts_its_bytes(model):
    first, second = (Document(tokens, 8.0) for tokens in draw_documents((4, 4)))
    found = measure_loss(model, [first, Document(np.empty(0, np.uint32), 2.0), second], 10, Windowing(16, 16))
    alone = measure_loss(model, [first, second], 10, Windowing(16, 16))
    assert (found.documents, found.num_bytes, found.tokens) == (3, 18, 8)
    assert found.nats == pytest.approx(alone.nats, rel=1e-12)


def test_a_uniform_model_needs_the_logarithm_of_its_vocabulary(tmp_path):
    trained = read_model(export_small(tmp_path, PAIRS))
    with torch.no_grad():
        for weight in trained.model.parameters():
            weight.zero_()
    documents = [Document(tokens, 3.0 * tokens.size) for tokens in draw_documents(LENGTHS, 300)]
    found = measure_loss(trained.model, documents, 0, Windowing(16, 16))
    assert found.bits_per_byte == pytest.approx(math.log2(320) / 3, rel=1e-6)
    assert found.perplexity == pytest.approx(320, rel=1e-5)
    assert found.interval == pytest.approx((math.log2(320) / 3,) * 2, rel=1e-6)


def test_the_interval_is_that_of_documents_drawn_again(model):
    documents = [Document(tokens, 1.5 * tokens.size) for tokens in draw_documents(LENGTHS)]
    bits = [measure_loss(model, [one], 10, Windowing(16, 16)).nats / math.log(2) for one in documents]
    rng, ratios = np.random.default_rng(SEED), []
    for drawn in rng.integers(0, len(documents), (RESAMPLES, len(documents))):
        ratios.append(sum(bits[i] for i in drawn) / sum(documents[i].num_bytes for i in drawn))
    found = measure_loss(model, documents, 10, Windowing(16, 16)).interval
    assert found == pytest.approx(tuple(np.percentile(ratios, [2.5, 97.5])), rel=1e-9)


def test_an_interval_covers_the_ratio_as_often_as_it_says():
    """Of documents of random length, whose loss per byte varies about 2."""
    rng, hits = np.random.default_rng(5), 0
    for _ in range(300):
        sizes = rng.integers(10, 1_000, 60).astype(float)
        low, high = ratio_interval(sizes * rng.normal(2, 0.3, 60), sizes)
        hits += low <= 2 <= high
    assert 0.90 <= hits / 300 <= 0.98
    assert ratio_interval(np.ones(1), np.ones(1)) is None


def test_contexts_have_tokens_of_the_same_full_windows(folder, model, tmp_path):
    """By hand, of all windows of 24 tokens that a document fills."""
    text = tmp_path / "text.jsonl"
    text.write_text("".join(f'{{"text": "{"ab cd" * n}"}}\n' for n in range(1, 20)))
    trained = replace(read_model(folder), model=model)
    settings = EvalSettings(corpus=(str(text),), side="all", contexts=(24, 6, 11))
    found = measure_text(trained, source_of(settings), settings)
    documents = [list(f"{'ab cd' * n}\n".encode()) for n in range(1, 20)]
    seen = [pair for one in documents for pair in naive_nats(model, one, 10, 24, 24)[: len(one) // 24 * 24]]
    assert found.full_windows == len(seen) // 24 > 5
    for part, (first, last) in zip(found.contexts, [(4, 6), (6, 11), (13, 24)], strict=True):
        inside = [nats for position, nats in seen if first <= position <= last]
        assert (part.first, part.last, part.tokens) == (first, last, len(inside))
        assert part.loss == pytest.approx(np.mean(inside), rel=1e-10)
    with pytest.raises(UserError, match="no document of the text has the 100 tokens of the longest of the contexts"):
        measure_text(trained, source_of(settings), replace(settings, contexts=(100,)))


def source_of(settings):
    return TextSource(sources=settings.corpus)


@pytest.mark.parametrize(
    ("given", "key"),
    [({"context": 8, "stride": 9}, "stride"), ({"context": 17}, "context"), ({"contexts": (17,)}, "contexts")],
)
def test_what_a_model_cannot_read_is_refused(tmp_path, given, key):
    learned = '\n[style]\npositions = "learned"\n'
    trained = read_model(export_small(tmp_path / "learned", scale_toml=TINY_TOML + learned))
    with pytest.raises(SettingError) as caught:
        measure_text(trained, source_of(EvalSettings(corpus=("stdlib",))), EvalSettings(**given))
    assert caught.value.key == key


def test_a_loss_that_is_not_finite_is_a_sentence(folder):
    trained = read_model(folder)
    with torch.no_grad():
        trained.model.final_norm.weight.fill_(math.inf)
    documents = [Document(tokens, 1.0) for tokens in draw_documents((4, 4))]
    with pytest.raises(UserError, match="the loss of the model on this text is not finite"):
        measure_loss(trained.model, documents, 10, Windowing(16, 16))
    for none in ([], [Document(np.empty(0, np.uint32), 1.0)]):
        with pytest.raises(UserError, match="the text has no tokens to measure the loss on"):
            measure_loss(trained.model, none, 10, Windowing(16, 16))


@pytest.mark.parametrize(
    ("vocab_size", "context"), [(256, 16), (256, 100_000), (50_304, 128), (50_304, 4_096), (2**20, 1)]
)
def test_a_pass_takes_as_many_windows_as_its_logits_have_room(vocab_size, context):
    model = SimpleNamespace(embedding=SimpleNamespace(num_embeddings=vocab_size))
    rows = count_rows(model, context)
    assert rows == 1 or rows * context <= PASS_TOKENS and rows * context * vocab_size <= PASS_LOGITS
    more = (rows + 1) * context
    assert more > PASS_TOKENS or more * vocab_size > PASS_LOGITS
