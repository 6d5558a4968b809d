"""When the learning rate has which value, and when a loss curve has which points."""

import math

from star.architecture.scales import Recipe

CURVE_POINTS = 32


def curve_mark(stretch: int, steps: int) -> int:
    """Return the step after which a stretch of a loss curve ends, counted from 0: `steps` of a recipe have 32, or as
    many as there are steps. A training that goes on has more.
    """
    return steps * (stretch + 1) // min(CURVE_POINTS, steps)


def curve_marks(steps: int) -> list[int]:
    """Return the steps after which the stretches of the loss curve of a whole recipe end."""
    return [curve_mark(stretch, steps) for stretch in range(min(CURVE_POINTS, steps))]


def schedule(step: int, recipe: Recipe) -> float:
    """Return the learning rate of step 0, 1, ... as a share of its peak: linear warm-up, then as the recipe says.

    The last step of the warm-up is at 1. A cosine ends at `recipe.final_rate`. "inverse_sqrt" stays at 1 until h steps
    are done, `recipe.hold` of all, and is sqrt(h / t) at step t from there on, beyond the last step too; with a `decay`
    it falls in the last steps, linearly to `final_rate` of that.
    """
    warm = round(recipe.warmup * recipe.steps)
    if step < warm:
        return (step + 1) / warm
    if recipe.schedule == "cosine":
        progress = (step + 1 - warm) / (recipe.steps - warm)
        return recipe.final_rate + (1 - recipe.final_rate) * (1 + math.cos(math.pi * progress)) / 2
    held, decaying = max(1, round(recipe.hold * recipe.steps)), round(recipe.decay * recipe.steps)
    progress = max(0, step + 1 - recipe.steps + decaying) / decaying if decaying else 0
    return min(1.0, math.sqrt(held / (step + 1))) * (1 - (1 - recipe.final_rate) * progress)
