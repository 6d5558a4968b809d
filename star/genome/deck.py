"""The deck: operator classes as rows of codes. A class is an operator genome of five integers,

    featurizer class, token mixing, sparsity, nonlinearity, channel mixing        e.g. 12123 for SA-1

and a featurizer genome of four integers a feature group: token mixing, channel mixing, expansion, repeat.
Operator codes are those of Thomas et al. 2024 (arXiv:2411.17800); what the paper leaves open in the
featurizers is decided in docs/decisions/0002-operators.md. A number once used is permanent.
"""

from star.spec import (
    EVERY_CHANNEL,
    GATED_RATIO,
    ChannelMixing,
    FeatureChannelMixing,
    FeatureGroup,
    FeatureTokenMixing,
    LivSpec,
    Nonlinearity,
    Sparsity,
    TokenMixing,
)

# The feature groups that each token-mixing structure assembles T from, in the order of the featurizer genome.
ROLES: dict[TokenMixing, tuple[str, ...]] = {
    TokenMixing.DIAGONAL: ("C", "V"),  # y_i = swish(C_i) V_i
    TokenMixing.LOW_RANK: ("C", "B", "V"),  # y_i = sum_j softmax(C_i . B_j) V_j
    TokenMixing.TOEPLITZ: ("C", "B", "V", "K"),  # y_i = C_i sum_j K_{i-j} B_j V_j
    TokenMixing.SEMI_SEPARABLE: ("C", "B", "V", "A"),  # y_i = C_i sum_j A_i .. A_{j+1} B_j V_j
}

# The two groups that feature sharing can name, by index into ROLES: what a token leaves behind for later
# ones (B and V, the key and value of attention); a memoryless unit leaves nothing, so its gate and value.
SHAREABLE: dict[TokenMixing, tuple[int, int]] = {
    TokenMixing.DIAGONAL: (0, 1),
    TokenMixing.LOW_RANK: (1, 2),
    TokenMixing.TOEPLITZ: (1, 2),
    TokenMixing.SEMI_SEPARABLE: (1, 2),
}

# Featurizer class -> one row per feature group: token mixing, channel mixing, expansion, repeat.
DENSE = (1, 2, 1, 1)
SHORT = (3, 2, 1, 1)
FEATURIZERS: dict[int, tuple[tuple[int, int, int, int], ...]] = {
    1: (DENSE, DENSE, DENSE),
    2: (SHORT, SHORT, SHORT),
    3: (DENSE, (1, 2, 1, 4), (1, 2, 1, 4)),
    4: (DENSE, (1, 2, 1, 2), (1, 2, 1, 2)),
    5: ((3, 2, 16, EVERY_CHANNEL), (3, 2, 16, EVERY_CHANNEL), SHORT, (1, 4, 1, 1)),
    6: ((3, 2, 2, EVERY_CHANNEL), (3, 2, 2, EVERY_CHANNEL), SHORT, (1, 4, 1, 1)),
    7: (DENSE, DENSE, DENSE, (3, 1, 1, 1)),
    8: (DENSE, DENSE, DENSE, (6, 1, 1, 1)),
    9: ((1, 2, GATED_RATIO, 1), (1, 2, GATED_RATIO, 1)),
}

# Class -> name and operator genome. 10..17 are the differential variants of 1..8.
PAPER_CODES: dict[int, tuple[str, str]] = {
    1: ("SA-1", "12123"),
    2: ("SA-2", "22123"),
    3: ("SA-3", "32123"),
    4: ("SA-4", "42123"),
    5: ("Rec-1", "54111"),
    6: ("Rec-2", "64111"),
    7: ("GConv-1", "73111"),
    8: ("GConv-2", "83111"),
    9: ("GMemless", "91142"),
}
FIRST_DIFFERENTIAL = 10


def build_liv(name: str, operator_genome: str, differential: bool = False) -> LivSpec:
    """The operator that five operator codes and its featurizer's rows describe."""
    featurizer, *structure = (int(code) for code in operator_genome)
    token_mixing = TokenMixing(structure[0])
    groups = tuple(
        FeatureGroup(role, FeatureTokenMixing(tokens), FeatureChannelMixing(channels), expansion, repeat)
        for role, (tokens, channels, expansion, repeat) in zip(
            ROLES[token_mixing], FEATURIZERS[featurizer], strict=True
        )
    )
    return LivSpec(
        name=name,
        groups=groups,
        token_mixing=token_mixing,
        sparsity=Sparsity(structure[1]),
        nonlinearity=Nonlinearity(structure[2]),
        channel_mixing=ChannelMixing(structure[3]),
        differential=differential,
    )


PAPER: dict[int, LivSpec] = {
    **{number: build_liv(name, codes) for number, (name, codes) in PAPER_CODES.items()},
    **{
        FIRST_DIFFERENTIAL + row: build_liv(f"{name}-Diff", codes, differential=True)
        for row, (name, codes) in enumerate(PAPER_CODES[number] for number in range(1, 9))
    },
}


def class_name(class_id: int) -> str:
    """The name of an operator class, as in the paper: SA-1, Rec-1-Diff, ..."""
    return PAPER[class_id].name
