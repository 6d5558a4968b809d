"""Tables and lines: nothing is cut at any width, a pipe gets whole rows, every name is safe to print."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import any_genomes

from star.architecture.genome import fold_text, parse, to_text
from star.cli.console import printable, wrap, wrap_code
from star.cli.table import Table

WORDS = st.text("abcXYZ019-.,", min_size=1, max_size=12)
CELLS = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
ROWS = st.lists(st.tuples(WORDS, WORDS, WORDS, CELLS), min_size=1, max_size=5)


def lines_of(rows, width):
    table = Table("name", ">one", ">two", "what it is")
    for row in rows:
        table.add_row(*row)
    return [line for line, _ in table.lines(width)]


@given(ROWS)
def test_a_pipe_gets_each_row_in_one_line(rows):
    lines = lines_of(rows, None)
    assert [line.split() for line in lines[1:]] == [" ".join(row).split() for row in rows]


@given(ROWS, st.integers(40, 120))
def test_a_terminal_gets_whole_words_in_its_width(rows, width):
    lines = lines_of(rows, width)
    assert all(len(line) <= width for line in lines)
    words = " ".join(lines).split()
    for row in rows:
        assert all(words.count(word) >= " ".join(row).split().count(word) for cell in row for word in cell.split())


def test_what_fits_is_not_folded():
    rows = [("a", "1", "2", "x y"), ("bb", "10", "20", "z")]
    expected = ["name  one  two  what it is", "a       1    2  x y", "bb     10   20  z"]
    assert lines_of(rows, None) == lines_of(rows, 26) == expected


def test_the_last_column_takes_the_room_that_is_left_or_lines_below():
    rows = [("a", "1", "2", "word " * 9)]
    assert lines_of(rows, 41)[1:] == ["a       1    2  word word word word word", " " * 16 + "word word word word"]
    assert lines_of(rows, 39) == [
        "name  one  two",
        "    what it is",
        "a       1    2",
        "    word word word word word word word",
        "    word word",
    ]


def test_rows_stand_side_by_side_where_columns_are_too_wide():
    table = Table("name", *[f">figure {i}" for i in range(9)])
    for name in ("first", "second"):
        table.add_row(name, *range(9))
    lines = [line for line, _ in table.lines(40)]
    assert lines[0] == "name      first  second" and lines[1] == "figure 0      0       0" and len(lines) == 10


@given(st.text(max_size=30))
def test_what_is_printable_is_one_line_of_plain_characters(text):
    shown = printable(text)
    assert all(unicodedata.category(c)[0] not in "CZ" or c == " " for c in shown)
    assert shown == text or len(shown) > len(text)
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\u202eb\u200f", "a\\u202eb\\u200f"),
        ("\udcff", "\\udcff"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("[/z]ä語", "[/z]ä語"),
    ],
)
def test_names_are_spelled_out(text, shown):
    assert printable(text) == shown


@given(CELLS, st.integers(15, 60))
def test_wrapped_text_is_the_same_words(text, width):
    lines = wrap(f"    {text}", width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(word in " ".join(lines).split() for word in text.split() if len(word) <= width - 4)
    assert all(len(line) <= max(width, 16) for line in lines) and wrap(text, None) == [text]


def test_a_wrapped_line_keeps_its_indent():
    assert wrap("    one two", 9) == ["    one", "    two"]


@given(any_genomes(), st.integers(40, 100))
def test_a_long_genome_is_broken_between_words_and_folds_to_the_same(genome, width):
    text = to_text(genome)
    assert parse(fold_text(text)) == parse(text)
    lines = wrap_code(text, width)
    assert "".join(lines) == text and wrap_code(text, None) == [text]
    assert all(re.search(r"[-,+/]$", line) for line in lines[:-1])


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("-".join(["31111-91111"] * 126), "126*(31111-91111)"),
        ("-".join(["11111"] * 999), "999*(11111)"),
        ("21111-11111-91111-11111-91111-71111", "21111-2*(11111-91111)-71111"),
        ("12123,1211,1211,1211/11111-11111", "12123,1211,1211,1211/2*(11111)"),
        ("11111-91111", "11111-91111"),
    ],
)
def test_folding(text, folded):
    assert fold_text(text) == folded and parse(folded) == parse(text)
