"""The cost of a feature group, and its equation: the map of the channels, then the mixing of tokens."""

from star.architecture.codes import (
    EVERY_CHANNEL,
    EVERY_HEAD,
    GATED_RATIO,
    IMPLICIT_FREQUENCIES,
    IMPLICIT_HIDDEN,
    WITHIN_HEAD,
    FeatureChannelMixing,
    FeatureTokenMixing,
)
from star.architecture.spec import Dimensions, FeatureGroup


def feature_params(group: FeatureGroup, dims: Dimensions) -> int:
    """Return the parameters of one feature group.

    With d = d_model and w its width: dense d w; grouped d w / heads; latent (d + w) ceil(d / 16); normalised d w and a
    gain for each channel of a head; compressed d w + w; a short kernel of t taps t w more; an explicit kernel t d; an
    implicit one (2 F + 1) E + E + E d + d with F frequencies and hidden width E. Biases and an inner norm add one for
    each channel of theirs.
    """
    d, width = group.channels or dims.d_model, group.width(dims)
    if group.token_mixing is FeatureTokenMixing.IMPLICIT_TOEPLITZ:
        inputs = 2 * IMPLICIT_FREQUENCIES + 1
        return inputs * IMPLICIT_HIDDEN + IMPLICIT_HIDDEN + IMPLICIT_HIDDEN * d + d
    if group.channel_mixing is FeatureChannelMixing.DIAGONAL:
        return group.expansion * d
    gains = norm_width(group, dims) if group.gain else 0
    inner = map_rank(group, dims) if group.inner_norm else 0
    vectors = group.num_taps + group.bias + group.kernel_bias
    return _map_weights(group, dims) + gains + inner + vectors * width


def norm_width(group: FeatureGroup, dims: Dimensions) -> int:
    """Return the channels that its norm has a gain for; 0 without a norm."""
    whole = group.width(dims) - group.plain
    widths = {FeatureChannelMixing.NORMALISED: dims.head_dim, FeatureChannelMixing.COMPRESSED: whole}
    return widths.get(group.channel_mixing, 0)


def map_rank(group: FeatureGroup, dims: Dimensions) -> int:
    """Return the channels between the two matrices of a latent map."""
    return group.rank or dims.latent_rank


def _map_weights(group: FeatureGroup, dims: Dimensions) -> int:
    d, width = group.fan_in or dims.d_model, group.width(dims)
    match group.channel_mixing:
        case FeatureChannelMixing.DIAGONAL:
            return 0
        case FeatureChannelMixing.GROUPED:
            return d * width // dims.num_heads
        case FeatureChannelMixing.LATENT:
            return (d + width) * map_rank(group, dims)
        case _:
            return d * width


def kept_columns(group: FeatureGroup, dims: Dimensions) -> int:
    """Return the elements that decoding keeps for a short kernel on a feature: the last columns of the feature."""
    if group.channel_mixing is FeatureChannelMixing.DIAGONAL:
        return 0
    return (group.kept_taps or group.num_taps) * group.width(dims)


def feature_flops(group: FeatureGroup, dims: Dimensions, tokens: int) -> int:
    """Return the multiplications and additions of a feature group for a sequence of `tokens`: two for every token and
    every weight of its maps and kernel. Norms and activations are not counted. An implicit kernel costs what its
    network does.
    """
    if group.token_mixing is FeatureTokenMixing.IMPLICIT_TOEPLITZ:
        width = group.channels or dims.d_model
        return 2 * tokens * IMPLICIT_HIDDEN * (2 * IMPLICIT_FREQUENCIES + 1 + width)
    taps = 0 if group.channel_mixing is FeatureChannelMixing.DIAGONAL else group.num_taps
    return 2 * tokens * (_map_weights(group, dims) + taps * group.width(dims))


def feature_equation(group: FeatureGroup) -> str:
    """Return the equation of a feature from the input x, as text."""
    if group.token_mixing is FeatureTokenMixing.IMPLICIT_TOEPLITZ:
        return "f(position)"
    if group.channel_mixing is FeatureChannelMixing.DIAGONAL:
        return f"a parameter of {group.expansion} taps"
    maps = {FeatureChannelMixing.GROUPED: "x blockdiag(W)", FeatureChannelMixing.LATENT: "x W1 W2"}
    text = maps.get(group.channel_mixing, "x W")
    text = "norm(x W1) W2" if group.inner_norm and group.channel_mixing is FeatureChannelMixing.LATENT else text
    text = text.replace("x", group.source) if group.source else text
    text = f"{text} + b" if group.bias else text
    if group.num_taps:
        is_residual = group.token_mixing is FeatureTokenMixing.RESIDUAL_TOEPLITZ
        mixed = f"conv{group.num_taps}({text})" + (" + b'" if group.kernel_bias else "")
        text = f"{text} + {mixed}" if is_residual else mixed
    if group.token_mixing is FeatureTokenMixing.ACTIVATED_TOEPLITZ:
        text = f"swish({text})"
    norms = {FeatureChannelMixing.NORMALISED: "norm_head", FeatureChannelMixing.COMPRESSED: "norm"}
    return f"{norms[group.channel_mixing]}({text})" if group.channel_mixing in norms else text


def feature_width(group: FeatureGroup) -> str:
    """Return the channels of a feature, with d for d_model, as text; empty for a kernel."""
    if group.channel_mixing is FeatureChannelMixing.DIAGONAL:
        return ""
    if group.role == "R":
        return f"{group.expansion} experts, {group.repeat} for each token"
    if group.channels:
        return f"width {group.channels:,}"
    special = {
        EVERY_CHANNEL: f"{group.expansion} numbers for all channels",
        WITHIN_HEAD: "one number for each head",
        EVERY_HEAD: "one head for all heads",
    }
    times = "8/3 " if group.expansion == GATED_RATIO else f"{group.expansion} " if group.expansion > 1 else ""
    part = f" / {group.repeat}" if group.repeat > 1 else ""
    return special.get(group.repeat, f"width {times}d{part}")
