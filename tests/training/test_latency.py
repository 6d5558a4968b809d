"""Latency: what is timed is what is meant, whatever disturbs it; the real clock is only asked whether it runs."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from star.architecture.genome import DECKS, decode, parse
from star.architecture.spec import Dimensions
from star.cost.latency import FRAME, LatencyTable, Part
from star.cost.process import count_cores
from star.cost.target import Target
from star.errors import UserError
from star.model.language_model import LanguageModel
from star.training import latency
from star.training.latency import Machine, find_machine, measure_model, measure_part

DIMS = Dimensions(d_model=16, head_dim=4, vocab_size=300, seq_len=64)
SETTING = Target(dims=DIMS, num_slots=6, context=40, dtype_bytes=4, batch=2)
MACHINE = Machine("cpu", torch.float32, 1)
PAIRS = [(number, 1, 1, 1, strategy) * 2 for number in DECKS["shifted"] for strategy in range(1, 5)]
PARTS = LatencyTable(SETTING, 6).missing(PAIRS)
ATTENTION = next(part for part in PARTS if part.name == "SA-1")
BORROWED = Part(ATTENTION.liv, "BV")


@pytest.fixture
def once(monkeypatch):
    """One pass of each kind, without a warm-up."""
    for name, value in {"WARM_UP": 0, "PROMPTS": (1, 1), "TOKENS": (1, 1), "SECONDS": 0.0}.items():
        monkeypatch.setattr(latency, name, value)


@pytest.fixture
def virtual(monkeypatch):
    """A clock that a layer advances by a millisecond, and the head by 100; and what the models are given."""

    class Virtual:
        now = 0.0
        passes: list[tuple[int, int, int]] = []
        models: list[LanguageModel] = []
        modes: set[tuple[int, bool, bool]] = set()

    class Watched(latency._Served):
        def __init__(self, spec):
            super().__init__(spec)
            Virtual.models.append(self)
            for layer in self.layers:
                layer.register_forward_pre_hook(lambda *_: advance(1e-3))

        def forward(self, tokens, cache):
            Virtual.passes.append((*tokens.shape, cache.position))
            Virtual.modes.add((torch.get_num_threads(), torch.is_inference_mode_enabled(), self.training))
            logits = super().forward(tokens, cache)
            assert tokens.shape[1] == 1 or logits.stride(1) == 0, "those of the last token alone"
            advance(0.1)
            return logits

    def advance(seconds):
        Virtual.now += seconds

    Virtual.passes, Virtual.models, Virtual.modes = [], [], set()
    monkeypatch.setattr(latency, "_Served", Watched)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: Virtual.now)
    monkeypatch.setattr(latency.OtherUse, "share", lambda self: 0.0)  # which reads the clock
    return Virtual


def test_a_model_is_timed_as_a_whole_and_an_operator_in_its_slots(virtual):
    """By a clock that counts layers: all of them and the head, or one, however many slots it is timed in."""
    whole = measure_model(decode(parse("11111-91111-71111")), SETTING, MACHINE)
    assert (whole.prefill_ms, whole.decode_ms) == (pytest.approx(103), pytest.approx(103))
    for part in (ATTENTION, BORROWED):
        one = measure_part(part, SETTING, MACHINE)
        assert (one.prefill_ms, one.decode_ms) == (pytest.approx(1), pytest.approx(1))
    around = measure_part(FRAME, SETTING, MACHINE)
    assert (around.prefill_ms, around.decode_ms) == (pytest.approx(100), pytest.approx(100))
    assert virtual.modes == {(1, True, False)}


def test_prompts_fill_the_context_and_a_token_is_its_last(virtual):
    measure_model(decode(parse("11111")), SETTING, MACHINE)
    prompts, tokens = latency.WARM_UP + latency.PROMPTS[1], latency.WARM_UP + latency.TOKENS[0]
    assert virtual.passes[:prompts] == [(2, 40, 0)] * prompts
    assert set(virtual.passes[prompts:]) == {(2, 1, 39)} and len(virtual.passes) >= prompts + tokens


def test_slots_that_take_features_do_not_make_them(virtual, once):
    measure_part(BORROWED, SETTING, MACHINE)
    one, several = virtual.models
    assert [sorted(layer.featurizer) for layer in one.layers] == [["B", "C", "V"], ["C"]]
    assert [sorted(layer.featurizer) for layer in several.layers] == [["B", "C", "V"]] * 6 + [["C"]] * 6
    makers = [slots["B"] for slots in several.feature_slots[6:]]
    assert makers == list(range(6)), "each from another slot, as far away as memory is"


WHOLE = 4 * (1040 + 2 * 40 * 32)  # bytes of an attention with its norm, and of 40 keys and values of two sequences
PAIR = WHOLE + 4 * (1040 - 2 * 256)  # with one that takes these from it


@pytest.mark.parametrize(("bytes", "slots"), [(1, 1), (10**12, 6), (3 * WHOLE, 3), (3 * WHOLE - 1, 2)])
def test_decoding_is_timed_over_as_much_memory_as_fills_the_caches(virtual, once, monkeypatch, bytes, slots):
    monkeypatch.setattr(latency, "WORKING_SET", bytes)
    measure_part(ATTENTION, SETTING, MACHINE)
    prompt, token = virtual.models
    assert (len(prompt.layers), len(token.layers)) == (2, 1 + slots)


@pytest.mark.parametrize(("bytes", "slots"), [(1, 1), (10**12, 6), (2 * PAIR, 2), (2 * PAIR - 1, 1)])
def test_slots_that_features_are_taken_from_count_as_well(virtual, once, monkeypatch, bytes, slots):
    monkeypatch.setattr(latency, "WORKING_SET", bytes)
    measure_part(BORROWED, SETTING, MACHINE)
    prompt, token = virtual.models
    assert (len(prompt.layers), len(token.layers)) == (2, 2 * slots)


def test_repeats_have_a_median_and_an_end(virtual, monkeypatch):
    """One pass in three takes ten times as long; slow passes are repeated no more than the least often."""
    passes = itertools.cycle((10.0, 1.0, 1.0))
    monkeypatch.setattr(latency._Bench, "_time", lambda *_: next(passes))
    found = measure_model(decode(parse("11111")), SETTING, MACHINE)
    assert (found.prefill_ms, found.decode_ms) == (1.0, 1.0)
    least, most = ([one[place] for one in (latency.PROMPTS, latency.TOKENS)] for place in (0, 1))
    for seconds, counts in ((0.01, most), (60, least)):
        timed = []

        def watch(self, position, num_tokens, seconds=seconds, timed=timed):
            timed.append(num_tokens)
            virtual.now += seconds
            return 1.0

        monkeypatch.setattr(latency._Bench, "_time", watch)
        measure_model(decode(parse("11111")), SETTING, MACHINE)
        assert [timed.count(40), timed.count(1)] == [latency.WARM_UP + count for count in counts]


@pytest.mark.parametrize("share", [0.0, 0.09, 0.11])
def test_what_other_processes_use_disturbs(once, monkeypatch, share):
    monkeypatch.setattr(latency.OtherUse, "share", lambda self: share)
    for found in (measure_part(ATTENTION, SETTING, MACHINE), measure_model((), SETTING, MACHINE)):
        assert found.is_disturbed == (share > latency.BUSY)


def test_what_measuring_changes_is_as_before(once):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    measure_part(BORROWED, SETTING, replace(MACHINE, threads=threads + 1))
    assert torch.equal(torch.rand(4), expected) and torch.get_num_threads() == threads
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    model = LanguageModel(latency.specify(decode(parse("11111-71111")), DIMS))
    model(torch.zeros(1, 5, dtype=torch.long)).sum().backward()  # no table that was made meanwhile belongs to inference


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_part_of_the_deck_takes_time(once, dtype):
    assert len(PARTS) > 150
    for part in PARTS[:: 1 if dtype is torch.bfloat16 else 5]:
        found = measure_part(part, SETTING, replace(MACHINE, dtype=dtype))
        assert all(0 < value < math.inf for value in (found.prefill_ms, found.decode_ms)), part.name


def test_a_context_of_one_token_can_be_measured(once):
    found = measure_part(ATTENTION, replace(SETTING, context=1), MACHINE)
    assert found.prefill_ms > 0 and found.decode_ms > 0


def test_numbers_of_two_bytes_are_bfloat16_where_the_processor_multiplies_it(monkeypatch):
    for multiplies, bytes, dtype in (
        (True, 4, torch.float32),
        (True, 2, torch.bfloat16),
        (True, 0.5, torch.bfloat16),
        (False, 2, torch.float32),
    ):
        monkeypatch.setattr(latency, "multiplies_bfloat16", lambda answer=multiplies: answer)
        assert find_machine("cpu", bytes) == Machine("cpu", dtype, count_cores())


def test_refusals(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device is cuda, but torch finds no GPU here"):
        find_machine("cuda", 2)
    with pytest.raises(UserError, match=r"latency of SA-1 cannot be measured: it takes about .* TB, and .* are free"):
        measure_part(ATTENTION, replace(SETTING, context=10**9), MACHINE)

    def fail(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory\nin lines")

    monkeypatch.setattr(latency, "_Served", fail)
    with pytest.raises(UserError, match="cannot be measured: there is too little memory; a smaller target") as refusal:
        measure_part(BORROWED, SETTING, MACHINE)
    assert "\n" not in str(refusal.value)


def test_other_errors_pass(monkeypatch):
    monkeypatch.setattr(latency, "_Served", lambda spec: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measure_part(ATTENTION, SETTING, MACHINE)
