"""Our weights under the names that `transformers`' modules give theirs."""

import torch

from star.architecture.spec import BackboneConfig, Dimensions
from star.model.ops.rotary import rotary_table
from support.families import copy_weights, double

VOCAB = 29
CONTEXT = 24


def make_dims(d_model, head_dim, operators, heads=0, **style):
    return Dimensions(
        d_model=d_model,
        head_dim=head_dim,
        vocab_size=VOCAB,
        seq_len=CONTEXT,
        heads=heads,
        style=BackboneConfig(**style),
        operators=tuple(operators.items()),
    )


def make_reference(kind, config, state):
    """The reference, holding these weights."""
    with double():
        reference = kind(config).eval()
    copy_weights(reference, state)
    return reference


def in_double(monkeypatch):
    """Double precision wherever single is asked for, by a reference or by our table of angles; for a fixture."""
    torch.manual_seed(3)
    monkeypatch.setattr(torch, "float32", torch.float64)
    monkeypatch.setattr(torch, "float", torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    rotary_table.cache_clear()
    yield
    rotary_table.cache_clear()


def joined(liv, roles, name):
    """A parameter of several features, one below the other."""
    return torch.cat([liv.featurizer[role].get_parameter(name) for role in roles])


def conv(kernel):
    """Our kernel (taps, channels), present token first, as a depthwise convolution (channels, 1, taps)."""
    return kernel.flip(0).T[:, None]


def prefixed(prefix, state):
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def with_biases(layers):
    """Weights, and biases where there are any, of linear layers by name."""
    state = {f"{name}.weight": layer.weight for name, layer in layers.items()}
    return state | {f"{name}.bias": layer.bias for name, layer in layers.items() if layer.bias is not None}


def attention_state(liv, out="o_proj"):
    made = liv.featurizer
    layers = {f"{name}_proj": made[role].channels for name, role in zip("qkv", "CBV", strict=True)}
    return with_biases(layers | {out: liv.out})


def unit_state(liv, names=("gate_proj", "up_proj", "down_proj")):
    """A memoryless unit, with or without a gate."""
    layers = [made.channels for made in liv.featurizer.values()]
    return with_biases(dict(zip(names, [*layers, liv.out], strict=True)))


def frame_state(model, embedding="model.embed_tokens", norm="model.norm", head="lm_head"):
    state = {f"{embedding}.weight": model.embedding.weight, f"{norm}.weight": model.final_norm.weight}
    return state | {f"{head}.weight": (model.embedding if model.style.tied else model.head).weight}


def block_norms(model, i, prefix, first="input_layernorm", second="post_attention_layernorm"):
    """The norms before the two operators of block i."""
    names = f"{prefix}.{first}.weight", f"{prefix}.{second}.weight"
    return dict(zip(names, (norm.weight for norm in model.norms[2 * i : 2 * i + 2]), strict=True))
