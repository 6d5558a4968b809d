"""Choose the sizes of a Transformer for a target number of parameters, by a named rule: `legacy` or `exact`.

Blocks are those of Llama 3 (Grattafiori et al. 2024, arXiv:2407.21783): RMSNorm, rotary positions, grouped queries, a
gated unit; with experts those of Mixtral (Jiang et al. 2024, arXiv:2401.04088). Parameters are what `cost.price`
says they are, embedding and head included.
"""

from star.cost.design.exact import design_exact, kv_heads
from star.cost.design.legacy import design_legacy, legacy_sizes
from star.cost.design.shape import HEAD_DIM, Design, Shape, to_toml
from star.errors import UserError, nearest

RULES = ("legacy", "exact")
LEAST, MOST = 10**8, 10**12
VOCAB_SIZE, CONTEXT = 128_256, 8192
UNTIED_FROM = 4 * 10**9  # parameters; most smaller published models tie the head


def design(
    target: float,
    rule: str = "exact",
    *,
    vocab_size: int = VOCAB_SIZE,
    context: int = CONTEXT,
    tied: bool | None = None,
    num_experts: int = 0,
    experts_per_token: int = 0,
) -> Design:
    """Return the Transformer that a rule gives for a target number of parameters.

    Args:
        target: parameters, between 100 M and 1 T.
        rule: "legacy" or "exact".
        vocab_size: rows of the embedding.
        context: tokens that costs are counted at; no parameter depends on it.
        tied: whether the head is the embedding; below 4 B parameters if None.
        num_experts: of every layer, of which a token goes through `experts_per_token`; 0 for a dense model.

    Raises:
        UserError: a target out of range, an unknown rule, impossible experts, a vocabulary that leaves no parameters.
    """
    if rule not in RULES:
        raise UserError(f"unknown rule {rule!r}{nearest(rule, RULES)}")
    if not LEAST <= target <= MOST:
        raise UserError(f"params must lie between 100 M and 1 T, not {target:g}")
    if bool(num_experts) != bool(experts_per_token):
        raise UserError("a design with experts needs two numbers: experts, and experts per token")
    if num_experts and not 1 <= experts_per_token < num_experts:
        raise UserError(f"a token must go through fewer than {num_experts} experts, not {experts_per_token}")
    frame = Shape(
        d_model=HEAD_DIM,
        num_layers=1,
        num_kv_heads=1,
        d_ff=1,
        vocab_size=vocab_size,
        context=context,
        tied=target < UNTIED_FROM if tied is None else tied,
        num_experts=num_experts,
        experts_per_token=experts_per_token,
    )
    return design_legacy(target, frame) if rule == "legacy" else design_exact(round(target), frame)


__all__ = ["CONTEXT", "RULES", "VOCAB_SIZE", "Design", "Shape", "design", "kv_heads", "legacy_sizes", "to_toml"]
