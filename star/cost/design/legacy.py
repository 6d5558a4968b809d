"""The rule of thumb N = 12 L d^2 at d = 128 L, as it is published under the name `design_llm_architecture`:

    d = (128 N / 12)^(1/3) rounded up to 128,  L = d / 128 layers of d / 128 heads,  d_ff = 3.5 d rounded up to 256,

with eight key/value heads. 12 L d^2 is Kaplan et al. 2020, arXiv:2001.08361. Defects, each looked for in every result:

- eight need not divide d / 128, and seldom do, so that most of its models cannot be built;
- 12 d^2 is a layer of full attention and a plain unit of 4 d; with grouped queries and a gated unit of 3.5 d it has
  about 13 d^2;
- it does not count the embedding.
"""

from collections.abc import Iterator
from dataclasses import replace

from star.cost.design.shape import HEAD_DIM, KV_HEADS, Design, Shape
from star.errors import UserError

CITATION = "rule legacy: design_llm_architecture, by 12 L d^2 of Kaplan et al. 2020, arXiv:2001.08361"
TELLING = 0.01  # a miss of the target that is worth a note


def legacy_sizes(billions: float) -> dict[str, int]:
    """Return the sizes of the published rule, integer for integer, under its own names."""
    d_model = int((billions * 1e9 * 128 / 12) ** (1 / 3))
    d_model = _round_up(d_model, 128)
    return {
        "d_model": d_model,
        "n_layers": d_model // 128,
        "n_heads": d_model // HEAD_DIM,
        "n_kv_heads": KV_HEADS,
        "d_head": HEAD_DIM,
        "d_ff": _round_up(int(d_model * 3.5), 256),
    }


def design_legacy(target: float, frame: Shape) -> Design:
    """Apply the rule to a target; `frame` gives what it leaves open: vocabulary, context, whether the head is tied."""
    if frame.num_experts:
        raise UserError("the rule legacy knows no experts; the rule exact does")
    sizes = legacy_sizes(target / 1e9)
    shape = replace(
        frame,
        d_model=sizes["d_model"],
        num_layers=sizes["n_layers"],
        num_kv_heads=sizes["n_kv_heads"],
        d_ff=sizes["d_ff"],
    )
    # Linear in the number of key/value heads, so that the count is known even of what cannot be built.
    few, many = (replace(shape, num_kv_heads=count).price() for count in (1, shape.num_heads))
    params = few.params + (many.params - few.params) // (shape.num_heads - 1) * (KV_HEADS - 1)
    return Design(
        rule="legacy",
        citation=CITATION,
        target=round(target),
        shape=shape,
        params=params,
        active_params=params,
        embedding_params=few.embedding_params,
        notes=tuple(_defects(target, shape, params, params - few.embedding_params)),
        is_valid=shape.num_heads % KV_HEADS == 0,
    )


def _defects(target: float, shape: Shape, params: int, inner: int) -> Iterator[str]:
    if shape.num_heads % KV_HEADS:
        yield f"{KV_HEADS} key/value heads do not divide {shape.num_heads} query heads"
    if shape.num_heads == KV_HEADS:
        yield f"{KV_HEADS} key/value heads for {KV_HEADS} query heads are no groups"
    if abs(params / target - 1) > TELLING:
        yield f"{params:,} parameters are {params / target - 1:+.1%} off the target"
    if abs(inner / target - 1) > TELLING:
        yield f"{inner:,} parameters without embedding and head are {inner / target - 1:+.1%} off the target"
    layer = inner / (shape.num_layers * shape.d_model**2)
    if layer > 12 * (1 + TELLING):
        yield f"a layer has {layer:.1f} d^2 parameters, where the rule counts 12 d^2"


def _round_up(value: int, step: int) -> int:
    return (value + step - 1) // step * step
