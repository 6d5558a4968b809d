"""The diffs in the guides are those by which the code that they show came to be; tables and examples are true."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from support.paths import ROOT

from star.architecture.genome import DECK
from star.data.chat import flatten_chat
from star.data.compression import DECODERS
from star.data.formats import FORMATS

PAGES = [page for page in sorted((ROOT / "docs" / "guides").glob("*.md")) if "```diff" in page.read_text()]
CORPORA = ROOT / "docs" / "guides" / "corpora.md"
OPERATOR = ROOT / "docs" / "guides" / "add-operator.md"
TRACES = ("gated_recurrence", "GatedRecurrence", "GATED_RECURRENCE", "NORM_PRESERVING", "RG-LRU", "SwiGLU-1")
WITHOUT = """
import torch
import star
from star.architecture.genome import DECK, decode
from star.architecture.scales import SCALES
from star.architecture.structures import FAMILIES, specify
from star.cli.genes import genes_markdown
from star.cost.training_memory import needed_memory
from star.model.language_model import LanguageModel

scale = SCALES["nano"]
slots = decode(tuple(gene for number in DECK for gene in (number, 1, 1, 1, 1)))
assert needed_memory(slots, scale.dims, scale.recipe) > 0
assert LanguageModel(specify(slots, scale.dims))(torch.zeros(1, 3, dtype=torch.long)).isfinite().all()
assert "RG-LRU" not in genes_markdown() and 6 not in FAMILIES
print(star.__file__, *DECK)
"""


class Block(NamedTuple):
    """Consecutive lines of a file before and after a change; a file that the change makes has none before."""

    path: str
    before: str
    after: str
    is_new: bool


def read_blocks(page: Path) -> list[Block]:
    """The hunks of all diffs on a page."""
    blocks = []
    for diff in page.read_text().split("```diff\n")[1:]:
        for change in diff.split("```")[0].split("--- ")[1:]:
            old, new, *rest = change.splitlines()
            for hunk in "\n".join(rest).split("@@")[1:]:
                lines = hunk.splitlines()[1:]
                before, after = ("".join(f"{one[1:]}\n" for one in lines if one[0] != other) for other in "+-")
                blocks.append(Block(new.removeprefix("+++ b/"), before, after, old == "/dev/null"))
    return blocks


def take_back(block: Block, root: Path) -> None:
    """Undo a change, which must be there as a whole, once."""
    path = root / block.path
    text = path.read_text()
    if block.is_new:
        assert text == block.after, f"{block.path} is not what the guide shows"
        path.unlink()
    else:
        assert text.count(block.after) == 1, f"{block.path} does not have this block once:\n{block.after}"
        path.write_text(text.replace(block.after, block.before))


@pytest.fixture
def tree(tmp_path):
    """A copy of the package."""
    shutil.copytree(ROOT / "star", tmp_path / "star", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_that_a_guide_shows_is_in_its_file(page, tree):
    blocks = read_blocks(page)
    assert sum(block.after.count("\n") - block.before.count("\n") for block in blocks) > 50
    for block in blocks:
        take_back(block, tree)


def test_the_guide_shows_all_that_an_operator_is(tree):
    """Without it the operator leaves no trace, but for the function that its module calls and the published families
    that have it, and nothing misses it."""
    for block in read_blocks(OPERATOR):
        take_back(block, tree)
    (tree / "star" / "model" / "ops" / "gated_recurrence.py").unlink()
    for path in (tree / "star").rglob("*.py"):
        if path.parent.name == "families":
            continue
        assert not any(trace in path.read_text() for trace in TRACES), path
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    place, *numbers = done.stdout.split()
    assert Path(place).is_relative_to(tree)
    gone = {number for number, liv in DECK.items() if liv.name.removesuffix("-Diff") in ("RG-LRU", "SwiGLU-1")}
    assert set(map(int, numbers)) == set(DECK) - gone


def test_the_guide_of_corpora_lists_every_format_and_shows_what_a_chat_becomes():
    page = CORPORA.read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `.")]
    assert re.findall(r"`([.a-z]+)`", "".join(rows)) == list(FORMATS)
    assert all(f"`{suffix}`" in page for suffix in DECODERS)
    record, text = (page.split(f"```{kind}\n")[1].split("```")[0] for kind in ("json", "text"))
    assert flatten_chat(json.loads(record)["messages"], "the guide") + "\n" == text
