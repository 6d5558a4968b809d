"""The plan of one training: its settings resolved once."""

import math
from dataclasses import dataclass, replace

from star.architecture.catalogue import read_scale, scale_text
from star.architecture.genome import parse
from star.architecture.scales import SCALES, Recipe, nearest_recipe
from star.architecture.spec import Dimensions
from star.errors import SettingError
from star.records import Genome
from star.trainer.settings import CONSTANT, TrainSettings

WARMUP, LONGEST_WARMUP = 0.1, 100_000_000  # share of the tokens, and tokens, in which the rate rises by default
CHECKPOINTS = 32  # by default


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """A training with nothing left open, but for the vocabulary, which is that of the tokenizer.

    Attributes:
        settings: complete; train.toml holds them.
        genome, dims, recipe: what is trained, and how.
        every: steps between checkpoints.
    """

    settings: TrainSettings
    genome: Genome
    dims: Dimensions
    recipe: Recipe
    every: int

    @property
    def step_tokens(self) -> int:
        """The tokens of one step."""
        return self.recipe.batch_size * self.recipe.seq_len

    @property
    def decay_start(self) -> int:
        """The step at which a constant rate begins to decay, from which a longer training goes on; 0 for a cosine."""
        return self.recipe.steps - round(self.recipe.decay * self.recipe.steps) if self.recipe.hold == 1.0 else 0

    def next_stop(self, step: int) -> int:
        """Return the step at which the training pauses next to write a checkpoint."""
        stop = min((step // self.every + 1) * self.every, self.recipe.steps)
        return self.decay_start if step < self.decay_start < stop else stop


def plan_training(settings: TrainSettings, device: str = "cpu") -> TrainPlan:
    """Resolve the settings of a training: whatever is left open follows from the scale, and the number format from the
    device too.

    Raises:
        UserError: an unknown scale, settings that exclude each other, or fewer tokens than one step.
    """
    scale_toml = settings.scale_toml or ("" if settings.scale in SCALES else scale_text(settings.scale))
    scale = read_scale(scale_toml, settings.scale) if scale_toml else SCALES[settings.scale]
    if scale.recipe is None and settings.tokens is None:
        raise SettingError("tokens", f"must be given: scale {scale.name} has no recipe")
    recipe = nearest_recipe(scale).on(device)
    own = ("batch_size", "seq_len", "optimizer", "learning_rate", "matrix_learning_rate", "weight_decay", "dtype")
    given = {name: value for name in own if (value := getattr(settings, name)) is not None}
    recipe = replace(recipe, **given, tokens=int(settings.tokens or recipe.tokens), balance=settings.balance)
    if recipe.optimizer == "muon" and not recipe.matrix_learning_rate:
        raise SettingError("matrix_learning_rate", f"must be given: scale {scale.name} has none for Muon")
    if scale.dims.style.positions == "learned" and recipe.seq_len > scale.dims.seq_len:
        most = f"{scale.dims.seq_len}, the learned positions of scale {scale.name}"
        raise SettingError("seq_len", f"must be at most {most}, not {recipe.seq_len}")
    step = recipe.batch_size * recipe.seq_len
    if recipe.tokens < step:
        raise SettingError("tokens", f"{recipe.tokens:,} is less than one training step of {step:,} tokens")
    if settings.micro_batch > recipe.batch_size:
        most = f"the batch of {recipe.batch_size} sequences"
        raise SettingError("micro_batch", f"must be at most {most}, not {settings.micro_batch}")
    steps = recipe.steps
    warmup = min(WARMUP * recipe.tokens, LONGEST_WARMUP) if settings.warmup_tokens is None else settings.warmup_tokens
    recipe = replace(recipe, warmup=min(1.0, round(warmup / step) / steps), average=0.0)
    if settings.schedule == CONSTANT:
        recipe = replace(recipe, schedule="inverse_sqrt", hold=1.0, decay=settings.decay, final_rate=0.0)
    else:
        recipe = replace(recipe, schedule="cosine", hold=0.0, decay=0.0)
    every = max(1, math.ceil((settings.checkpoint_tokens or recipe.tokens / CHECKPOINTS) / step))
    settings = replace(
        settings,
        **{name: getattr(recipe, name) for name in own},
        scale_toml=scale_toml,
        tokens=float(recipe.tokens),
        warmup_tokens=float(warmup),
        checkpoint_tokens=float(every * step),
    )
    dims = replace(scale.dims, window=settings.window or scale.dims.window)
    return TrainPlan(settings=settings, genome=parse(settings.genome), dims=dims, recipe=recipe, every=every)
