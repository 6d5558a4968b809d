"""Widths at which architectures have equal costs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from star.architecture.genome import decode
from star.architecture.scales import Recipe, Scale, nearest_recipe
from star.architecture.spec import Dimensions
from star.architecture.structures import specify
from star.cost.cost import Cost, price
from star.errors import UserError
from star.model.language_model import LanguageModel
from star.options import to_toml
from star.records import Genome
from star.trainer.trainer import PASSES

NARROWEST, WIDEST = 1 / 4, 4  # widths that are tried, as shares of the scale's
STEPS = 64  # of a width, at least, between which widths are tried
MATCHES: dict[str, Callable[[Cost], float]] = {
    "parameters": lambda cost: cost.params,
    "training FLOPs": lambda cost: PASSES * cost.flops_per_token,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """An architecture that takes part: how a person named it, its genome, and the scale that it is trained at.

    `toml` is the text of the file of the scale; empty for a scale that ships with the program.
    """

    label: str
    genome: Genome
    scale: Scale
    toml: str

    @property
    def recipe(self) -> Recipe:
        """The recipe of its training."""
        return nearest_recipe(self.scale)

    def at(self, d_model: int) -> "Sized":
        """Return it at a width, with about as many heads as fit into that.

        Raises:
            UserError: no such model can be built.
        """
        dims, slots = self.scale.dims, decode(self.genome)
        heads = dims.heads or (max(1, round(d_model / dims.head_dim)) if d_model % dims.head_dim else 0)
        dims = replace(dims, d_model=d_model, heads=heads)
        return Sized(contender=self, dims=dims, cost=price(slots, dims, self.recipe.seq_len))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A contender at a width, and its costs in training."""

    contender: Contender
    dims: Dimensions
    cost: Cost

    @property
    def training_flops(self) -> int:
        """FLOPs of training for each token."""
        return PASSES * self.cost.flops_per_token

    def scale_toml(self) -> str:
        """Return the text of a file with its scale."""
        text, dims = self.contender.toml, self.dims
        own = {"d_model": dims.d_model, "head_dim": dims.head_dim, "vocab_size": dims.vocab_size}
        own |= {"num_heads": dims.heads} if dims.heads else {}
        if text:
            before, _, after = text.partition("[scale]")
            sizes, bracket, rest = after.partition("\n[")
            kept = [row for row in sizes.splitlines() if row.partition("=")[0].strip() not in own]
            rows = [f"{name} = {value}" for name, value in own.items()]
            return f"{before}[scale]\n" + "\n".join([*rows, *kept]) + bracket + rest
        recipe = self.contender.scale.recipe
        assert recipe, "scales that ship with the program have one"
        sizes = own | {"slots": self.contender.scale.num_slots, "seq_len": dims.seq_len}
        rows = [f"{name} = {value}" for name, value in sizes.items()]
        return "\n".join(["[scale]", *rows, "", "[recipe]", to_toml(recipe)])


def match(contender: Contender, wanted: float, kind: str) -> Sized:
    """Return a contender at the width whose cost of a kind is nearest to the wanted one.

    Raises:
        UserError: it can be built at no width.
    """
    measure = MATCHES[kind]
    found = sorted(_candidates(contender), key=lambda one: (abs(measure(one.cost) - wanted), one.dims.d_model))
    for one in found:
        if _is_buildable(one):
            return one
    raise UserError(f"{contender.label} can be built at no width near that of scale {contender.scale.name}")


def _candidates(contender: Contender) -> Iterator[Sized]:
    width = contender.scale.dims.d_model
    step = max(1, width // STEPS)
    first = width - int(width * (1 - NARROWEST)) // step * step
    for d_model in range(max(step, first), WIDEST * width + 1, step):
        try:
            yield contender.at(d_model)
        except UserError:
            continue


def _is_buildable(one: Sized) -> bool:
    try:
        with torch.device("meta"):
            LanguageModel(specify(decode(one.contender.genome), one.dims))
    except (UserError, ValueError, RuntimeError):
        return False
    return True
