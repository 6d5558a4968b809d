"""Public implementations of star's operators at the same sizes: modules of `transformers`.

Each is called as its model calls it, with shared tensors (rotations, masks) made beforehand and without optional
kernels of other packages. They compute the same as star's operators except for details: the recurrent block of
RecurrentGemma has biases and makes its gates by blocks from the convolved feature, Mamba makes C, B and A from it too.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import (
    DeepseekV3Config,
    Lfm2Config,
    LlamaConfig,
    Mamba2Config,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    NemotronConfig,
    PreTrainedConfig,
    Qwen3Config,
    Qwen3NextConfig,
    RecurrentGemmaConfig,
)
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention, DeepseekV3MLP, DeepseekV3MoE
from transformers.models.lfm2.modeling_lfm2 import Lfm2ShortConv
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP, LlamaRotaryEmbedding
from transformers.models.mamba.modeling_mamba import MambaMixer
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer
from transformers.models.mistral.modeling_mistral import MistralAttention
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock
from transformers.models.nemotron.modeling_nemotron import NemotronMLP
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet
from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRecurrentBlock

from measuring.clock import Action
from measuring.steps import training_step
from star.architecture.codes import KERNEL_TAPS, Sparsity
from star.architecture.spec import Dimensions, LivSpec

TAPS = 4  # of the short kernels of Mamba, Mamba-2 and the delta rule
CHUNK = 32  # the fastest for Mamba-2 on a CPU, of 32, 64, 128 and 256; longer ones also pad short sequences


@dataclass(frozen=True, slots=True)
class Reference:
    """A module, and its arguments besides the input."""

    module: nn.Module
    arguments: dict[str, object]

    def step(self, x: torch.Tensor) -> Action:
        """Return the training step of the module."""
        device = x.device
        module = self.module.to(device)
        moved = {name: _to(value, device) for name, value in self.arguments.items()}

        def run(x: torch.Tensor) -> torch.Tensor:
            y = module(x, **moved)
            return y[0] if isinstance(y, tuple) else y

        return training_step(run, module.parameters(), x)


def _to(value: object, device: torch.device) -> object:
    if isinstance(value, tuple):
        return tuple(_to(part, device) for part in value)
    return value.to(device) if isinstance(value, torch.Tensor) else value


def make_reference(liv: LivSpec, dims: Dimensions, num_tokens: int) -> Reference | None:
    """Return the reference of an operator for sequences of that length, or None."""
    maker = MAKERS.get(liv.name)
    if maker is None:
        return None
    reference = maker(liv, dims, num_tokens)
    for parameter in reference.module.parameters():
        if parameter.ndim > 1:  # some modules leave these uninitialised
            nn.init.normal_(parameter, std=dims.d_model**-0.5)
    return reference


def softmax_attention(make: type[nn.Module], config: type[PreTrainedConfig]) -> Callable[..., Reference]:
    """Return a maker of attention modules, over heads or over a latent."""

    def maker(liv: LivSpec, dims: Dimensions, num_tokens: int) -> Reference:
        sizes = {
            "hidden_size": dims.d_model,
            "num_attention_heads": dims.num_heads,
            "num_key_value_heads": max(1, liv.group("B").width(dims) // dims.head_dim),
            "head_dim": dims.head_dim,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
            "attn_implementation": "sdpa",
        }
        if make is DeepseekV3Attention:
            del sizes["head_dim"]
            sizes["num_key_value_heads"] = dims.num_heads
            sizes |= dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), dims.head_dim)
            sizes |= {"kv_lora_rank": liv.group("V").width(dims), "q_lora_rank": None, "rope_interleave": False}
        configured = config(**sizes)
        positions = LlamaRotaryEmbedding(configured)(torch.zeros(1), torch.arange(num_tokens)[None])
        mask = window_mask(num_tokens, dims.band) if liv.sparsity is Sparsity.BANDED else None
        return Reference(make(configured, layer_idx=0), {"position_embeddings": positions, "attention_mask": mask})

    return maker


def window_mask(num_tokens: int, window: int) -> torch.Tensor:
    """Return the mask (1, 1, T, T) of tokens that each token attends to."""
    distance = torch.arange(num_tokens)[:, None] - torch.arange(num_tokens)
    return ((distance >= 0) & (distance < window))[None, None]


def gated_unit(make: type[nn.Module], config: type[PreTrainedConfig], activation: str) -> Callable[..., Reference]:
    """Return a maker of gated linear units."""

    def maker(liv: LivSpec, dims: Dimensions, num_tokens: int) -> Reference:
        width = liv.group("C").width(dims)
        return Reference(
            make(
                config(
                    hidden_size=dims.d_model,
                    intermediate_size=width,
                    hidden_act=activation,
                    num_attention_heads=dims.num_heads,
                )
            ),
            {},
        )

    return maker


def mixtral(liv: LivSpec, dims: Dimensions, num_tokens: int) -> Reference:
    """Make routed experts without a shared one."""
    config = MixtralConfig(
        hidden_size=dims.d_model,
        intermediate_size=liv.group("C").width(dims),
        num_local_experts=liv.group("R").expansion,
        num_experts_per_tok=liv.group("R").repeat,
        experts_implementation="eager",
    )
    return Reference(MixtralSparseMoeBlock(config), {})


def deepseek_experts(liv: LivSpec, dims: Dimensions, num_tokens: int) -> Reference:
    """Make routed experts with a shared one."""
    config = DeepseekV3Config(
        hidden_size=dims.d_model,
        moe_intermediate_size=liv.group("C").width(dims),
        n_routed_experts=liv.group("R").expansion,
        num_experts_per_tok=liv.group("R").repeat,
        n_group=1,
        topk_group=1,
        routed_scaling_factor=1.0,
        experts_implementation="eager",
    )
    module = DeepseekV3MoE(config)
    module.shared_experts = DeepseekV3MLP(config, liv.group("S").width(dims))
    return Reference(module, {})


def mamba(liv: LivSpec, dims: Dimensions, num_tokens: int) -> Reference:
    """Make a Mamba mixer, whose scan is a loop over tokens."""
    config = MambaConfig(
        hidden_size=dims.d_model,
        expand=liv.group("V").expansion,
        state_size=liv.group("B").expansion,
        conv_kernel=TAPS,
        time_step_rank=dims.latent_rank,
        use_conv_bias=False,
        num_hidden_layers=1,
    )
    return Reference(MambaMixer(config, layer_idx=0), {})


def mamba_2(liv: LivSpec, dims: Dimensions, num_tokens: int) -> Reference:
    """Make a Mamba-2 mixer, which works in chunks."""
    expand = liv.group("V").expansion
    config = Mamba2Config(
        hidden_size=dims.d_model,
        expand=expand,
        num_heads=dims.num_heads * expand,
        head_dim=dims.head_dim,
        state_size=liv.group("B").expansion,
        n_groups=1,
        conv_kernel=TAPS,
        chunk_size=CHUNK,
        use_conv_bias=False,
        num_hidden_layers=1,
    )
    return Reference(Mamba2Mixer(config, layer_idx=0), {})


def gated_delta_net(liv: LivSpec, dims: Dimensions, num_tokens: int) -> Reference:
    """Make a gated delta net, which works in chunks."""
    config = Qwen3NextConfig(
        hidden_size=dims.d_model,
        linear_num_value_heads=dims.num_heads,
        linear_num_key_heads=dims.num_heads,
        linear_key_head_dim=dims.head_dim,
        linear_value_head_dim=dims.head_dim,
        linear_conv_kernel_dim=TAPS,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
    )
    return Reference(Qwen3NextGatedDeltaNet(config, 0), {})


def recurrent_gemma(liv: LivSpec, dims: Dimensions, num_tokens: int) -> Reference:
    """Make a whole recurrent block of RecurrentGemma, whose recurrence is a loop over tokens."""
    config = RecurrentGemmaConfig(
        hidden_size=dims.d_model,
        lru_width=dims.d_model,
        num_attention_heads=dims.num_heads,
        conv1d_width=KERNEL_TAPS[liv.group("V").token_mixing],
    )
    positions = torch.arange(num_tokens)[None]
    arguments = {"position_ids": positions, "attention_mask": None, "use_cache": False}
    return Reference(RecurrentGemmaRecurrentBlock(config, 0), arguments)


def short_convolution(liv: LivSpec, dims: Dimensions, num_tokens: int) -> Reference:
    """Make the short convolution of LFM2."""
    config = Lfm2Config(
        hidden_size=dims.d_model,
        conv_L_cache=liv.group("K").expansion,
        conv_bias=False,
        num_hidden_layers=1,
        layer_types=["conv"],
    )
    return Reference(Lfm2ShortConv(config, layer_idx=0), {})


LLAMA = softmax_attention(LlamaAttention, LlamaConfig)
MISTRAL = softmax_attention(MistralAttention, MistralConfig)
SWIGLU = gated_unit(LlamaMLP, LlamaConfig, "silu")
MAKERS: dict[str, Callable[[LivSpec, Dimensions, int], Reference]] = {
    **dict.fromkeys(("SA-1", "SA-3", "SA-4", "MQA"), LLAMA),
    **dict.fromkeys(("SWA", "SWA-GQA"), MISTRAL),
    "QKNorm-GQA": softmax_attention(Qwen3Attention, Qwen3Config),
    "MLA": softmax_attention(DeepseekV3Attention, DeepseekV3Config),
    "Mamba": mamba,
    **dict.fromkeys(("SSD", "Mamba-2"), mamba_2),
    "GDN": gated_delta_net,
    "RG-LRU": recurrent_gemma,
    **dict.fromkeys(("GConv-1", "GConv-k4", "GConv-k7"), short_convolution),
    **dict.fromkeys(("GMemless", "SwiGLU-1", "SwiGLU-4"), SWIGLU),
    "GEGLU": gated_unit(LlamaMLP, LlamaConfig, "gelu"),
    "ReLU2": gated_unit(NemotronMLP, NemotronConfig, "relu2"),
    "MoE": mixtral,
    "MoE-shared": deepseek_experts,
}
