"""Estimate the quality of a long training from a short one.

The loss m_j at each mark (a number of training steps) is predicted from those before it:

    m_(j+1) = m_j + w_j . [m_j, m_j - m_(j-1), features] + b_j,group + e_j,   e_j ~ N(0, s_j^2)

Each stage j is a ridge regression over all trainings that passed both marks: those of a run, and a prior of long
trainings that ships with the program. The features are what is known without training. Beyond the last mark that a
training has reached, the predicted loss takes the place of the measured one, and its variance is carried along.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from star.architecture.genome import decode
from star.architecture.spec import Dimensions
from star.architecture.structures import FAMILIES
from star.cost.target import Target
from star.records import Genome

LEAST = 8  # trainings of which a stage is fitted at least
PENALTIES = np.logspace(-1, 3, 13)  # of the squared weights; leave-one-out decides
OWN = 10.0  # a group's intercept is penalised so many times less than a weight


# Inputs of a stage: the loss so far, the gain of the stage before, and the features of an architecture.
INPUTS = ("loss", "slope", "log_params", "log_flops", *(f"share_of_{one.name.lower()}" for one in FAMILIES))


class Features:
    """Computes what is known of a genome without training: the logarithms of its parameters and FLOPs per token, and
    the share of its slots that each token mixing has.

    Args:
        dims: of the models that are trained.
    """

    def __init__(self, dims: Dimensions) -> None:
        self._target = Target(dims=dims, context=dims.seq_len, dtype_bytes=2)
        self._known: dict[Genome, tuple[float, ...]] = {}

    def __call__(self, genome: Genome) -> tuple[float, ...]:
        """Return the features of a genome."""
        if genome not in self._known:
            cost, slots = self._target.count(genome), decode(genome)
            counts = Counter(slot.liv.token_mixing for slot in slots)
            shares = (counts[one] / max(1, len(slots)) for one in FAMILIES)
            self._known[genome] = (float(np.log(cost.params)), float(np.log(max(1, cost.flops_per_token))), *shares)
        return self._known[genome]


@dataclass(frozen=True, slots=True)
class Observation:
    """One training: the losses at the marks that it reached, its features, and the group it belongs to, such as a
    corpus."""

    group: str
    features: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated loss and its standard error; 0 where the loss was measured."""

    mean: float
    error: float


@dataclass(frozen=True, eq=False)
class Stage:
    """The regression from one mark to the next."""

    center: np.ndarray  # (F,), of the inputs
    scale: np.ndarray  # (F,)
    weights: np.ndarray  # (F + groups,)
    offset: float
    groups: tuple[str, ...]
    variance: float  # of the rest
    trainings: int
    precision: np.ndarray  # (F + groups, F + groups): inverse of the penalised Gram matrix

    def standardise(self, inputs: np.ndarray, groups: Sequence[str]) -> np.ndarray:
        """Return inputs (N, F) as the regression takes them, with a column for each group: (N, F + groups)."""
        return _design((inputs - self.center) / self.scale, groups, self.groups)


def fit_stage(inputs: np.ndarray, gains: np.ndarray, groups: Sequence[str]) -> Stage:
    """Fit `gains` (N,) to `inputs` (N, F). The penalty is the one whose leave-one-out error is smallest."""
    center, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    names = tuple(sorted(set(groups)))
    design, offset = _design((inputs - center) / scale, groups, names), float(gains.mean())
    left, values, right = np.linalg.svd(design, full_matrices=False)
    rotated = left.T @ (gains - offset)

    def residuals(penalty: float) -> np.ndarray:
        shrink = values**2 / (values**2 + penalty)
        leverage = (left**2 * shrink).sum(axis=1) + 1 / len(gains)
        return (gains - offset - left @ (shrink * rotated)) / np.maximum(1 - leverage, 0.05)

    penalty = min(PENALTIES, key=lambda one: float((residuals(one) ** 2).mean()))
    return Stage(
        center=center,
        scale=scale,
        weights=right.T @ (values / (values**2 + penalty) * rotated),
        offset=offset,
        groups=names,
        variance=float((residuals(penalty) ** 2).mean()),
        trainings=len(gains),
        precision=np.linalg.inv(design.T @ design + penalty * np.eye(design.shape[1])),
    )


class Estimator:
    """Estimates the loss at the last mark that could be fitted, from the losses at the marks before it.

    Args:
        observations: trainings of the run and of the prior, with features of one length.
        num_marks: marks there are.
    """

    def __init__(self, observations: Sequence[Observation], num_marks: int) -> None:
        begun = [one for one in observations if one.losses]
        self.first: Stage | None = None
        if len(begun) >= LEAST:
            inputs = np.array([one.features for one in begun])
            losses = np.array([one.losses[0] for one in begun])
            self.first = fit_stage(inputs, losses, [one.group for one in begun])
        self.stages: list[Stage] = []
        for mark in range(num_marks - 1):
            passed = [one for one in observations if len(one.losses) > mark + 1]
            if len(passed) < LEAST:
                break
            gains = np.array([one.losses[mark + 1] - one.losses[mark] for one in passed])
            inputs = np.array([_inputs(one.losses[: mark + 1], one.features) for one in passed])
            self.stages.append(fit_stage(inputs, gains, [one.group for one in passed]))

    @property
    def target(self) -> int:
        """Return the mark whose loss is estimated."""
        return len(self.stages)

    def describe(self) -> tuple[dict[str, float], ...]:
        """Return of each stage the number of trainings, the standard deviation of the rest, and the weight of each
        standardised input, by name."""
        return tuple(
            {"trainings": stage.trainings, "deviation": stage.variance**0.5}
            | dict(zip((*INPUTS, *stage.groups), stage.weights.tolist(), strict=True))
            for stage in self.stages
        )

    def estimate(self, one: Observation) -> Estimate:
        """Return the estimated loss at the target, or the measured one if the training reached it."""
        if len(one.losses) > self.target:
            return Estimate(one.losses[self.target], 0.0)
        losses = list(one.losses)
        variance = np.zeros((len(losses), len(losses)))  # of the losses, with each other
        if not losses:
            assert self.first, "there are trainings"
            design = self.first.standardise(np.array([one.features]), [one.group])[0]
            losses.append(float(self.first.offset + design @ self.first.weights))
            variance = np.array([[self.first.variance * (1 + design @ self.first.precision @ design)]])
        for mark in range(len(losses) - 1, self.target):
            stage = self.stages[mark]
            design = stage.standardise(np.array([_inputs(losses, one.features)]), [one.group])[0]
            slopes = np.zeros(len(losses))  # of the next loss with regard to each of these
            own = stage.weights[:2] / stage.scale[:2]
            slopes[-1] += 1 + own[0]
            if len(losses) > 1:
                slopes[-1] += own[1]
                slopes[-2] -= own[1]
            losses.append(float(losses[-1] + stage.offset + design @ stage.weights))
            spread = stage.variance * (1 + design @ stage.precision @ design)
            shared = variance @ slopes
            variance = np.block([[variance, shared[:, None]], [shared[None, :], slopes @ shared + spread]])
        return Estimate(losses[-1], float(np.sqrt(variance[-1, -1])))


def _inputs(losses: Sequence[float], features: Sequence[float]) -> list[float]:
    slope = losses[-1] - losses[-2] if len(losses) > 1 else 0.0
    return [losses[-1], slope, *features]


def _design(inputs: np.ndarray, groups: Sequence[str], known: Sequence[str]) -> np.ndarray:
    own = np.array([[OWN**0.5 * (group == name) for name in known] for group in groups]).reshape(len(groups), -1)
    return np.hstack([inputs, own])
