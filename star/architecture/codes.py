"""The alphabets of operator and featurizer genomes: the meaning of each code, and the sizes that belong to some.

A number once used is permanent, since stored runs must decode.
"""

from enum import IntEnum, StrEnum


class Structure(StrEnum):
    """The structure that assembles T from the features. The four structure codes of a class together name one."""

    MEMORYLESS = "memoryless"
    ROUTED = "routed"
    ATTENTION = "attention"
    LATENT_ATTENTION = "latent attention"
    LINEAR_ATTENTION = "linear attention"
    CONVOLUTION = "convolution"
    SELECTIVE_SCAN = "selective scan"
    STATE_SPACE = "state space"
    GATED_LINEAR = "gated linear attention"
    DELTA_RULE = "delta rule"
    GATED_RECURRENCE = "gated recurrence"


class TokenMixing(IntEnum):
    """Structure of T over tokens, for a fixed pair of channels. 1 to 4 are the paper's."""

    DIAGONAL = 1
    LOW_RANK = 2
    TOEPLITZ = 3
    SEMI_SEPARABLE = 4
    HOUSEHOLDER = 5  # the delta rule
    NORM_PRESERVING = 6  # RG-LRU
    KEY_DECAY = 7  # gated linear attention


class Sparsity(IntEnum):
    """Sparsity of T beyond causality."""

    NONE = 1
    BANDED = 2


class Nonlinearity(IntEnum):
    """Nonlinearity of the token-mixing structure, or of the gate of one that has a gate. 1 to 4 are the paper's."""

    NONE = 1
    SOFTMAX = 2
    RELU = 3
    SWISH = 4
    GELU = 5
    SQUARED_RELU = 6
    GATED_SQUARED_RELU = 7
    XIELU = 8
    CLIPPED_SWISH = 9


class ChannelMixing(IntEnum):
    """Structure of T over channels, for a fixed pair of tokens. 1 to 3 are the paper's."""

    DIAGONAL = 1
    DENSE = 2
    GROUPED = 3
    ROUTED = 4
    ROUTED_SHARED = 5  # routed, beside experts that serve every token
    LATENT = 6  # heads that read keys and values from one latent vector


class FeatureTokenMixing(IntEnum):
    """The token mixing of a featurizer: none, a short explicit kernel, or a long implicit one."""

    DIAGONAL = 1
    TOEPLITZ = 3
    IMPLICIT_TOEPLITZ = 6
    ACTIVATED_TOEPLITZ = 7  # a short kernel of four taps, then swish, as in Mamba
    RESIDUAL_TOEPLITZ = 8  # the feature and a short kernel of four taps on it: y + kernel * y


class FeatureChannelMixing(IntEnum):
    """The channel mixing of a featurizer: the map from the operator's input to the feature."""

    DIAGONAL = 1  # a free vector: no map at all
    DENSE = 2
    GROUPED = 3  # one block for each head
    LATENT = 4  # a product of two thin matrices
    NORMALISED = 5  # dense, then each head to unit mean square, with a learned gain
    COMPRESSED = 6  # dense, then all of it to unit mean square, with a learned gain


# Nonlinearities that genomes may have and searches do not draw, so that a seed gives the same search as before.
UNSEARCHED = (Nonlinearity.GATED_SQUARED_RELU, Nonlinearity.XIELU, Nonlinearity.CLIPPED_SWISH)
UNSEARCHED_FEATURES = (FeatureTokenMixing.RESIDUAL_TOEPLITZ,)  # token mixings of features, likewise
EVERY_CHANNEL = 0  # repeat code: one feature vector serves every channel of the operator
WITHIN_HEAD = 7  # repeat code: one number serves every channel of a head
EVERY_HEAD = 9  # repeat code: the vector of one head serves every head
GATED_RATIO = 3  # expansion code of 8/3: three matrices of width 8/3 d cost what two of 4 d cost
KERNEL_TAPS = {  # columns of a feature's kernel
    FeatureTokenMixing.TOEPLITZ: 3,
    FeatureTokenMixing.ACTIVATED_TOEPLITZ: 4,
    FeatureTokenMixing.RESIDUAL_TOEPLITZ: 4,
}
IMPLICIT_FREQUENCIES = 8  # sine and cosine pairs that describe a position to an implicit kernel
IMPLICIT_HIDDEN = 16  # hidden width of the network that turns a position into a kernel column
