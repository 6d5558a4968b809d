"""Speed of training and decoding a micro Transformer++ with byte pairs, beside `transformers`' Llama of the same shape.

Both train on the same tokens with AdamW, ours by `star.training.loop`, theirs by `transformers.Trainer`; both decode
from the same prompt, ours by `LanguageModel.generate`, theirs by `generate`. They take turns in one process, on all
cores; what is printed is the median and range of the ratios of tokens per second.

    python experiments/benchmarks/trainer_speed.py [--rounds 9] [--write]
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measuring.clock import Spread, spread
from measuring.page import ROOT, Page, Table
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from star.architecture import catalogue
from star.architecture.genome import decode
from star.architecture.scales import SCALES
from star.architecture.structures import specify
from star.data.prepare import build
from star.data.text_source import TextSource
from star.model.language_model import LanguageModel
from star.training.allocator import keep_freed_memory
from star.training.batches import Windows
from star.training.loop import Training

PAGE = ROOT / "docs" / "trainer-speed.md"
VOCABULARY = 2_048
SCALE = SCALES["micro"]
DIMS = replace(SCALE.dims, vocab_size=VOCABULARY)
RECIPE = replace(SCALE.recipe, optimizer="adamw", learning_rate=1e-3)
WARM_UP, STEPS = 3, 12  # training steps of each model in a round, before and while it is timed
PROMPT, DECODED = 32, 192
READING = """\
Both models have 6 layers of attention and gated units, width 128, a tied vocabulary of 2,048 and about the same number
of parameters, and train on sequences of 256 tokens, 4 a step, in float32. Ratios are of tokens per second, ours to
theirs, within each round."""


def ours() -> LanguageModel:
    return LanguageModel(specify(decode(catalogue.load("transformer-pp").at(SCALE.num_slots)), DIMS))


def theirs() -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=DIMS.vocab_size,
            hidden_size=DIMS.d_model,
            intermediate_size=DIMS.d_model * 8 // 3,
            num_hidden_layers=SCALE.num_slots // 2,
            num_attention_heads=DIMS.num_heads,
            max_position_embeddings=1_024,
            tie_word_embeddings=True,
        )
    )


class Examples(Dataset):
    """Windows of a text as `transformers.Trainer` takes them."""

    def __init__(self, text: np.ndarray) -> None:
        self._text = text

    def __len__(self) -> int:
        return self._text.size // RECIPE.seq_len

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        start = place * RECIPE.seq_len
        tokens = torch.from_numpy(self._text[start : start + RECIPE.seq_len].astype(np.int64))
        return {"input_ids": tokens, "labels": tokens}


class Clock(TrainerCallback):
    """Notes when a step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        self.ends.append(time.perf_counter())


def train_ours(text: np.ndarray) -> float:
    """Return the tokens per second of our loop."""
    training = Training(ours(), Windows(text, RECIPE), RECIPE, seed=0)
    with keep_freed_memory():
        training.advance(WARM_UP)
        begun = time.perf_counter()
        training.advance(WARM_UP + STEPS)
        return STEPS * RECIPE.batch_size * RECIPE.seq_len / (time.perf_counter() - begun)


def train_theirs(text: np.ndarray, folder: Path) -> float:
    """Return the tokens per second of their loop."""
    clock = Clock()
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=RECIPE.batch_size,
        max_steps=WARM_UP + STEPS,
        learning_rate=RECIPE.learning_rate,
        optim="adamw_torch_fused",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    Trainer(model=theirs(), args=arguments, train_dataset=Examples(text), callbacks=[clock]).train()
    return STEPS * RECIPE.batch_size * RECIPE.seq_len / (clock.ends[-1] - clock.ends[WARM_UP - 1])


@torch.no_grad()
def decode_ours(model: LanguageModel, prompt: torch.Tensor) -> float:
    """Return the tokens per second of our greedy decoding."""
    begun = time.perf_counter()
    model.generate(prompt, DECODED)
    return DECODED / (time.perf_counter() - begun)


@torch.no_grad()
def decode_theirs(model: LlamaForCausalLM, prompt: torch.Tensor) -> float:
    """Return the tokens per second of their greedy decoding."""
    begun = time.perf_counter()
    model.generate(prompt, max_new_tokens=DECODED, min_new_tokens=DECODED, do_sample=False, pad_token_id=0)
    return DECODED / (time.perf_counter() - begun)


def row(name: str, pairs: list[tuple[float, float]]) -> tuple[str, ...]:
    """Return a row of the table: speeds of both, and their ratio."""
    ratios: Spread = spread([one / other for one, other in pairs])
    return (name, *(f"{spread([pair[i] for pair in pairs]).median:,.0f}" for i in (0, 1)), str(ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="write the table to docs/trainer-speed.md")
    given = parser.parse_args()
    logging.set_verbosity_error()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = build(TextSource(sources=("stdlib",), tokenizer=f"bpe:{VOCABULARY}"), folder / "text").train
        trained = [(train_ours(text), train_theirs(text, folder)) for _ in range(given.rounds + 1)][1:]
        one, other = ours().eval(), theirs().eval()
        prompt = torch.from_numpy(np.array(text[None, :PROMPT], dtype=np.int64))
        decoded = [(decode_ours(one, prompt), decode_theirs(other, prompt)) for _ in range(given.rounds + 1)][1:]
    sizes = [sum(param.numel() for param in model.parameters()) for model in (one, other)]
    rows = [row("training", trained), row(f"decoding {DECODED} tokens", decoded)]
    note = f"Parameters: {sizes[0]:,} and {sizes[1]:,}. {given.rounds} rounds, {torch.get_num_threads()} threads."
    heads = ("", "star, tokens/s", "transformers, tokens/s", "ratio (range)")
    page = Page(
        "Training and decoding beside transformers", READING, [Table("Micro", note, heads, rows)], torch.device("cpu")
    )
    page.deliver(PAGE if given.write else None)


if __name__ == "__main__":
    main()
