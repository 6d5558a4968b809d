"""Memory and time that a corpus of several gigabytes takes: to build it, and to train on it.

Records of JSON with random words are generated, compressed by zstd, in files of 250 MB of text; `star corpus build`
makes tokens of them and `star train` trains a nano model on these. Each command runs in a process of its own, whose
peak of resident memory the system reports (ru_maxrss; mapped pages of the tokens that were touched count).

    python experiments/benchmarks/large_corpus.py [--gigabytes 5] [--folder FOLDER] [--write]
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from measuring.page import ROOT, Page, Table

PAGE = ROOT / "docs" / "large-corpus.md"
STAR = Path(sys.executable).with_name("star")
FILE, RECORD = 250_000_000, 600  # bytes of text in a file, and words of a record
WORDS = 50_000  # in the vocabulary of the text, drawn as in natural text: the n-th with probability in 1 / n
TOKENS = 200_000  # to train on
READING = """\
Text is generated: records of 600 words, drawn from 50,000 with probabilities in 1 / n, as JSON lines in zstd. Memory is
the peak of the resident set of each process, its threads included."""


def generate(folder: Path, size: int) -> int:
    """Write files of records with about so many bytes of text, and return the bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    letters = rng.integers(97, 123, (WORDS, 9)).astype(np.uint8)
    words = [bytes(row[:length]).decode() for row, length in zip(letters, rng.integers(2, 10, WORDS), strict=True)]
    chances = 1 / np.arange(1, WORDS + 1)
    cumulated, written, number = np.cumsum(chances / chances.sum()), 0, 0
    while written < size:
        held = 0
        with pa.CompressedOutputStream(str(folder / f"{number:05d}.jsonl.zst"), "zstd") as file:
            while held < min(FILE, size - written):
                chosen = np.searchsorted(cumulated, rng.random(RECORD)).clip(max=WORDS - 1)
                text = " ".join(words[place] for place in chosen)
                file.write(json.dumps({"text": text}).encode() + b"\n")
                held += len(text) + 1
        written, number = written + held, number + 1
    return written


def run(*arguments: object) -> tuple[float, float]:
    """Run `star` and return its seconds and its peak of resident memory in bytes."""
    begun = time.perf_counter()
    command = [str(STAR), *map(str, arguments)]
    child = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - begun, usage.ru_maxrss * 1024.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=5.0, help="of text (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to write it (default: a temporary one, removed in the end)")
    parser.add_argument("--write", action="store_true", help="write the table to docs/large-corpus.md")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    try:
        size = generate(folder / "text", int(given.gigabytes * 1e9))
        rows = []
        for name, arguments in (
            ("star corpus build, bpe:4096", ("corpus", "build", folder / "text", "--tokenizer", "bpe:4096")),
            ("star corpus build, bytes", ("corpus", "build", folder / "text")),
        ):
            seconds, peak = run(*arguments, "--to", folder / "tokens")
            rows.append(
                (name, f"{size / 1e9:.2f}", f"{seconds:,.0f}", f"{size / seconds / 1e6:.1f}", f"{peak / 1e9:.2f}")
            )
            trained, peak = run(
                *("train", "lfm2-like", "--corpus", folder / "tokens", "--tokens", TOKENS),
                *("--out", folder / f"training-{len(rows)}", "--device", "cpu"),
            )
            rows.append((f"star train on it, {TOKENS:,} tokens", "", f"{trained:,.0f}", "", f"{peak / 1e9:.2f}"))
    finally:
        if not given.folder:
            shutil.rmtree(folder)
    heads = ("command", "text, GB", "seconds", "MB of text/s", "peak of memory, GB")
    table = Table("Memory and time", f"{torch.get_num_threads()} threads.", heads, rows)
    Page("Corpora of several gigabytes", READING, [table], torch.device("cpu")).deliver(PAGE if given.write else None)


if __name__ == "__main__":
    main()
