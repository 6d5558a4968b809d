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


def mamba_state(liv, inner_norm=False):
    made, mixer = liv.featurizer, liv.mixer
    state = {
        "in_proj.weight": joined(liv, "VZ", "channels.weight"),
        "conv1d.weight": conv(made["V"].kernel),
        "conv1d.bias": made["V"].kernel_bias,
        "x_proj.weight": torch.cat((made["A"].channels[0].weight, joined(liv, "BC", "channels.weight"))),
        "dt_proj.weight": made["A"].channels[-1].weight,
        "dt_proj.bias": mixer.step_bias,
        "A_log": mixer.log_rate,
        "D": mixer.skip,
        "out_proj.weight": liv.out.weight,
    }
    if inner_norm:
        state["dt_layernorm.weight"] = made["A"].channels[1].weight
        state |= {f"{role.lower()}_layernorm.weight": made[role].norm.weight for role in "BC"}
    return state


def mamba_2_state(liv):
    made, mixer = liv.featurizer, liv.mixer
    state = {
        "in_proj.weight": joined(liv, "ZVBCA", "channels.weight"),
        "conv1d.weight": torch.cat([conv(made[role].kernel) for role in "VBC"]),
        "conv1d.bias": joined(liv, "VBC", "kernel_bias"),
        "dt_bias": mixer.step_bias,
        "A_log": mixer.log_rate,
        "D": mixer.skip,
        "out_proj.weight": liv.out.weight,
    }
    if made["V"].channels.bias is not None:
        state |= {"in_proj.bias": joined(liv, "ZVBCA", "channels.bias"), "out_proj.bias": liv.out.bias}
    return state if mixer.norm is None else state | {"norm.weight": mixer.norm.weight}


def attention_state(liv, out="o_proj"):
    made = liv.featurizer
    layers = {f"{name}_proj": made[role].channels for name, role in zip("qkv", "CBV", strict=True)}
    return with_biases(layers | {out: liv.out})


def latent_attention_state(liv, heads, head_dim):
    made, mixer = liv.featurizer, liv.mixer
    parts = mixer.up_key.weight.unflatten(0, (heads, head_dim)), mixer.up_value.weight.unflatten(0, (heads, -1))
    return {
        "q_a_proj.weight": made["C"].channels[0].weight,
        "q_a_layernorm.weight": made["C"].channels[1].weight,
        "q_b_proj.weight": made["C"].channels[2].weight,
        "kv_a_proj_with_mqa.weight": joined(liv, "VB", "channels.weight"),
        "kv_a_layernorm.weight": made["V"].norm.weight,
        "kv_b_proj.weight": torch.cat(parts, dim=1).flatten(0, 1),
        "o_proj.weight": liv.out.weight,
    }


def unit_state(liv, names=("gate_proj", "up_proj", "down_proj")):
    """A memoryless unit, with or without a gate."""
    layers = [made.channels for made in liv.featurizer.values()]
    return with_biases(dict(zip(names, [*layers, liv.out], strict=True)))


def experts_state(liv, router):
    made, mixer = liv.featurizer, liv.mixer
    return {
        f"{router}.weight": made["R"].channels.weight,
        "experts.gate_up_proj": torch.cat((made["C"].weight, made["V"].weight), dim=1),
        "experts.down_proj": mixer.out.weight,
    }


def shared_state(liv):
    """The experts that serve every token."""
    layers = {"gate_proj": liv.featurizer["S"].channels, "up_proj": liv.featurizer["U"].channels}
    return with_biases(layers | {"down_proj": liv.mixer.shared_out})


def frame_state(model, embedding="model.embed_tokens", norm="model.norm", head="lm_head"):
    state = {f"{embedding}.weight": model.embedding.weight, f"{norm}.weight": model.final_norm.weight}
    return state | {f"{head}.weight": (model.embedding if model.style.tied else model.head).weight}


def block_norms(model, i, prefix, first="input_layernorm", second="post_attention_layernorm"):
    """The norms before the two operators of block i."""
    names = f"{prefix}.{first}.weight", f"{prefix}.{second}.weight"
    return dict(zip(names, (norm.weight for norm in model.norms[2 * i : 2 * i + 2]), strict=True))


def delta_state(liv, key_heads):
    """Each key head has its query, its key, and values and gates of the heads that it serves in a row."""
    made, mixer = liv.featurizer, liv.mixer

    def by_head(roles):
        weights = (made[role].channels.weight.unflatten(0, (key_heads, -1)) for role in roles)
        return torch.cat(list(weights), dim=1).flatten(0, 1)

    return {
        "in_proj_qkvz.weight": by_head("CBVZ"),
        "in_proj_ba.weight": by_head("WA"),
        "conv1d.weight": torch.cat([conv(made[role].kernel) for role in "CBV"]),
        "A_log": mixer.log_rate,
        "dt_bias": mixer.step_bias,
        "norm.weight": mixer.norm.weight,
        "out_proj.weight": liv.out.weight,
    }


def gated_attention_state(liv, heads):
    """Each head has its query and its gate in a row; norms by head."""
    made = liv.featurizer
    state = attention_state(liv)
    query, gate = (x.unflatten(0, (heads, -1)) for x in state["q_proj.weight"].chunk(2))
    state["q_proj.weight"] = torch.cat((query, gate), dim=1).flatten(0, 1)
    return state | {"q_norm.weight": made["C"].norm.weight, "k_norm.weight": made["B"].norm.weight}


def gated_recurrence_state(liv, heads):
    made, mixer = liv.featurizer, liv.mixer
    layers = {"linear_y": made["C"].channels, "linear_x": made["V"].channels, "linear_out": liv.out}
    state = {
        "conv_1d.weight": conv(made["V"].kernel),
        "conv_1d.bias": made["V"].kernel_bias,
        "rg_lru.recurrent_param": mixer.rate,
        "rg_lru.input_gate_weight": made["B"].channels.weight.mT,
        "rg_lru.input_gate_bias": mixer.input_bias.unflatten(0, (heads, -1)),
        "rg_lru.recurrent_gate_weight": made["A"].channels.weight.mT,
        "rg_lru.recurrent_gate_bias": mixer.decay_bias.unflatten(0, (heads, -1)),
    }
    return state | with_biases(layers)


def less_one(state, is_gain):
    """Gains written as what they are above 1."""
    return {name: tensor - 1 if is_gain(name) else tensor for name, tensor in state.items()}
