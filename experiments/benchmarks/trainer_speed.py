"""Speed of training and decoding a micro Transformer++ with byte pairs, beside `transformers`' Llama of the same shape.

Both train on the same tokens with AdamW, ours by `star.training.loop`, theirs by `transformers.Trainer`; both decode
from the same prompt, ours by `LanguageModel.generate`, theirs by `generate`; each as it is and compiled by
torch.compile. They take turns in one process, on all cores; what is printed is the median and range of the ratios of
tokens per second to theirs as it is.

    python experiments/benchmarks/trainer_speed.py [--rounds 9] [--write]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from measuring.clock import spread
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
from star.training.execution import Execution
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
of parameters, and train on sequences of 256 tokens, 4 a step, in float32. Cells are tokens per second, medians over the
rounds; the ratio of ours to theirs as it is (transformers, eager) is taken within each round, with its median and
range. Compiling is not in the times: it is in the first run of each, whose seconds stand last."""


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


def train_ours(text: np.ndarray, compiles: bool) -> float:
    """Return the tokens per second of our loop."""
    execution = Execution(compiles=compiles)
    training = Training(ours(), Windows(text, RECIPE), RECIPE, seed=0, execution=execution)
    with keep_freed_memory():
        training.advance(WARM_UP)
        begun = time.perf_counter()
        training.advance(WARM_UP + STEPS)
        return STEPS * RECIPE.batch_size * RECIPE.seq_len / (time.perf_counter() - begun)


def train_theirs(text: np.ndarray, compiles: bool, folder: Path) -> float:
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
        torch_compile=compiles,
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


class Variant(NamedTuple):
    """What is timed: whose model, whether it is compiled, and what gives its tokens per second."""

    ours: bool
    compiled: bool
    run: Callable[[], float]

    @property
    def name(self) -> str:
        return f"{'star' if self.ours else 'transformers'}, {'compiled' if self.compiled else 'eager'}"


def compare(what: str, variants: list[Variant], rounds: int) -> list[tuple[str, ...]]:
    """Time variants in turn; return rows of the table. The first, untimed run of each compiles what is to be
    compiled."""
    first, speeds = [], []
    for one in variants:
        begun = time.perf_counter()
        one.run()
        first.append(time.perf_counter() - begun)
    for _ in range(rounds):
        speeds.append([one.run() for one in variants])
    base = next(i for i, one in enumerate(variants) if not one.ours and not one.compiled)
    return [
        (
            what,
            one.name,
            f"{spread([row[i] for row in speeds]).median:,.0f}",
            "1" if i == base else str(spread([row[i] / row[base] for row in speeds])),
            f"{first[i]:.0f}" if one.compiled else "",
        )
        for i, one in enumerate(variants)
    ]


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
        rows = compare(
            "training",
            [
                Variant(is_ours, compiles, partial(train, text, compiles))
                for compiles in (False, True)
                for is_ours, train in ((True, train_ours), (False, partial(train_theirs, folder=folder)))
            ],
            given.rounds,
        )
        prompt = torch.from_numpy(np.array(text[None, :PROMPT], dtype=np.int64))
    torch.compiler.reset()  # what was compiled for training keeps a decoding model from being one graph
    variants, sizes = [], []
    for compiles in (False, True):
        for make, decoder in ((ours, decode_ours), (theirs, decode_theirs)):
            model = make().eval()
            sizes.append(sum(param.numel() for param in model.parameters()))
            if compiles:
                model.compile()
            variants.append(Variant(make is ours, compiles, partial(decoder, model, prompt)))
    rows += compare(f"decoding {DECODED} tokens", variants, given.rounds)
    note = f"Parameters: {sizes[0]:,} and {sizes[1]:,}. {given.rounds} rounds, {torch.get_num_threads()} threads."
    heads = ("", "", "tokens/s", "ratio (range)", "first run in s")
    page = Page(
        "Training and decoding beside transformers", READING, [Table("Micro", note, heads, rows)], torch.device("cpu")
    )
    page.deliver(PAGE if given.write else None)


if __name__ == "__main__":
    main()
