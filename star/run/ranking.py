"""The default ranking of a run, by loss or by estimate, and the reasons why estimates or their prior do not fit it."""

from star.architecture.scales import SCALES
from star.data.vocabulary import BYTES
from star.errors import SettingError
from star.evaluation.objectives import Objective
from star.evaluation.prior import read_prior
from star.run.settings import ESTIMATE, LOSS, STEADY, Settings

EARLY = 3  # the early loss is measured after a proxy's steps divided by this
LONGER = (4, 16)  # times the tokens of a proxy, in the longer trainings from which qualities are estimated
LONGEST = 30  # times the tokens of a proxy, after which the prior of the estimate ends


def default_ranking(settings: Settings, objectives: tuple[Objective, ...]) -> str:
    """Return "estimate" where a prior fits the run and all objectives but the quality are known without training, else
    "loss"."""
    is_known = not any(one.tasks for one in objectives)
    return ESTIMATE if is_known and not (why_not_estimated(settings, objectives) or why_no_prior(settings)) else LOSS


def why_not_estimated(settings: Settings, objectives: tuple[Objective, ...]) -> str:
    """Return why no quality can be estimated; empty if it can."""
    if not any(one.needs_text for one in objectives):
        return "without quality among the objectives there is nothing to estimate"
    if settings.mode == STEADY:
        return f"mode {STEADY} has no generations at which the estimate could be renewed"
    if settings.warm_weights:
        return "children that begin with weights of their parents learn along other curves"
    return ""


def why_no_prior(settings: Settings) -> str:
    """Return why there is no prior that fits a run; empty if there is one."""
    name = settings.scale
    if settings.scale_toml or not (prior := read_prior(name)):
        return f"no prior of scale {name} is shipped"
    scale = SCALES[name]
    if settings.tokenizer not in (None, BYTES):
        return f"the prior of {name} has bytes as tokens, the run tokenizer {settings.tokenizer}"
    if settings.slots not in (None, scale.num_slots):
        return f"the prior of {name} has {scale.num_slots} slots, the run {settings.slots}"
    if settings.budget or settings.proxy_seconds:
        return (
            f"the prior of {name} has proxies of {scale.recipe.tokens:,} tokens, the run of as many as it has time for"
        )
    if settings.tokens not in (None, scale.recipe.tokens):
        return f"the prior of {name} has proxies of {scale.recipe.tokens:,} tokens, the run of {settings.tokens:,}"
    if not prior[0].losses.keys() >= set(marks(settings, scale.recipe.steps)):
        return f"the prior of {name} has no losses at the rungs of the run"
    return ""


def default_early_loss(settings: Settings, steps: int) -> bool:
    """Return whether a proxy of so many steps has an early loss; ranking and rungs are settled."""
    return settings.ranking == ESTIMATE and settings.rungs == 1 and steps >= EARLY


def check_ranking(settings: Settings, objectives: tuple[Objective, ...], steps: int) -> None:
    """Raise SettingError unless the settings of the ranking fit each other and a proxy of so many steps."""
    if settings.early_loss:
        if settings.ranking != ESTIMATE:
            raise SettingError("early_loss", f"is an input of the estimate, and ranking is {settings.ranking}")
        if settings.rungs != 1:
            raise SettingError("early_loss", "takes the place of rungs, at which proxies are measured anyway")
        if steps < EARLY:
            raise SettingError("early_loss", f"needs {EARLY} training steps; a proxy has {steps}")
    if settings.ranking == ESTIMATE and (reason := why_not_estimated(settings, objectives)):
        raise SettingError("ranking", f"must be {LOSS}: {reason}")


def rung_steps(settings: Settings, steps: int) -> tuple[int, ...]:
    """Return the training steps at which a proxy of so many steps is judged before its end."""
    return tuple(steps // settings.eta**left for left in range((settings.rungs or 1) - 1, 0, -1))


def marks(settings: Settings, steps: int) -> tuple[int, ...]:
    """Return the training steps between which losses are estimated."""
    early = (steps // EARLY,) if settings.early_loss else rung_steps(settings, steps)
    return (*early, *(steps * times for times in (1, *LONGER, LONGEST)))
