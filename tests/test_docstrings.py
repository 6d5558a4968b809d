"""The source of the program is in plain English: docstrings say what is computed, and names are no metaphors."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT

SOURCES = sorted((ROOT / "star").rglob("*.py"))
BEGINNINGS = re.compile(r"(?:None|Nothing|See|The same)\b")
METAPHORS = re.compile(r"(?:crew|errand|inquest|sieve|diary|elders|stillborn|settle)", re.IGNORECASE)
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(source: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the docstring of the module and of every class and function in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield getattr(node, "name", "module"), text


def words(source: str) -> Iterator[str]:
    """Yield the words of the docstrings, comments and names; a name in snake or camel case is several words."""
    texts = [text for _, text in docstrings(source)]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.NAME):
            texts.append(token.string)
    for text in texts:
        yield from re.findall(r"[A-Z]?[a-z]+|[A-Z]+", text)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_plain_english(path: Path):
    source = path.read_text()
    assert [name for name, text in docstrings(source) if BEGINNINGS.match(text)] == []
    assert sorted({word for word in words(source) if METAPHORS.fullmatch(word)}) == []


def test_findings():
    """A docstring that says nothing is found, and a metaphor in each place where one can stand."""
    source = '"""The same."""\ndef f():\n    """Nonetheless."""\n'
    assert [name for name, text in docstrings(source) if BEGINNINGS.match(text)] == ["module"]
    places = '"""A diary."""\nclass SieveOfDrafts: ...  # the Crew\nold_elders = x.settle()\nsettled = "errand"\n'
    found = [word for word in words(places) if METAPHORS.fullmatch(word)]
    assert sorted(found) == ["Crew", "Sieve", "diary", "elders", "settle"]
