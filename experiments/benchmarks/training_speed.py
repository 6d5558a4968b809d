"""Training speed of nano proxies and of `transformers` models of the same shape, on one CPU thread.

Each pair trains in turn, a few steps at a time, so that both meet the same machine; what is printed is the
median and range of the ratios of tokens per second. Both get the same windows, loss, clipping and AdamW.

    python experiments/benchmarks/training_speed.py [--rounds 15]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM
from transformers.utils import logging

from star.architecture.catalogue import find_scale
from star.architecture.genome import decode, parse
from star.architecture.spec import ModelSpec
from star.model.language_model import LanguageModel

SCALE = find_scale("nano")
STEPS = 3  # of each model in a round


def ours(genome: str) -> torch.nn.Module:
    return LanguageModel(ModelSpec(decode(parse(genome)), SCALE.dims))


def llama() -> torch.nn.Module:
    dims = SCALE.dims
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=dims.vocab_size,
            hidden_size=dims.d_model,
            intermediate_size=dims.d_model * 8 // 3,
            num_hidden_layers=SCALE.num_slots // 2,
            num_attention_heads=dims.num_heads,
            tie_word_embeddings=True,
            use_cache=False,
        )
    )


def mamba() -> torch.nn.Module:
    """Make a Mamba model with the sizes of a Rec-1 stack. It has an output gate, which Rec-1 lacks."""
    dims = SCALE.dims
    return MambaForCausalLM(
        MambaConfig(
            vocab_size=dims.vocab_size,
            hidden_size=dims.d_model,
            expand=1,
            state_size=16,
            conv_kernel=3,
            time_step_rank=dims.latent_rank,
            num_hidden_layers=SCALE.num_slots,
            use_cache=False,
        )
    )


def trainer(model: torch.nn.Module) -> Callable[[], float]:
    """Return a function that trains a few steps and returns tokens per second."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    recipe = SCALE.recipe

    def train() -> float:
        started = time.perf_counter()
        for _ in range(STEPS):
            tokens = torch.randint(0, 256, (recipe.batch_size, recipe.seq_len + 1))
            result = model(tokens[:, :-1])
            logits = result if torch.is_tensor(result) else result.logits
            F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return STEPS * recipe.batch_size * recipe.seq_len / (time.perf_counter() - started)

    return train


def compare(name: str, one: torch.nn.Module, other: torch.nn.Module, rounds: int) -> None:
    pair = [trainer(one), trainer(other)]
    for train in pair:
        train()
    speeds = [[train() for train in pair] for _ in range(rounds)]
    ratios = [mine / theirs for mine, theirs in speeds]
    mine, theirs = (statistics.median(column) for column in zip(*speeds, strict=True))
    print(
        f"{name:38} {mine:9,.0f} {theirs:9,.0f} tokens/s   ratio {statistics.median(ratios):6.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logging.set_verbosity_error()
    recipe = SCALE.recipe
    print(f"nano, batch {recipe.batch_size} x {recipe.seq_len}, one thread, torch {torch.__version__}")
    pairs = SCALE.num_slots // 2
    compare("Transformer++ / transformers Llama", ours("-".join(["11111-91111"] * pairs)), llama(), rounds)
    compare("Rec-1 stack / transformers Mamba", ours("-".join(["51111"] * 2 * pairs)), mamba(), max(3, rounds // 3))


if __name__ == "__main__":
    main()
