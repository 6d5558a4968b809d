"""Estimate the quality of a long training from a short one.

The loss m_j at each mark (a number of training steps) is predicted from those before it:

    m_(j+1) = m_j + w_j . [m_j, m_j - m_(j-1), values] + f_j(operators) + b_j,group + e_j

Each stage j is a Gaussian process over all trainings that passed both marks: those of a run, and a prior of long
trainings that ships with the program. Its covariance is linear in the standardised inputs; f is alike for
architectures with like operators. Values and operators are what is known without training. Beyond the last mark that a
training has reached, the predicted loss takes the place of the measured one, and its variance is carried along.
Rasmussen and Williams 2006 (Gaussian processes for machine learning, chapters 2 and 5).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from star.architecture.genome import decode
from star.architecture.spec import Dimensions
from star.architecture.structures import FAMILIES
from star.cost.target import Target
from star.records import Genome

LEAST = 8  # trainings of which a stage is fitted at least
SHARES = (0.0, 0.3, 1.0)  # of the variance by operators in that by a linear law; leave-one-out decides
NOISES = np.logspace(-3, 1, 9)  # the rest of the variance; leave-one-out decides
OWN = 5.0  # variance of a group's intercept
REACH = 0.3  # share of the slots in which architectures differ that are still alike
DIFFERENTIAL = "-Diff"  # ends the name of a class that is two copies of another

# Inputs of a stage: the loss so far, the gain of the stage before, and the values of an architecture.
COSTS = ("log_params", "log_flops", "log_cache")
INPUTS = ("loss", "slope", *COSTS, *(f"share_of_{one.name.lower()}" for one in FAMILIES))


class Traits(NamedTuple):
    """Traits of an architecture, known without training. `values` are the logarithms of its parameters, FLOPs per token
    and bytes of cache, and the share of its slots that each token mixing has; `operators` are the names of those of its
    slots."""

    values: tuple[float, ...]
    operators: tuple[str, ...]


class Features:
    """Computes the traits of a genome.

    Args:
        dims: of the models that are trained.
    """

    def __init__(self, dims: Dimensions) -> None:
        self._target = Target(dims=dims, context=dims.seq_len, dtype_bytes=2)
        self._known: dict[Genome, Traits] = {}

    def __call__(self, genome: Genome) -> Traits:
        """Return the traits of a genome."""
        if genome not in self._known:
            cost, slots = self._target.count(genome), decode(genome)
            counts = Counter(slot.liv.token_mixing for slot in slots)
            shares = (counts[one] / max(1, len(slots)) for one in FAMILIES)
            costs = (cost.params, cost.flops_per_token, cost.cache_bytes)
            values = (*(float(np.log(max(1, one))) for one in costs), *shares)
            self._known[genome] = Traits(values, tuple(slot.liv.name for slot in slots))
        return self._known[genome]


_NUMBERS = {"": 0}  # of the names of operators that were met, in no order that matters


@cache
def _encode(operators: tuple[str, ...], is_plain: bool) -> list[int]:
    """Return a number for the operator of each slot; differential ones have that of the plain class, if asked for."""
    names = (name.removesuffix(DIFFERENTIAL) if is_plain else name for name in operators)
    return [_NUMBERS.setdefault(name, len(_NUMBERS)) for name in names]


def similarity(some: Sequence[tuple[str, ...]], others: Sequence[tuple[str, ...]]) -> np.ndarray:
    """Return how alike the operators of architectures are, (N, M), from 0 to 1: the mean of exp(-d / REACH), d the
    share of slots that hold another class, and of exp(-e / REACH), e the share of slots whose class has no counterpart
    in any slot, differential classes counted as the plain ones. Fewer slots are filled up with empty ones.
    """
    length = max(map(len, (*some, *others)))

    def encode(rows: Sequence[tuple[str, ...]], is_plain: bool) -> np.ndarray:
        return np.array([_encode(row, is_plain) + [0] * (length - len(row)) for row in rows])

    moved = (encode(some, False)[:, None] != encode(others, False)[None]).mean(axis=2)
    own, other = encode(some, True), encode(others, True)
    counts = [(rows[:, :, None] == np.unique(own)).sum(axis=1) for rows in (own, other)]
    common = np.minimum(counts[0][:, None], counts[1][None]).sum(axis=2) / length
    return (np.exp(-moved / REACH) + np.exp((common - 1) / REACH)) / 2


@dataclass(frozen=True, slots=True)
class Observation:
    """One training: the losses at the marks that it reached, the traits of what was trained, and the group it belongs
    to, such as a corpus."""

    group: str
    traits: Traits
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated loss and its standard error; 0 where the loss was measured."""

    mean: float
    error: float


@dataclass(frozen=True, slots=True)
class Covariance:
    """The variances of the parts of a stage, in units of that by a linear law."""

    share: float  # by operators
    noise: float

    def between(self, one: "Rows", other: "Rows") -> np.ndarray:
        """Return the covariance of what two sets of architectures gain, (N, M), without noise."""
        found = one.inputs @ other.inputs.T / one.inputs.shape[1] + OWN * (one.groups[:, None] == other.groups[None])
        return found + self.share * similarity(one.operators, other.operators) if self.share else found

    def of(self, inputs: np.ndarray) -> float:
        """Return the variance of what one architecture gains, with noise."""
        return float(inputs @ inputs) / len(inputs) + OWN + self.share + self.noise


@dataclass(frozen=True, eq=False)
class Rows:
    """Standardised inputs (N, F), operators and groups of some trainings."""

    inputs: np.ndarray
    operators: Sequence[tuple[str, ...]]
    groups: np.ndarray


@dataclass(frozen=True, eq=False)
class Stage:
    """The Gaussian process from one mark to the next."""

    center: np.ndarray  # (F,), of the inputs
    scale: np.ndarray  # (F,)
    offset: float
    covariance: Covariance
    amplitude: float  # the variance by a linear law
    rows: Rows
    inverse: np.ndarray  # (N, N), of the covariance with noise
    duals: np.ndarray  # (N,)
    deviation: float  # the standard deviation of what was predicted without each architecture from what it was

    @property
    def weights(self) -> np.ndarray:
        """Return the weight of each standardised input, (F,)."""
        return self.rows.inputs.T @ self.duals / self.rows.inputs.shape[1]

    def predict(self, inputs: np.ndarray, operators: tuple[str, ...], group: str) -> Estimate:
        """Return the gain of an architecture with inputs (F,), and its standard error. For a group without any training
        the error leaves out that of the group's intercept, which all its architectures share.
        """
        one = Rows((inputs[None] - self.center) / self.scale, [operators], np.array([group]))
        shared = self.covariance.between(one, self.rows)[0]
        own = self.covariance.of(one.inputs[0]) - (0.0 if group in self.rows.groups else OWN)
        variance = self.amplitude * (own - shared @ self.inverse @ shared)
        return Estimate(float(self.offset + shared @ self.duals), float(np.sqrt(max(0.0, variance))))


def fit_stage(
    inputs: np.ndarray, operators: Sequence[tuple[str, ...]], groups: Sequence[str], gains: np.ndarray
) -> Stage:
    """Fit `gains` (N,) to `inputs` (N, F), operators and groups. The variances are those with the smallest error of
    predictions without each architecture, in all groups at once; the amplitude is the one that these errors have.
    """
    center, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    rows = Rows((inputs - center) / scale, operators, np.array(groups))
    offset, blocks = float(gains.mean()), find_blocks(operators)
    linear = Covariance(0.0, 0.0).between(rows, rows)
    by_operators = similarity(operators, operators)
    fits = []
    for share in SHARES:
        for noise in NOISES:
            inverse = np.linalg.inv(linear + share * by_operators + noise * np.eye(len(gains)))
            duals = inverse @ (gains - offset)
            errors, scaled = leave_out(inverse, duals, blocks)
            fits.append((errors, Covariance(share, float(noise)), inverse, duals, scaled))
    errors, covariance, inverse, duals, scaled = min(fits, key=lambda fit: fit[0])
    return Stage(
        center=center,
        scale=scale,
        offset=offset,
        covariance=covariance,
        amplitude=scaled,
        rows=rows,
        inverse=inverse,
        duals=duals,
        deviation=errors**0.5,
    )


def find_blocks(operators: Sequence[tuple[str, ...]]) -> list[np.ndarray]:
    """Return the places of the trainings of each architecture, (blocks, rows of each), in an array for each number."""
    places: dict[tuple[str, ...], list[int]] = {}
    for place, one in enumerate(operators):
        places.setdefault(one, []).append(place)
    sizes = sorted({len(block) for block in places.values()})
    return [np.array([block for block in places.values() if len(block) == size]) for size in sizes]


def leave_out(inverse: np.ndarray, duals: np.ndarray, blocks: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the mean square of r, what is predicted without the block of a row, less what it is, and the mean of r^2
    in units of the variance of each. With the inverse K of a covariance and the duals K y the errors of a block are
    r = K_bb^-1 (K y)_b, of covariance K_bb^-1 (Rasmussen and Williams 2006, equation 5.12, for blocks).
    """
    squares = scaled = 0.0
    for block in blocks:
        parts, own = inverse[block[:, :, None], block[:, None, :]], duals[block]
        covariance = np.linalg.inv(parts)
        errors = (covariance @ own[:, :, None])[:, :, 0]
        squares += float((errors**2).sum())
        scaled += float((errors**2 / np.diagonal(covariance, axis1=1, axis2=2)).sum())
    return squares / len(duals), scaled / len(duals)


class Estimator:
    """Estimates the loss at the last mark that could be fitted, from the losses at the marks before it.

    Args:
        observations: trainings of the run and of the prior, of architectures with equally many slots.
        num_marks: marks there are.
    """

    def __init__(self, observations: Sequence[Observation], num_marks: int) -> None:
        begun = [one for one in observations if one.losses]
        self.first: Stage | None = None
        if len(begun) >= LEAST:
            losses = np.array([one.losses[0] for one in begun])
            self.first = _fit(begun, [one.traits.values for one in begun], losses)
        self.stages: list[Stage] = []
        for mark in range(num_marks - 1):
            passed = [one for one in observations if len(one.losses) > mark + 1]
            if len(passed) < LEAST:
                break
            gains = np.array([one.losses[mark + 1] - one.losses[mark] for one in passed])
            inputs = [_inputs(one.losses[: mark + 1], one.traits) for one in passed]
            self.stages.append(_fit(passed, inputs, gains))

    @property
    def target(self) -> int:
        """Return the mark whose loss is estimated."""
        return len(self.stages)

    def describe(self) -> tuple[dict[str, float], ...]:
        """Return of each stage the number of trainings, the standard deviation of leave-one-out predictions, the
        variances of its parts, and the weight of each standardised input, by name."""
        return tuple(
            {"trainings": len(stage.duals), "deviation": stage.deviation}
            | {"operators": stage.covariance.share, "noise": stage.covariance.noise}
            | dict(zip(INPUTS, stage.weights.tolist(), strict=True))
            for stage in self.stages
        )

    def estimate(self, one: Observation) -> Estimate:
        """Return the estimated loss at the target, or the measured one if the training reached it."""
        if len(one.losses) > self.target:
            return Estimate(one.losses[self.target], 0.0)
        losses, traits = list(one.losses), one.traits
        variance = np.zeros((len(losses), len(losses)))  # of the losses, with each other
        if not losses:
            assert self.first, "there are trainings"
            begun = self.first.predict(np.array(traits.values), traits.operators, one.group)
            losses.append(begun.mean)
            variance = np.array([[begun.error**2]])
        for mark in range(len(losses) - 1, self.target):
            stage = self.stages[mark]
            slopes = np.zeros(len(losses))  # of the next loss with regard to each of these
            own = stage.weights[:2] / stage.scale[:2]
            slopes[-1] += 1 + own[0]
            if len(losses) > 1:
                slopes[-1] += own[1]
                slopes[-2] -= own[1]
            gain = stage.predict(np.array(_inputs(losses, traits)), traits.operators, one.group)
            losses.append(losses[-1] + gain.mean)
            shared = variance @ slopes
            spread = slopes @ shared + gain.error**2
            variance = np.block([[variance, shared[:, None]], [shared[None, :], spread]])
        return Estimate(losses[-1], float(np.sqrt(variance[-1, -1])))


def _fit(rows: Sequence[Observation], inputs: Sequence[Sequence[float]], gains: np.ndarray) -> Stage:
    operators, groups = [one.traits.operators for one in rows], [one.group for one in rows]
    return fit_stage(np.array(inputs), operators, groups, gains)


def _inputs(losses: Sequence[float], traits: Traits) -> list[float]:
    slope = losses[-1] - losses[-2] if len(losses) > 1 else 0.0
    return [losses[-1], slope, *traits.values]
