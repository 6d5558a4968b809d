"""Low-rank token mixing: softmax attention, over heads or over a latent, and its linear form."""

from star.spec import ChannelMixing, Dimensions, LivSpec, Nonlinearity, Sparsity, Structure, TokenMixing
from star.structures.structure import CacheEntry, Choices, StructureRules, Tie

HEADS = (1, 2, 4, 9)


class AttentionRules(StructureRules):
    """Softmax attention; fewer key/value heads than query heads serve repeatedly."""

    structure = Structure.ATTENTION
    token_mixing = TokenMixing.LOW_RANK
    channel_mixing = ChannelMixing.GROUPED
    nonlinearities = (Nonlinearity.SOFTMAX,)
    sparsities = (Sparsity.NONE, Sparsity.BANDED)
    ties = (Tie("V", "B", (3,)),)
    relative_time = 4.0
    repeats_heads = True

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        return (
            Choices("C", (1, 3, 7), (2, 3, 4, 5)),
            Choices("B", (1, 3, 7), (2, 4, 5), repeat=HEADS),
            Choices("V", (1, 3, 7), (2, 4), repeat=HEADS),
        )

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        return dims.d_model**2

    def keeps(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        banded = liv.sparsity is Sparsity.BANDED
        return tuple(CacheEntry(role, growing=liv.group(role).width(dims), banded=banded) for role in "BV")

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        d = dims.d_model
        return 4 * count_pairs(liv, dims, tokens) * d + 2 * tokens * d * d  # scores and values; output

    def equation(self, liv: LivSpec) -> str:
        return f"y_i = sum over {looked_at(liv)} of softmax_j(rotate(C_i) . rotate(B_j) / sqrt(head_dim)) V_j"


class LatentAttentionRules(AttentionRules):
    """Softmax attention that reads keys and values of all heads from one latent V, with one rotary key B."""

    structure = Structure.LATENT_ATTENTION
    channel_mixing = ChannelMixing.LATENT
    ties = ()
    relative_time = 5.0
    repeats_heads = False

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        return (
            Choices("C", (1, 3, 7), (2, 3, 4), expansion=(2,)),
            Choices("B", (1, 3, 7), (2,), repeat=(9,)),
            Choices("V", (1, 3, 7), (2, 6), repeat=(2, 4, 8, 16)),
        )

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        return dims.d_model**2 + 2 * liv.group("V").width(dims) * dims.d_model

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        return 6 * count_pairs(liv, dims, tokens) * dims.d_model + 2 * tokens * self.params(liv, dims)

    def equation(self, liv: LivSpec) -> str:
        score = "(C_i . W_K V_j + rotate(C'_i) . rotate(B_j)) / sqrt(2 head_dim)"
        return f"y_i = sum over {looked_at(liv)} of softmax_j({score}) W_V V_j"


class LinearAttentionRules(AttentionRules):
    """Attention without the softmax: a state of one matrix a head, normalised by the sum of the keys."""

    structure = Structure.LINEAR_ATTENTION
    nonlinearities = (Nonlinearity.NONE,)
    sparsities = (Sparsity.NONE,)

    def keeps(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        return (CacheEntry("BV", fixed=liv.group("V").width(dims) * (dims.head_dim + 1)),)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        d = dims.d_model
        written = liv.group("V").width(dims) * (dims.head_dim + 1)
        return 2 * tokens * (written + d * (dims.head_dim + 1) + d * d)  # write, read, output

    def equation(self, liv: LivSpec) -> str:
        return "y_i = sum over j <= i of f(C_i) . f(B_j) V_j / sum over j <= i of f(C_i) . f(B_j),  f = elu + 1"


def count_pairs(liv: LivSpec, dims: Dimensions, tokens: int) -> int:
    """How many pairs of a token and one that it looks at, itself included, a sequence has."""
    window = min(tokens, dims.band) if liv.sparsity is Sparsity.BANDED else tokens
    return window * (window + 1) // 2 + (tokens - window) * window


def looked_at(liv: LivSpec) -> str:
    """Which tokens j token i looks at, as text."""
    return "i - window < j <= i" if liv.sparsity is Sparsity.BANDED else "j <= i"
