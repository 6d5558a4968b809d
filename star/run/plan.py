"""The plan of a run: its settings resolved once, in parts that each go to one package."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from star.architecture.catalogue import find_scale, read_scale, scale_text
from star.architecture.genome import Rates, Space, canonical, genome_hash
from star.architecture.scales import SCALES, Recipe, Scale
from star.architecture.toml_table import parse_table
from star.cost.cost import DTYPE_BYTES
from star.cost.latency import LatencyTable
from star.cost.limits import LIMITS
from star.cost.target import Screen, Target, check_limits
from star.errors import SettingError, UserError
from star.evaluation.objectives import Objective, find_objectives
from star.families.membership import Membership
from star.records import Genome, Measured, Task, derive_seed
from star.run.made_with import fixed_settings, refuse_changed
from star.run.ranking import LONGER, check_ranking, default_early_loss, default_ranking, marks, rung_steps, why_no_prior
from star.run.settings import ESTIMATE, Settings, from_toml
from star.run.vocabulary import resolve_vocabulary, with_vocabulary
from star.search.plan import Plan as SearchPlan
from star.storage.places import CONFIG
from star.workers.placement import Placement

if TYPE_CHECKING:
    from star.storage.run_directory import RunDirectory  # loads pyarrow

SLOWEST = 100  # tokens per second; a proxy that is slower counts as hung
RACED = 100  # training steps; of a shorter proxy the first of three rungs would come after ten steps or fewer
MOST_OFFSPRING = 10**6  # by default
SEEDS = 3  # of the closest calls of a verification, where nothing else tells the noise between seeds
SHARED = "0"  # in place of a hash, in the seed that all genomes of a run share


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Early stopping: the training steps after which proxies are compared, the full training not among them, and the
    ratio of neighbouring ones."""

    steps: tuple[int, ...]
    eta: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimation:
    """The marks of a training, in steps, between which losses are estimated: the rungs or the early loss, the proxy's
    end, the ends of longer trainings, and the end of the trainings of the prior.
    """

    marks: tuple[int, ...]
    proxy: int  # place of the proxy's end among them
    share: float  # of all training tokens that go into longer trainings, at most

    @property
    def longer(self) -> range:
        """Return the places of the ends of longer trainings."""
        return range(self.proxy + 1, self.proxy + 1 + len(LONGER))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A run with nothing left open. `settings` are complete: no value of theirs is None, and run.toml holds them."""

    settings: Settings
    trained: Scale  # what is trained, with the run's slots, window, tokens and balance
    target: Target  # where costs are priced
    target_scale: Scale
    search: SearchPlan  # with the space of genomes and the seed
    objectives: tuple[Objective, ...]
    limits: Mapping[str, float]  # the limits that are set, by key
    race: Race
    estimation: Estimation | None  # None: candidates are ordered by the loss of their proxies
    placement: Placement

    @property
    def columns(self) -> list[str]:
        """The columns of the objectives, in their order."""
        return [one.column for one in self.objectives]

    @property
    def is_priced_elsewhere(self) -> bool:
        """Whether costs are those at another scale than the trained one."""
        return self.settings.target != self.settings.scale

    @property
    def measured_steps(self) -> tuple[int, ...]:
        """The training steps before its end after which a proxy is measured."""
        return self.estimation.marks[: self.estimation.proxy] if self.estimation else self.race.steps

    @property
    def minimises_latency(self) -> bool:
        """Whether latencies have to be measured."""
        return any(one.needs_latency for one in self.objectives)

    @property
    def family(self) -> Membership | None:
        """The family that genomes must lie in, if there is one."""
        name = self.settings.constrain
        return Membership(name, self.trained.dims) if name else None

    def latency_table(self, rows: dict[str, Measured] | None = None) -> LatencyTable:
        """Return the table of latencies at the target, with these that are measured."""
        return LatencyTable(self.target, self.target_scale.num_slots, {} if rows is None else rows)

    def screen(self) -> Screen:
        """Return a new screen, which tells infeasible genomes from others."""
        return Screen(self.trained.dims, self.target, dict(self.limits), self.family)

    @property
    def why_no_prior(self) -> str:
        """Why the estimates of the run, if there are any, begin without a prior; empty if they have one."""
        assert self.estimation, "qualities are estimated"
        return why_no_prior(self.settings)

    @property
    def step_tokens(self) -> int:
        """The tokens of one training step."""
        return self.trained.recipe.batch_size * self.trained.recipe.seq_len

    @property
    def lengths(self) -> tuple[int, ...]:
        """The tokens of a proxy, and those of each longer training from which qualities are estimated, if they are."""
        if not (one := self.estimation):
            return ()
        return tuple(one.marks[place] * self.step_tokens for place in (one.proxy, *one.longer))

    def task(self, genome: Genome, repeat: int = 0) -> Task:
        """Return the training of a genome, the first or a repetition. Where qualities are estimated all genomes have
        the same seed, so that they see the same batches in the same order.
        """
        genome = canonical(genome)
        hash = genome_hash(genome)
        return Task(
            genome=genome,
            hash=hash,
            seed=derive_seed(self.search.seed, SHARED if self.estimation else hash, repeat),
        )

    def verifying(self, tokens: int) -> "RunPlan":
        """Return the plan of the same run whose front is verified by so many tokens."""
        return replace(self, settings=replace(self.settings, verify_tokens=tokens))

    def check(self) -> None:
        """Raise UserError if nothing would be trained, or if no genome can meet the limits."""
        if not any(one.needs_training for one in self.objectives):
            raise UserError(
                "objectives must name quality or a synthetic task: all others are known without any training"
            )
        if family := self.family:
            family.check(self.settings.deck)
        check_limits(self.screen(), self.search.space, self.settings.scale, self.settings.target)


def plan_run(settings: Settings) -> RunPlan:
    """Resolve the settings of a run: whatever is left open follows from the scale and from the other settings.

    Raises:
        UserError: an unknown scale, target or objective, or settings that exclude each other.
    """
    if sum(map(bool, (settings.tokens, settings.budget, settings.proxy_seconds))) > 1:
        raise UserError("tokens, proxy_seconds and budget each say how long a proxy is trained: give one of them")
    for key, name in (("target", settings.target), ("scale", settings.scale)):
        if getattr(settings, f"{key}_toml") and (name is None or name in SCALES):
            raise UserError(f"{key}_toml is the text of a {key}'s file, but {key} is {name or 'not given'}")
    scale_toml = settings.scale_toml or _read_text(settings.scale)
    scale = read_scale_text(settings.scale, scale_toml)
    if scale.recipe is None:
        named = ", ".join(name for name, one in SCALES.items() if one.recipe)
        raise UserError(
            f"scale {settings.scale!r} has no recipe: costs can be counted at it, as the target, but nothing can be "
            f"trained; scales to train at are {named}"
        )
    settings = resolve_vocabulary(settings, scale)
    scale = with_vocabulary(settings, scale)
    recipe = replace(scale.recipe, tokens=settings.tokens or scale.recipe.tokens, balance=settings.balance)
    objectives = find_objectives(settings.objectives)
    settings = replace(settings, ranking=settings.ranking or default_ranking(settings, objectives))
    # With a prior most candidates are judged without training, so that many can be drawn (docs/decisions/0017).
    has_prior = settings.ranking == ESTIMATE and not why_no_prior(settings)
    if settings.ranking == ESTIMATE:
        recipe = recipe.open_ended()
    target_name = settings.target or settings.scale
    target_toml = settings.target_toml or ("" if target_name == settings.scale else _read_text(target_name))
    target = scale if target_name == settings.scale else read_scale_text(target_name, target_toml)
    settings = replace(
        settings,
        offspring=settings.offspring
        or (min(MOST_OFFSPRING, 4 * settings.population) if has_prior else max(1, settings.population // 2)),
        screening=settings.screening or (64 if has_prior else 8),
        slots=settings.slots or scale.num_slots,
        scale_toml=scale_toml,
        target=target_name,
        target_toml=target_toml,
        context=settings.context or target.dims.seq_len,
        tokens=recipe.tokens,
        verify_tokens=_default_verification(settings, recipe)
        if settings.verify_tokens is None
        else settings.verify_tokens,
        verify_seeds=settings.verify_seeds or (1 if has_prior else SEEDS),
        rungs=settings.rungs or _default_rungs(settings, scale, objectives, recipe),
        timeout=_default_timeout(recipe) if settings.timeout is None else settings.timeout,
    )
    if settings.early_loss is None:
        settings = replace(settings, early_loss=default_early_loss(settings, recipe.steps))
    _check_sizes(settings, scale, target)
    _check_device(settings, objectives)
    _check_race(settings, objectives, recipe)
    check_ranking(settings, objectives, recipe.steps)
    _check_verification(settings, objectives)
    return _assemble(settings, replace(scale, recipe=recipe), target, objectives)


def read_plan(run: "RunDirectory") -> RunPlan:
    """Return the plan of a recorded run.

    Raises:
        UserError: its run.toml cannot be used, or has other settings than the run was made with.
    """
    text = run.config_toml
    try:
        plan = plan_run(from_toml(text))
    except UserError:
        refuse_changed(run, parse_table(text, CONFIG))  # that a setting was changed says more than that it is wrong now
        raise
    refuse_changed(run, fixed_settings(plan.settings))
    return plan


def _assemble(settings: Settings, scale: Scale, target: Scale, objectives: tuple[Objective, ...]) -> RunPlan:
    def fit(one: Scale, num_slots: int) -> Scale:
        return replace(one, num_slots=num_slots, dims=replace(one.dims, window=settings.window or one.dims.window))

    is_elsewhere = settings.target != settings.scale
    target = fit(target, target.num_slots if is_elsewhere else settings.slots)
    rates = Rates(**{field.name: getattr(settings, field.name) for field in fields(Rates)})
    steps = scale.recipe.steps
    ends = marks(settings, steps)
    return RunPlan(
        settings=settings,
        trained=fit(scale, settings.slots),
        target=Target(
            dims=target.dims,
            num_slots=target.num_slots if is_elsewhere else 0,
            context=settings.context,
            dtype_bytes=DTYPE_BYTES[settings.dtype],
            batch=settings.batch,
        ),
        target_scale=target,
        search=SearchPlan(
            population=settings.population,
            space=Space(settings.slots, settings.deck, settings.levels, rates),
            num_objectives=len(objectives),
            seed=settings.seed,
            algorithm=settings.algorithm,
            adaptive=settings.adaptive,
        ),
        objectives=objectives,
        limits={name: getattr(settings, name) for name in LIMITS if getattr(settings, name)},
        race=Race(steps=rung_steps(settings, steps), eta=settings.eta),
        estimation=Estimation(marks=ends, proxy=ends.index(steps), share=settings.longer_share)
        if settings.ranking == ESTIMATE
        else None,
        placement=Placement(
            workers=settings.workers,
            address=settings.address,
            timeout=settings.timeout,
            tries=settings.tries,
            worker_memory=settings.worker_memory,
            gpus_per_worker=settings.gpus_per_worker,
        ),
    )


def _read_text(name: str) -> str:
    """Return the text of a scale's file; empty for a named scale."""
    return "" if name in SCALES else scale_text(name)


@lru_cache(maxsize=16)
def read_scale_text(name: str, text: str) -> Scale:
    """Return the scale that a text describes, or the named one if the text is empty."""
    return read_scale(text, name) if text else find_scale(name)


def _default_rungs(settings: Settings, scale: Scale, objectives: tuple[Objective, ...], recipe: Recipe) -> int:
    """Return the number of rungs of a race. An estimate screens candidates better than the loss at an early rung."""
    can_race = any(one.needs_text for one in objectives) and not any(one.tasks for one in objectives)
    return scale.rungs if can_race and recipe.steps >= RACED and settings.ranking != ESTIMATE else 1


def _check_sizes(settings: Settings, scale: Scale, target: Scale) -> None:
    for one in (scale, target):
        if settings.window > one.dims.seq_len:
            longest = f"{one.dims.seq_len}, the length of scale {one.name}"
            raise SettingError("window", f"must be at most {longest}, not {settings.window}")
    if target.dims.style.positions == "learned" and settings.context > target.dims.seq_len:
        raise SettingError(
            "context",
            f"must be at most {target.dims.seq_len}, the learned positions of target {target.name}, not "
            f"{settings.context}",
        )
    step = scale.recipe.batch_size * scale.recipe.seq_len
    if settings.tokens < step:
        raise SettingError(
            "tokens", f"{settings.tokens} is less than one training step of scale {settings.scale}, {step}"
        )


def _check_device(settings: Settings, objectives: tuple[Objective, ...]) -> None:
    if settings.device != "cpu" and not any(one.needs_latency for one in objectives):
        raise SettingError(
            "device",
            f"{settings.device} is where latency and prefill are measured, which are no objectives here; "
            "gpus_per_worker trains on GPUs",
        )


def _default_verification(settings: Settings, recipe: Recipe) -> int:
    step = recipe.batch_size * recipe.seq_len
    return LONGER[0] * recipe.steps * step if settings.ranking == ESTIMATE else 0


def _default_timeout(recipe: Recipe) -> float:
    return max(600.0, recipe.tokens / SLOWEST)


def _check_verification(settings: Settings, objectives: tuple[Objective, ...]) -> None:
    if not settings.verify_tokens:
        return
    if not any(one.needs_text for one in objectives):
        raise SettingError("verify_tokens", "needs quality among the objectives, because that is what is verified")
    if settings.verify_tokens < settings.tokens:
        raise SettingError(
            "verify_tokens",
            f"must be at least the {settings.tokens:,} tokens of a proxy, not {settings.verify_tokens:,}",
        )


def _check_race(settings: Settings, objectives: tuple[Objective, ...], recipe: Recipe) -> None:
    if settings.rungs == 1:
        return
    if not any(one.needs_text for one in objectives):
        raise SettingError("rungs", "needs quality among the objectives, because it decides a race; rungs 1 is no race")
    for one in objectives:
        if one.tasks:
            raise UserError(
                f"objective {one.name} has no rungs: synthetic tasks are trained to the end; rungs 1 is no race"
            )
    needed = settings.eta ** (settings.rungs - 1)
    if recipe.steps < needed:
        raise UserError(
            f"{settings.rungs} rungs of ratio {settings.eta} need {needed} training steps; a proxy has {recipe.steps}"
        )
