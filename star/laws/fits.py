"""The laws that can be fitted, and how each is."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from star.errors import UserError, nearest
from star.laws.chinchilla import Chinchilla
from star.laws.experts import Granular, Joint
from star.laws.general import fit_kaplan, fit_repetition, jacobian
from star.laws.kaplan import Kaplan
from star.laws.lbfgs import fit_lbfgs
from star.laws.limits import check_condition, check_effects, check_floor, check_runs
from star.laws.optimum import Optimum, find_optimum
from star.laws.overtraining import OverTraining
from star.laws.projection import fit_projected, grid_starts, lift, project
from star.laws.repetition import DataConstrained
from star.laws.runs import Runs
from star.laws.sums import Problem, huber, minimise, predict, whiten

ESTIMATORS = ("vp", "lbfgs")
OBJECTIVES = ("huber", "squared")
EXPONENTS = (0.1, 0.25, 0.5)  # at which searches begin beside the best projection
GENERAL_CONDITION = 1e5  # the worst of laws whose coordinates are not whitened


class Family(NamedTuple):
    """A law that can be fitted.

    Attributes:
        kind: the record of its constants.
        formula: the loss, for people.
        needs: columns beside params, tokens and loss.
        convention: the count of N that the law is stated in; any if empty.
        start: from a law of Chinchilla, where the search for the law begins, if it is a sum of power terms.
        floor: which of its terms is constant.
        fit: the whole fit, if it is no such sum.
        fixed: the argument of its loss beside N and D, of which an optimum takes the largest value in the table.
    """

    kind: Any
    formula: str
    needs: tuple[str, ...] = ()
    convention: str = ""
    start: Callable[[Chinchilla], Any] | None = None
    floor: int = 0
    fit: Callable[[Runs], Any] | None = None
    fixed: str = ""


LAWS = {
    "chinchilla": Family(Chinchilla, "E + A / N^alpha + B / D^beta", start=lambda law: law, floor=0),
    "over-training": Family(
        OverTraining, "E + (a M^eta + b M^-eta) C^-eta, M = D / N", start=OverTraining.from_chinchilla, floor=0
    ),
    "kaplan": Family(
        Kaplan, "((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D", convention="non-embedding", fit=fit_kaplan
    ),
    "data-constrained": Family(
        DataConstrained,
        "E + A / N'^alpha + B / D'^beta, N' and D' less for repetition",
        needs=("unique_tokens",),
        fit=fit_repetition,
        fixed="unique_tokens",
    ),
    "experts": Family(
        Joint,
        "a F^delta N^(alpha + gamma ln F) + b F^omega D^(beta + zeta ln F) + c, N active, F of experts",
        needs=("active_params", "experts"),
        start=Joint.start,
        floor=2,
        fixed="experts",
    ),
    "granularity": Family(
        Granular,
        "c + (g / G^gamma + a) / N^alpha + b / D^beta",
        needs=("granularity",),
        start=Granular.start,
        floor=3,
        fixed="granularity",
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """A law and how it was found.

    Attributes:
        name: of the law, a key of `LAWS`.
        law: its constants.
        convention: the count of N.
        objective, value: "huber" or "squared", and its sum over runs.
        residuals: log of the measured over the predicted loss of each run.
        fixed: arguments of the loss beside N and D at which optima are looked up.
        active_share: of the N of the law, the parameters that one token uses; C = 6 D times those.
    """

    name: str
    law: Any
    estimator: str
    objective: str
    convention: str
    value: float
    residuals: np.ndarray
    fixed: dict[str, float]
    active_share: float = 1.0

    @property
    def constants(self) -> dict[str, float]:
        """The constants of the law by name."""
        return asdict(self.law)

    def optimum(self, flops: float, law: Any = None) -> Optimum:
        """Return N and D with the lowest loss at C FLOPs, by this law or one of the same kind.

        Raises:
            UserError: the law has no optimum at this budget.
        """
        law = law or self.law
        if hasattr(law, "optimum"):
            return law.optimum(flops)
        share = self.active_share
        found = find_optimum(lambda active, tokens: law.loss(active / share, tokens, **self.fixed), flops)
        return found._replace(params=found.params / share)


def fit(runs: Runs, name: str = "chinchilla", estimator: str = "vp", objective: str = "huber") -> Fit:
    """Fit a law to runs.

    Args:
        name: a key of `LAWS`.
        estimator: "vp", variable projection and a polish of all constants, or "lbfgs", 4,500 starts.
        objective: "huber", the Huber loss of log losses (delta 1e-3), or "squared", squared errors of losses.

    Raises:
        UserError: the runs cannot carry the law, lack a column, or count N otherwise; a choice that does not exist.
    """
    for word, choices in ((name, LAWS), (estimator, ESTIMATORS), (objective, OBJECTIVES)):
        if word not in choices:
            raise UserError(f"there is no {word!r}{nearest(word, choices)}")
    family = LAWS[name]
    if estimator == "lbfgs" and (name != "chinchilla" or objective != "huber"):
        raise UserError("the estimator lbfgs fits chinchilla under the Huber loss; take vp")
    if objective == "squared" and name not in ("chinchilla", "over-training"):
        raise UserError(f"the objective squared fits chinchilla and over-training, not {name}; take huber")
    if family.convention not in ("", runs.convention):
        raise UserError(
            f"the law {name} is stated in {family.convention} parameters, and the table counts {runs.convention} ones"
        )
    for column in family.needs:
        if getattr(runs, column) is None:
            raise UserError(f"the law {name} needs a column {column}")
    if family.kind not in (Joint, Granular) and (runs.used_params < runs.params).any():
        raise UserError(f"the law {name} is one of dense models, and the table has fewer active_params: take experts")
    check_runs(runs, len(family.kind.__dataclass_fields__))
    law = _estimate(runs, family, estimator, objective)
    _check(runs, family, law)
    predicted = law.predict(runs)
    residuals = np.log(runs.loss / predicted)
    value = huber(residuals).sum() if objective == "huber" else ((runs.loss - predicted) ** 2).sum()
    return Fit(
        name=name,
        law=law,
        estimator=estimator,
        objective=objective,
        convention=runs.convention,
        value=float(value),
        residuals=residuals,
        fixed={family.fixed: float(getattr(runs, family.fixed).max())} if family.fixed else {},
        active_share=float(np.median(runs.used_params / runs.params)) if family.kind is Granular else 1.0,
    )


def refit(runs: Runs, made: Fit, counts: np.ndarray) -> list[Any]:
    """Return the law of each weighted sample of runs, by the objective of a fit; None of samples that cannot carry it.

    Args:
        counts: how often each sample holds each run, of shape [samples, runs].
    """
    family = LAWS[made.name]
    if family.start is None or made.objective == "squared":
        samples = (runs.take(np.repeat(np.arange(len(runs)), one.astype(int))) for one in counts)
        return [_attempt(one, family, made.objective) for one in samples]
    dense = _as_dense(runs)
    grid = lift(grid_starts(dense, counts, tied=made.name == "over-training"), dense)
    begun = np.stack([family.start(Chinchilla(*one)).to_vector() for one in grid])
    known = np.repeat(made.law.to_vector()[None, :], len(counts), axis=0)
    return [family.kind.from_vector(x) for x in _best(_problem(runs, family), counts, (begun, known))]


def _attempt(runs: Runs, family: Family, objective: str) -> Any:
    try:
        return _estimate(runs, family, "vp", objective)
    except UserError:
        return None


def _estimate(runs: Runs, family: Family, estimator: str, objective: str) -> Any:
    if family.fit:
        return family.fit(runs)
    assert family.start
    if estimator == "lbfgs":
        return fit_lbfgs(runs)
    tied = family.kind is OverTraining
    dense = _as_dense(runs)
    projected = fit_projected(dense, relative=objective == "huber", tied=tied)
    if objective == "squared":
        return family.start(projected)
    others = [[*project(dense, np.array(one), True)[0], *one] for one in product(EXPONENTS, EXPONENTS)]
    begun = lift(np.array([list(asdict(projected).values()), *others]), dense)
    starts = np.stack([family.start(Chinchilla(*one)).to_vector() for one in begun])
    x, values = minimise(_problem(runs, family), np.ones((len(starts), len(runs))), starts)
    return family.kind.from_vector(x[values.argmin()])


def _best(problem: Problem, counts: np.ndarray, starts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the best x of each sample over several starts."""
    found = [minimise(problem, counts, start) for start in starts]
    values = np.stack([value for _, value in found])
    return np.stack([x for x, _ in found])[values.argmin(axis=0), np.arange(len(counts))]


def _problem(runs: Runs, family: Family) -> Problem:
    return Problem(family.kind.features(runs), np.log(runs.loss))


def _as_dense(runs: Runs) -> Runs:
    return Runs(params=runs.used_params, tokens=runs.tokens, loss=runs.loss)


def _check(runs: Runs, family: Family, law: Any) -> None:
    check_effects(law.predict, runs)
    x = law.to_vector()
    if family.fit:
        derivatives = jacobian(lambda x: family.kind.from_vector(x).predict(runs), x)
        check_condition(derivatives / np.linalg.norm(derivatives, axis=0), GENERAL_CONDITION)
        return
    problem = _problem(runs, family)
    shares = predict(problem, x[None, :])[1][:, 0]
    check_floor(shares[family.floor])
    derivatives = sum(share[:, None] * one for share, one in zip(shares, problem.features, strict=True))
    check_condition(derivatives @ whiten(problem.features))
