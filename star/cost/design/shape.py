"""A Transformer in integers, what it costs, and the genome file that describes it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from star.architecture.genome import decode, parse, tile
from star.architecture.spec import BackboneConfig, Dimensions, OperatorOverrides, Slot
from star.cost.cost import Cost, price
from star.errors import UserError

HEAD_DIM = 128
KV_HEADS = 8
DENSE, ROUTED = "31111-91111", "31111-331111"  # one layer: attention with grouped queries, a gated unit or experts
NORM_EPS, ROPE_THETA = 1e-5, 500_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a Transformer; `d_ff` is the width of one expert if there are experts."""

    d_model: int
    num_layers: int
    num_kv_heads: int
    d_ff: int
    vocab_size: int
    context: int
    tied: bool  # the head is the embedding
    num_experts: int = 0
    experts_per_token: int = 0

    @property
    def num_heads(self) -> int:
        return self.d_model // HEAD_DIM

    @property
    def genome(self) -> str:
        """The genome of one layer, which the depth repeats."""
        return ROUTED if self.num_experts else DENSE

    @property
    def variants(self) -> dict[str, dict[str, int | str | bool]]:
        """The sizes of its two classes that genes do not give."""
        unit: dict[str, int | str | bool] = {"d_ff": self.d_ff}
        if self.num_experts:
            unit |= {"num_experts": self.num_experts, "experts_per_token": self.experts_per_token}
            unit |= {"scoring": "softmax", "normalised": True}
        return {"SA-3": {"num_kv_heads": self.num_kv_heads}, "MoE" if self.num_experts else "GMemless": unit}

    def price(self) -> Cost:
        """Return the cost of the model. Raise UserError if its key/value heads do not divide its heads."""
        dims = Dimensions(
            d_model=self.d_model,
            head_dim=HEAD_DIM,
            vocab_size=self.vocab_size,
            seq_len=self.context,
            style=BackboneConfig(norm_eps=NORM_EPS, rope_theta=ROPE_THETA, tied=self.tied),
            operators=tuple((name, OperatorOverrides(**values)) for name, values in self.variants.items()),  # type: ignore[arg-type]
        )
        return price(_decoded(self.genome, 2 * self.num_layers), dims)


@lru_cache(maxsize=64)
def _decoded(genome: str, num_slots: int) -> tuple[Slot, ...]:
    return decode(tile(parse(genome), num_slots))


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The result of a rule for a target. `notes` list its defects; no such model can be built unless `is_valid`."""

    rule: str
    citation: str
    target: int
    shape: Shape
    params: int
    active_params: int
    embedding_params: int
    notes: tuple[str, ...]
    is_valid: bool = True

    @property
    def error(self) -> float:
        """The relative difference of the parameters from the target."""
        return self.params / self.target - 1


def to_toml(design: Design) -> str:
    """Return the genome file that `catalogue.load` reads. Raise UserError if there is no such model."""
    if not design.is_valid:
        raise UserError(f"this design has no genome file: {design.notes[0]}")
    shape = design.shape
    experts = f", {shape.experts_per_token} of {shape.num_experts} experts" if shape.num_experts else ""
    texts = {
        "title": f"Transformer of {design.params / 1e9:.4g} B parameters{experts}",
        "citation": design.citation,
        "genome": shape.genome,
    }
    if design.notes:
        texts["note"] = "; ".join(design.notes)
    sizes = {
        "slots": 2 * shape.num_layers,
        "d_model": shape.d_model,
        "head_dim": HEAD_DIM,
        "vocab_size": shape.vocab_size,
        "seq_len": shape.context,
    }
    style = {"norm_eps": NORM_EPS, "rope_theta": ROPE_THETA, "tied": shape.tied}
    tables: dict[str, Mapping[str, object]] = {"scale": sizes, "style": style}
    tables |= {f"operators.{name}": values for name, values in shape.variants.items()}
    lines = _lines(texts)
    for name, table in tables.items():
        lines += ["", f"[{name}]", *_lines(table)]
    return "\n".join(lines) + "\n"


def _lines(table: Mapping[str, object]) -> list[str]:
    # JSON and TOML write these booleans, numbers and texts alike.
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
