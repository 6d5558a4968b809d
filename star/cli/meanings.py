"""The meanings of the codes of operator and featurizer genomes, in words: the tables behind `star genes`. The words for
a token mixing, or for a channel mixing that only one structure has, stand in the descriptions of structures.
"""

import re

from star.architecture.codes import (
    EVERY_CHANNEL,
    EVERY_HEAD,
    GATED_RATIO,
    WITHIN_HEAD,
    ChannelMixing,
    FeatureChannelMixing,
    FeatureTokenMixing,
    Nonlinearity,
    Sparsity,
)
from star.architecture.structures import FAMILIES, MEANINGS

COPIES = {1: "plain", 2: "differential: y = a(x) - b(x), two copies with weights of their own"}

# Gene of the operator genome -> code -> meaning; then the same for the genes of one feature group.
OPERATOR_GENOME = {
    "token mixing": {mixing: rules.token_meaning for mixing, rules in FAMILIES.items()},
    "sparsity": {
        Sparsity.NONE: "none but causality",
        Sparsity.BANDED: "banded: a window of the last tokens, a quarter of the scale's context unless told",
    },
    "nonlinearity": {
        Nonlinearity.NONE: "none",
        Nonlinearity.SOFTMAX: "softmax over tokens",
        Nonlinearity.RELU: "ReLU of the gate",
        Nonlinearity.SWISH: "swish of the gate",
        Nonlinearity.GELU: "GELU of the gate",
        Nonlinearity.SQUARED_RELU: "squared ReLU",
        Nonlinearity.GATED_SQUARED_RELU: "squared ReLU of the gate; a search draws neither this nor what follows",
        Nonlinearity.XIELU: "xIELU, with two parameters",
        Nonlinearity.CLIPPED_SWISH: "clipped swish of the gate",
    },
    "channel mixing": {
        ChannelMixing.DIAGONAL: "diagonal: every channel on its own",
        ChannelMixing.DENSE: "dense",
        ChannelMixing.GROUPED: "grouped: heads",
    }
    | {rules.channel_mixing: rules.channel_meaning for rules in MEANINGS.values() if rules.channel_meaning},
}
FEATURIZER_GENOME = {
    "token mixing": {
        FeatureTokenMixing.DIAGONAL: "none",
        FeatureTokenMixing.TOEPLITZ: "a short kernel of 3 taps; for K a kernel that is a parameter",
        FeatureTokenMixing.IMPLICIT_TOEPLITZ: "for K a kernel as long as the context, a function of the position",
        FeatureTokenMixing.ACTIVATED_TOEPLITZ: "a short kernel of 4 taps, then swish",
        FeatureTokenMixing.RESIDUAL_TOEPLITZ: "the feature itself and a short kernel of 4 taps on it, added; "
        "a search does not draw this",
    },
    "channel mixing": {
        FeatureChannelMixing.DIAGONAL: "no map: for K, which is no function of the input",
        FeatureChannelMixing.DENSE: "one matrix",
        FeatureChannelMixing.GROUPED: "one block for each head",
        FeatureChannelMixing.LATENT: "a product of two thin matrices, of rank d / 16",
        FeatureChannelMixing.NORMALISED: "one matrix, then each head to unit mean square with a gain",
        FeatureChannelMixing.COMPRESSED: "one matrix, then the whole to unit mean square with a gain",
    },
    "expansion": {
        "n": "the feature is n d wide; for K the number of taps; for R the number of experts",
        GATED_RATIO: "8/3 d wide; for K three taps",
    },
    "repeat": {
        "n": "the width is divided by n: in attention one key/value head serves n query heads; "
        "for R the number of experts that a token goes through",
        EVERY_CHANNEL: "one vector, as long as the expansion says, serves every channel: the states of a recurrence",
        WITHIN_HEAD: "one number serves every channel of a head",
        EVERY_HEAD: "one head serves every head",
    },
}

WEIGHT_STRATEGIES = {1: "no weights are shared", 2: "all weights are shared"}
FEATURE_STRATEGIES = {
    1: "no features are shared",
    2: "the first shareable feature group",
    3: "the second shareable feature group, or the only one",
    4: "all shareable feature groups",
}


def feature_gene_meaning(gene: str, role: str, value: int) -> str:
    """Return what one integer of a featurizer genome means for a feature group."""
    meanings = FEATURIZER_GENOME[gene]
    clauses = meanings.get(value, meanings.get("n", "")).split("; ")
    own = [one.removeprefix(f"for {role} ") for one in clauses if one.startswith(f"for {role} ")]
    text = (own or [one for one in clauses if not one.startswith("for ")])[0]
    if gene == "repeat" and value == 1 and not own:
        return "the width is not divided"
    if value in meanings:
        return text
    if own:
        return f"{text}: {value}"
    return text.replace("n d", "d") if value == 1 else re.sub(r"\bn\b", str(value), text)
