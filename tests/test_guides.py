"""Guides show code that is really there."""

from pathlib import Path

import pytest
from support.paths import ROOT


def added_lines(page: Path):
    """(file, line) for every line that a diff on the page adds."""
    name, inside = "", False
    for line in page.read_text().splitlines():
        inside = line == "```diff" or inside and line != "```"
        if line.startswith("+++ b/"):
            name = line.removeprefix("+++ b/")
        elif inside and line.startswith("+"):
            yield name, line[1:]


PAGES = [page for page in sorted((ROOT / "docs" / "guides").glob("*.md")) if "```diff" in page.read_text()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_line_that_a_guide_adds_is_in_the_file(page):
    found = list(added_lines(page))
    assert len(found) > 50
    for name, line in found:
        assert line in (ROOT / name).read_text().splitlines(), f"{name}: {line}"
