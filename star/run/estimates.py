"""The estimated quality of the candidates of a run after long training, and which of them are trained longer for it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from star.architecture.codes import TokenMixing
from star.architecture.genome import decode
from star.evaluation.estimate import LEAST, Estimate, Estimator, Features, Observation
from star.evaluation.objectives import QUALITY
from star.evaluation.prior import SeedNoise, prior_noise, read_prior
from star.records import Evaluation, Genome, Recorded, Status, Task
from star.run.plan import Estimation, RunPlan

if TYPE_CHECKING:
    from star.storage.run_directory import RunDirectory  # loads pyarrow

Longer = Mapping[tuple[str, int], Recorded]  # longer trainings, by hash and tokens
OWN = "run"  # the group of the trainings of the run, unless the prior has its text
DIGITS = 6  # of an estimate: the last bits of a fit differ between machines


class Candidate(NamedTuple):
    """A proxy that was trained to the end, and may be trained longer."""

    task: Task
    values: list[float]  # of the objectives
    error: float  # of its estimate


class Estimates:
    """Estimates for a run: from the losses that its trainings have at each mark, and from the prior of its scale.

    Args:
        plan: of a run that estimates qualities.
    """

    def __init__(self, plan: RunPlan) -> None:
        assert plan.estimation, "a plan that estimates"
        self._estimation: Estimation = plan.estimation
        self._tokens = plan.lengths[1:]
        self._features = Features(plan.trained.dims)
        self._why_no_prior = plan.why_no_prior
        self._step_tokens = plan.step_tokens
        self._prior = [] if self._why_no_prior else list(self._read_prior(plan.settings.scale))
        self._corpora = {one.group for one in self._prior}
        corpus, *others = plan.settings.corpus
        self._group = corpus if corpus in self._corpora and not others else OWN
        self._estimator: Estimator | None = None

    @property
    def target(self) -> int:
        """Return the steps of the training whose quality is estimated; 0 where that is the proxy's."""
        return self._estimation.marks[self._estimator.target] if self._estimator else 0

    @property
    def fit(self) -> tuple[dict[str, float], ...]:
        """Return the numbers of each stage of the fit."""
        return self._estimator.describe() if self._estimator else ()

    def sentence(self) -> str:
        """Return in a sentence from what qualities are estimated now."""
        origin = self._why_no_prior or f"a prior of long trainings on {' and '.join(sorted(self._corpora))} is used"
        if not self._why_no_prior and self._group == OWN:
            origin += ", none of which is the text of this run"
        if self._estimator is None:
            return f"{origin}: the loss of proxies orders until {LEAST} of them have been trained longer"
        return f"quality is estimated for {self.target * self._step_tokens:,} training tokens; {origin}"

    def renew(self, rows: Sequence[Recorded], longer: Longer) -> None:
        """Fit anew to these trainings. Where they are too few, the loss of a proxy stands for its quality."""
        # In an order of its own: the last bits of sums would depend on that of the rows.
        observed = [self._observe(row, longer) for row in sorted(rows, key=lambda row: row.task.hash)]
        estimator = Estimator([*self._prior, *observed], len(self._estimation.marks))
        self._estimator = estimator if estimator.target > self._estimation.proxy else None

    def estimate(self, row: Recorded, longer: Longer, rung: int | None = None) -> Estimate:
        """Return the quality of a training, or what could be said of it at a rung."""
        losses = self._losses(row.evaluation, longer) if rung is None else row.evaluation.rungs[: rung + 1]
        if self._estimator is None:
            proxy = losses[: self._estimation.proxy + 1]
            return Estimate(proxy[-1], 0.0)
        return self._rounded(self._estimator.estimate(self._observation(row.task.genome, losses)))

    def guess(self, genome: Genome) -> Estimate:
        """Return what is estimated of an architecture without any training of it."""
        assert self._estimator, "there is a fit"
        return self._rounded(self._estimator.estimate(self._observation(genome, ())))

    def _rounded(self, found: Estimate) -> Estimate:
        return Estimate(round(found.mean, DIGITS), round(found.error, DIGITS))

    def _observe(self, row: Recorded, longer: Longer) -> Observation:
        return self._observation(row.task.genome, self._losses(row.evaluation, longer))

    def _observation(self, genome: Genome, losses: tuple[float, ...]) -> Observation:
        return Observation(self._group, self._features(genome), losses)

    def _losses(self, evaluation: Evaluation, longer: Longer) -> tuple[float, ...]:
        """Return the losses of a training at the marks that it reached."""
        losses = list(evaluation.rungs)
        if evaluation.status is Status.OK:
            losses.append(evaluation.objectives[QUALITY])
            for tokens in self._tokens:
                row = longer.get((evaluation.hash, tokens))
                if row is None or row.evaluation.status is not Status.OK:
                    break
                losses.append(row.evaluation.objectives[QUALITY])
        return tuple(losses)

    def _read_prior(self, scale: str) -> Iterator[Observation]:
        for one in read_prior(scale):
            if one.seed:  # one training counts for an architecture
                continue
            losses = tuple(one.losses[mark] for mark in self._estimation.marks)
            yield Observation(one.corpus, self._features(one.genome), losses)


def noise_between_seeds(plan: RunPlan, tokens: int) -> SeedNoise:
    """Return what the prior of a run tells of the noise between seeds after so many tokens; nothing without a prior."""
    if not plan.estimation or plan.why_no_prior:
        return SeedNoise()
    return prior_noise(read_prior(plan.settings.scale), tokens // plan.step_tokens)


def choose_longer(
    candidates: Sequence[Candidate], front: Sequence[bool], longer: Longer, plan: RunPlan, tokens: int
) -> list[tuple[Task, int]]:
    """Return which candidates are trained longer, and on how many tokens: as many as the share of all tokens allows,
    those on the front first, and of these one of the family that has fewest, whose estimate is least certain.

    The first trainings go to the lowest mark until the stage to it can be fitted, later ones as far as they come.

    Args:
        candidates: what was trained to the end.
        front: which of them no other dominates.
        longer: the longer trainings so far.
        plan: of the run.
        tokens: of all trainings so far, the longer ones included.
    """
    estimation = plan.estimation
    assert estimation
    lengths = plan.lengths
    shorter = dict(zip(lengths[1:], lengths, strict=False))
    spent = sum(tokens_of(longer, plan).values())
    families = Counter((family_of(row.task.genome), length) for (_, length), row in longer.items())
    known = {(hash, length) for hash, length in longer}
    trained = Counter(length for _, length in longer)
    chosen: list[tuple[Task, int]] = []
    while True:
        options = [
            (trained[length] >= LEAST, length, not best, families[family_of(one.task.genome), length], -one.error, one)
            for one, best in zip(candidates, front, strict=True)
            for length in lengths[1:]
            if (one.task.hash, length) not in known
            and (length == lengths[1] or (one.task.hash, shorter[length]) in longer)
            and spent + length - shorter[length] <= estimation.share * (tokens + length - shorter[length])
        ]
        if not options:
            return chosen
        _, length, _, _, _, one = min(options, key=lambda option: (*option[:-1], option[-1].task.hash))
        chosen.append((one.task, length))
        known.add((one.task.hash, length))
        trained[length] += 1
        families[family_of(one.task.genome), length] += 1
        spent += length - shorter[length]
        tokens += length - shorter[length]


def tokens_of(longer: Longer, plan: RunPlan) -> dict[tuple[str, int], int]:
    """Return the tokens of each longer training beyond those of the one that it went on from."""
    lengths = plan.lengths
    return {
        (hash, length): length
        - max(one for one in lengths if one < length and (one == lengths[0] or (hash, one) in longer))
        for hash, length in longer
    }


def read_longer(plan: RunPlan, run: "RunDirectory") -> dict[tuple[str, int], Recorded]:
    """Return the longer trainings of a run from which qualities are estimated, by hash and tokens."""
    return {
        (hash, length): row
        for length in plan.lengths[1:]
        for (hash, _), row in run.longer(length).items()
        if row.task == plan.task(row.task.genome)
    }


def family_of(genome: Genome) -> TokenMixing:
    """Return the token mixing that most slots have, those without any apart."""
    counts = Counter(slot.liv.token_mixing for slot in decode(genome))
    mixing = {one: count for one, count in counts.items() if one is not TokenMixing.DIAGONAL} or counts
    return max(mixing, key=lambda one: (mixing[one], -one))
