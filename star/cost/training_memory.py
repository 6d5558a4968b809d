"""Estimate the memory of one training from the price of its genome, before anything is built.

    bytes = 4 (5 P + M (sum of k + max b + 4 V)),   k = 4 d + 1.3 A / d + share F + s,   b = 2 k or 128 d   of each slot

with P parameters in all, A those of a slot that one token goes through, F its FLOPs for a token beyond 2 A, M the
tokens of a step, d the width, V the vocabulary. A parameter is held as weight, gradient, twice in the state of the
optimiser and once as result. k is what the backward pass needs of a slot: it follows the columns of its maps, A / d,
and for scans their states, which F counts. b is what it takes for a moment while it is there, the second for scans by
channel. s = (1 + 0.75 t) d is that of a shift of t taps: its input, and what the allocator does not give back of the
products with each tap. The coefficients, here and in the descriptions of the structures, are rounded from measurements
of all classes of the deck in float32 on the CPU.
"""

import resource

from star.architecture.scales import Recipe
from star.architecture.spec import Dimensions, Slot
from star.architecture.structures import rules_of
from star.cost.cost import LayerCost, itemise, price
from star.cost.process import read_memory

_COPIES = 5  # of every parameter
_STREAM = 4.0  # copies of the residual stream that a slot keeps
_WIDTHS = 1.3  # kept for each column that a map of a slot has
_SHIFTED = (1.0, 0.75)  # copies of the input that a shift keeps, and more for each tap
_LOGITS = 4.0  # copies of the logits
_PASSING = 2.0  # what the backward pass takes at a slot, for what that keeps


def needed_memory(slots: tuple[Slot, ...], dims: Dimensions, recipe: Recipe) -> float:
    """Return the bytes that training a model needs beyond those of an idle process: weights, gradients, the optimiser's
    state and the activations of one step, in float32. Raise UserError if it cannot be built at `dims`.
    """
    length = recipe.seq_len
    kept = [_kept(slot, cost, dims) for slot, cost in zip(slots, itemise(slots, dims, length), strict=True)]
    taken = [
        rules_of(slot.liv).passing_per_channel * dims.d_model or _PASSING * one
        for slot, one in zip(slots, kept, strict=True)
    ]
    activations = sum(kept) + max(taken, default=0.0) + _LOGITS * dims.vocab_size
    params = price(slots, dims, length).params
    return 4 * (_COPIES * params + recipe.batch_size * length * activations)


def _kept(slot: Slot, cost: LayerCost, dims: Dimensions) -> float:
    """Return the elements that the backward pass needs of one slot and one token."""
    width, taps = dims.d_model, dims.style.shift
    mixing = max(0.0, cost.flops_per_token - 2 * cost.active_params)
    stream = _STREAM + (_SHIFTED[0] + _SHIFTED[1] * taps if taps else 0.0)
    return stream * width + _WIDTHS * cost.active_params / width + rules_of(slot.liv).kept_per_flop * mixing


def free_memory() -> float:
    """Return the bytes that this process may still allocate under its limit; infinite without one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    reserved = read_memory("VmData")
    if limit == resource.RLIM_INFINITY or not reserved:
        return float("inf")
    return max(0.0, limit - reserved[0])


def check_memory(slots: tuple[Slot, ...], dims: Dimensions, recipe: Recipe) -> None:
    """Raise MemoryError if training a model needs more than this process may still take."""
    needed, free = needed_memory(slots, dims, recipe), free_memory()
    if needed > free:
        raise MemoryError(f"needs about {needed / 1e9:.3g} GB, a worker has {free / 1e9:.3g} GB")
