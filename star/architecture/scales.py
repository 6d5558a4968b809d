"""Named scales: the dimensions of a model and the recipe that trains its proxy."""

from dataclasses import dataclass, replace

from star.architecture.spec import Dimensions
from star.errors import UserError, nearest

OPTIMIZERS = ("adamw", "muon")
BALANCES = ("bias", "loss")
SCHEDULES = ("cosine", "inverse_sqrt")
AVERAGE = 8.0  # exponent of the average of an open-ended training


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The training and evaluation of one proxy. Token counts are totals; rates are peaks of the schedule."""

    tokens: int
    batch_size: int
    seq_len: int
    optimizer: str  # "adamw", or "muon": Muon for matrices inside the slots, AdamW for the rest
    learning_rate: float
    matrix_learning_rate: float = 0.0  # Muon's
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    schedule: str = "cosine"  # of the rate after the warm-up: a cosine, or "inverse_sqrt", which needs no end
    warmup: float = 0.1  # fraction of the steps
    hold: float = 1.0  # fraction of the steps, warm-up included, after which "inverse_sqrt" begins to fall
    decay: float = 0.0  # fraction of the steps at the end in which "inverse_sqrt" falls to `final_rate`, linearly
    final_rate: float = 0.1  # of the peak
    average: float = 0.0  # exponent of the average of the weights that is measured; 0: the last weights
    clip: float = 1.0
    valid_tokens: int = 16_384
    dtype: str = "float32"
    balance: str = "bias"  # of experts: "bias" of their selection, or "loss": an auxiliary loss
    balance_rate: float = 1e-2  # of that bias, a step; long trainings use 1e-3 (Wang et al. 2024, arXiv:2408.15664)

    def __post_init__(self) -> None:
        for kind, known in (("optimizer", OPTIMIZERS), ("balance", BALANCES), ("schedule", SCHEDULES)):
            if (value := getattr(self, kind)) not in known:
                raise UserError(f"unknown {kind} {value!r}{nearest(value, known)}")
        for name in ("warmup", "hold", "decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} of a recipe must lie between 0 and 1, not {getattr(self, name)}")
        if self.average < 0:
            raise UserError(f"average of a recipe must be 0 or more, not {self.average}")
        for name in ("tokens", "batch_size", "seq_len"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} of a recipe must be at least 1, not {getattr(self, name)}")

    @property
    def steps(self) -> int:
        return max(1, self.tokens // (self.batch_size * self.seq_len))

    @property
    def is_open_ended(self) -> bool:
        """Return whether a training can go on beyond its last step as if it had been longer from the beginning."""
        return self.schedule != "cosine" and not self.decay

    def on(self, device: str) -> "Recipe":
        """Return the recipe for a device: in float32 on a CPU, where most compute in bfloat16 more slowly."""
        return replace(self, dtype="float32") if device == "cpu" else self

    def open_ended(self) -> "Recipe":
        """Return the recipe of a training that can go on: half the rates, constant for the steps of this recipe, then
        falling with the square root of the steps, and weights averaged in place of a decay.
        """
        if self.is_open_ended:
            return self
        return replace(
            self,
            learning_rate=self.learning_rate / 2,
            matrix_learning_rate=self.matrix_learning_rate / 2,
            schedule="inverse_sqrt",
            average=AVERAGE,
            hold=1.0,
            decay=0.0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Named sizes: slots, dimensions, and the recipe of a proxy. Without a recipe, models can only be priced."""

    name: str
    num_slots: int
    dims: Dimensions
    recipe: Recipe | None = None
    rungs: int = 1  # of the race between proxies, unless a run says otherwise; 1: no race


SCALES: dict[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(
            name="nano",
            num_slots=8,
            dims=Dimensions(d_model=32, head_dim=8, vocab_size=256, seq_len=128),
            recipe=Recipe(
                tokens=120_000,
                batch_size=8,
                seq_len=128,
                optimizer="muon",
                learning_rate=2e-2,
                matrix_learning_rate=4e-2,
            ),
            rungs=3,
        ),
        Scale(
            name="micro",
            num_slots=12,
            dims=Dimensions(d_model=128, head_dim=32, vocab_size=256, seq_len=256),
            recipe=Recipe(
                tokens=2_000_000,
                batch_size=4,
                seq_len=256,
                optimizer="muon",
                learning_rate=1e-2,
                matrix_learning_rate=2e-2,
            ),
        ),
        # The paper's: 24 slots of width 768, 4,096 tokens, 64 sequences a step, 1.3 B tokens, AdamW at 8e-4.
        Scale(
            name="125m",
            num_slots=24,
            dims=Dimensions(d_model=768, head_dim=64, vocab_size=50_304, seq_len=4_096),
            recipe=Recipe(
                tokens=1_310_720_000,
                batch_size=64,
                seq_len=4_096,
                optimizer="adamw",
                learning_rate=8e-4,
                valid_tokens=4_194_304,
                dtype="bfloat16",
                balance_rate=1e-3,
            ),
        ),
        # The paper's: 48 slots of width 2,048, 0.75 M tokens a step, 40 B tokens. Its rate is not known.
        Scale(
            name="1b",
            num_slots=48,
            dims=Dimensions(d_model=2_048, head_dim=64, vocab_size=50_304, seq_len=4_096),
            recipe=Recipe(
                tokens=40_000_000_000,
                batch_size=192,
                seq_len=4_096,
                optimizer="adamw",
                learning_rate=4e-4,
                valid_tokens=4_194_304,
                dtype="bfloat16",
                balance_rate=1e-3,
            ),
        ),
    )
}


def nearest_recipe(scale: Scale) -> Recipe:
    """Return the recipe of a scale, or that of the named scale whose width is nearest, with sequences of at most the
    scale's context.
    """
    if scale.recipe:
        return scale.recipe
    width = scale.dims.d_model
    named = [one for one in SCALES.values() if one.recipe]
    near = min(named, key=lambda one: max(one.dims.d_model / width, width / one.dims.d_model))
    assert near.recipe
    return replace(near.recipe, seq_len=min(near.recipe.seq_len, scale.dims.seq_len))
