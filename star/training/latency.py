"""Measure how long operators and whole models take to read prompts, and to decode a token after them.

All of it runs inside a language model with random weights, in evaluation mode and without autograd. An operator is
timed in slots of that model, each from the end of the slot before to its own end: norm, operator, and the sum with the
residual stream. A model that is larger than the processor's caches fetches its weights and the tokens in its cache from
memory for each decoded token; so decoding is timed over as many slots as fill the processor's caches.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from star.architecture.spec import Dimensions, Slot
from star.architecture.structures import specify
from star.cost.cost import itemise, price
from star.cost.latency import Part
from star.cost.process import OtherUse, count_cores, multiplies_bfloat16, read_free_memory
from star.cost.target import Target
from star.errors import UserError
from star.model.language_model import LanguageModel
from star.records import Latency
from star.training.allocator import is_out_of_memory, keep_freed_memory
from star.units import write_amount

WORKING_SET = 256 << 20  # bytes of weights and cached tokens over which decoding is timed
VOCABULARY = 256  # of a model in which an operator is timed
PROMPTS, TOKENS = (3, 7), (10, 50)  # passes that are timed: at least, and at most
SECONDS = 1.0  # after which no more than the least are timed
BUSY = 0.1  # share of the cores' time that other processes take, beyond which a measurement is disturbed
WARM_UP = 2  # passes that are not timed
STREAM = 4  # copies of the residual stream that a slot keeps, besides the columns of its maps


@dataclass(frozen=True, slots=True)
class Machine:
    """What latencies are measured on: a device of torch, the type of weights and caches, and the threads of the CPU."""

    device: str
    dtype: torch.dtype
    threads: int


def find_machine(device: str, dtype_bytes: float) -> Machine:
    """Return how numbers of so many bytes are computed with on this machine: in bfloat16 if they take two bytes or
    fewer and the device multiplies such numbers, else in float32; on all cores that this process may use.

    Raises:
        UserError: there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device is cuda, but torch finds no GPU here; device cpu measures latency on the processor")
    is_half = dtype_bytes <= 2 and (device == "cuda" or multiplies_bfloat16())
    return Machine(device, torch.bfloat16 if is_half else torch.float32, count_cores())


def measure_part(part: Part, setting: Target, machine: Machine) -> Latency:
    """Return the latency of a part of models at a target, which have `setting.num_slots` slots there.

    Raises:
        UserError: there is too little memory.
    """
    if part.liv is None:
        return measure_model((), setting, machine)
    dims = replace(setting.dims, vocab_size=min(VOCABULARY, setting.dims.vocab_size))
    copies = _count_copies(part, dims, setting, machine.dtype.itemsize)
    with _prepared(part.name, machine):
        others = OtherUse()
        prefill = _Bench(_repeat(part, 1), dims, setting, machine, timed=1).prefill()
        decode = _Bench(_repeat(part, copies), dims, setting, machine, timed=copies).decode()
        return Latency(prefill_ms=prefill, decode_ms=decode, is_disturbed=others.share() > BUSY)


def measure_model(slots: tuple[Slot, ...], setting: Target, machine: Machine) -> Latency:
    """Return the latency of a whole model. Of a prompt it computes the logits of the last token alone.

    Raises:
        UserError: there is too little memory.
    """
    with _prepared(f"a model of {len(slots)} slots", machine):
        others = OtherUse()
        bench = _Bench(slots, setting.dims, setting, machine)
        return Latency(prefill_ms=bench.prefill(), decode_ms=bench.decode(), is_disturbed=others.share() > BUSY)


def _count_copies(part: Part, dims: Dimensions, setting: Target, width: int) -> int:
    """Return over how many slots decoding is timed: as many as fill the working set, each with the slot that it takes
    features from, if any; at most the depth of the models.
    """
    slots = itemise(_repeat(part, 1), dims, setting.context, width)[0 if part.taken else 1 :]
    each = sum(width * one.params + setting.batch * one.cache_bytes for one in slots)
    return max(1, min(setting.num_slots, WORKING_SET // max(1, each)))


def _repeat(part: Part, copies: int) -> tuple[Slot, ...]:
    """Return slots of one operator, of which the last `copies` are to be timed: they take their features from as many
    slots before them, or follow on one if they take none.
    """
    assert part.liv, "an operator"
    lead = copies if part.taken else 1
    slots = []
    for i in range(lead + copies):
        makers = tuple(i - lead if i >= lead and group.role in part.taken else i for group in part.liv.groups)
        slots.append(Slot(1, part.liv, (i,) * len(makers), makers))
    return tuple(slots)


class _Served(LanguageModel):
    """A language model as it is served: of a prompt it computes the logits of the last token alone."""

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return these logits in the place of all others, without a copy."""
        return super()._logits(x[:, -1:]).expand(-1, x.shape[1], -1)


class _Clock:
    """Tells the time between two moments of a pass."""

    def __init__(self) -> None:
        self._moments: list[float] = []

    def read(self, *_: object) -> None:
        """Remember this moment; a hook of a module."""
        self._moments.append(time.perf_counter())

    def take(self) -> float:
        """Return the milliseconds between the two moments, and forget them."""
        first, last = self._moments
        self._moments.clear()
        return 1000 * (last - first)


class _CudaClock:
    """Tells the time by events on a GPU, which works on while the processor hands over more."""

    def __init__(self) -> None:
        self._moments: list[torch.cuda.Event] = []

    def read(self, *_: object) -> None:
        """Remember this moment; a hook of a module."""
        self._moments.append(torch.cuda.Event(enable_timing=True))
        self._moments[-1].record()

    def take(self) -> float:
        """Return the milliseconds between the two moments, and forget them."""
        first, last = self._moments
        self._moments.clear()
        last.synchronize()
        return first.elapsed_time(last)


class _Bench:
    """A language model with random weights and a cache, timed as a whole, or in its last `timed` slots."""

    def __init__(
        self, slots: tuple[Slot, ...], dims: Dimensions, setting: Target, machine: Machine, timed: int = 0
    ) -> None:
        _check_memory(slots, dims, setting, machine)
        self._batch, self._context, self._vocab_size = setting.batch, setting.context, dims.vocab_size
        self._device, self._timed = torch.device(machine.device), timed
        self._clock = clock = _CudaClock() if self._device.type == "cuda" else _Clock()
        self._model = _Served(specify(slots, dims)).eval().to(self._device, machine.dtype)
        if timed:
            for layer in (self._model.layers[-1 - timed], self._model.layers[-1]):
                layer.register_forward_hook(clock.read)
        else:
            self._model.register_forward_pre_hook(clock.read)
            self._model.register_forward_hook(clock.read)
        self._cache = self._model.new_cache(setting.context, setting.batch)
        for tensor in self._cache.tensors():
            tensor.normal_()  # the system maps pages that were never written to a single one, which stays in the caches

    def prefill(self) -> float:
        """Return the milliseconds of prompts as long as the context, for one of the timed slots."""
        return self._median(0, self._context, *PROMPTS)

    def decode(self) -> float:
        """Return the milliseconds of the last token of the context, for one of the timed slots."""
        return self._median(self._context - 1, 1, *TOKENS)

    def _median(self, position: int, num_tokens: int, least: int, most: int) -> float:
        for _ in range(WARM_UP):
            self._time(position, num_tokens)
        times: list[float] = []
        started = time.perf_counter()
        while len(times) < least or len(times) < most and time.perf_counter() - started < SECONDS:
            times.append(self._time(position, num_tokens))
        return statistics.median(times) / max(1, self._timed)

    def _time(self, position: int, num_tokens: int) -> float:
        # Other tokens each time: they are routed to other experts.
        tokens = torch.randint(self._vocab_size, (self._batch, num_tokens), device=self._device)
        self._cache.position = position
        self._model(tokens, self._cache)
        return self._clock.take()


def _check_memory(slots: tuple[Slot, ...], dims: Dimensions, setting: Target, machine: Machine) -> None:
    """Raise MemoryError if a model, its caches and what its widest slot makes of prompts do not fit into memory."""
    width = machine.dtype.itemsize
    cost = price(slots, dims, setting.context, width)
    widest = max((one.active_params for one in itemise(slots, dims, setting.context)), default=0) / dims.d_model
    activations = width * setting.context * (STREAM * dims.d_model + widest)
    is_cuda = machine.device == "cuda"
    weights = cost.params * (width if is_cuda else torch.float32.itemsize)  # as which they are made
    needed = weights + setting.batch * (cost.cache_bytes + activations)
    if is_cuda:
        torch.cuda.empty_cache()  # of what was measured before
    free = torch.cuda.mem_get_info()[0] if is_cuda else read_free_memory()
    if needed > free:
        raise MemoryError(f"it takes about {write_amount(needed, 'bytes')}, and {write_amount(free, 'bytes')} are free")


@contextmanager
def _prepared(what: str, machine: Machine) -> Iterator[None]:
    """Set the threads, and turn autograd off. Name what was measured where memory is short."""
    threads = torch.get_num_threads()
    torch.set_num_threads(machine.threads)
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=()), keep_freed_memory():
            yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error) if isinstance(error, MemoryError) else "there is too little memory"
        raise UserError(
            f"the latency of {what} cannot be measured: {reason}; a smaller target, context or batch takes less"
        ) from error
    finally:
        torch.set_num_threads(threads)
        if machine.device == "cuda":
            torch.cuda.empty_cache()  # for workers on the same GPU
