"""Latency: measured where it should be, of the right thing."""

import torch

from star.architecture.genome import decode, parse
from star.architecture.spec import Dimensions, ModelSpec
from star.model.language_model import LanguageModel
from star.training import latency
from star.training.latency import measure_latency

DIMS = Dimensions(d_model=16, head_dim=4, vocab_size=32, seq_len=64)


def test_prefill_reads_the_context_and_decoding_ends_at_it(monkeypatch):
    """What is timed: whole prompts into an empty cache, then single tokens until the cache is full."""
    model = LanguageModel(ModelSpec(decode(parse("11111-91111")), DIMS))
    passes = []
    model.register_forward_pre_hook(lambda _, inputs: passes.append((inputs[0].shape[1], inputs[1].position)))
    found = measure_latency(model, 40)
    prompts = latency.WARM_UP + latency.REPEATS
    assert passes[:prompts] == [(40, 0)] * prompts
    assert passes[prompts:] == [(40 - latency.STEPS, 0)] + [(1, 40 - step) for step in range(latency.STEPS, 0, -1)]
    assert found.prefill_ms > 0 and found.decode_ms > 0


def test_a_context_of_one_token_can_be_measured():
    model = LanguageModel(ModelSpec(decode(parse("11111")), DIMS))
    assert measure_latency(model, 1).decode_ms > 0


def test_a_sum_of_layers_takes_longer_than_one(monkeypatch):
    """The clock is read around the pass: with a clock that counts passes through layers, time is depth."""
    clock = [0.0]
    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock[0])

    def seconds(depth):
        model = LanguageModel(ModelSpec(decode(parse("-".join(["71111"] * depth))), DIMS))
        for layer in model.layers:
            layer.register_forward_hook(lambda *_: clock.__setitem__(0, clock[0] + 1e-3))
        return measure_latency(model, 20)

    assert seconds(2).decode_ms == torch.tensor(2.0)
    assert round(seconds(5).prefill_ms, 6) == 5
