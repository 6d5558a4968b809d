"""Genome files of people: what a file needs, how deep a backbone is, what is refused before it costs time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.paths import ROOT

from star.architecture import catalogue
from star.architecture.genome import parse, tile
from star.architecture.toml_table import MOST_PARTS, parse_table
from star.errors import UserError

SIZES = "[scale]\nslots = {}\nd_model = 64\nhead_dim = 16\nvocab_size = 100\nseq_len = 32\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize(
    ("genome", "slots", "period"), [("3*(11111)", 7, 3), ("7*(11111)", 3, 7), ("01111-11111", 3, 2)]
)
def test_slots_that_are_no_multiple_of_the_period_are_refused_with_both_numbers(write, genome, slots, period):
    path = write(f'genome = "{genome}"\n{SIZES.format(slots)}')
    said = refusal(catalogue.load, path)
    assert f"slots of [scale] is {slots}, " in said and f"of the {period} slots" in said and "mine.toml" in said
    assert catalogue.find_scale(path).num_slots == slots, "its sizes alone are whole"


def test_slots_that_are_a_multiple_repeat_the_period(write):
    named = catalogue.load(write(f'genome = "11111-91111-91111"\n{SIZES.format(6)}'))
    assert (named.period, named.at(named.scale.num_slots)) == (3, parse("2*(11111-91111-91111)"))


def test_every_model_of_the_catalogue_is_whole():
    for named in map(catalogue.load, catalogue.names()):
        assert named.scale is None or named.scale.num_slots % named.period == 0, named.name


@pytest.mark.parametrize(
    ("name", "layers", "pattern"),
    [
        ("gemma-3-4b", 34, "5*(201111-371111)-221111-371111"),
        ("gemma-3-27b", 62, "5*(201111-371111)-221111-371111"),
        ("griffin-7b", 32, "2*(301111-371111)-201111-371111"),
        ("recurrentgemma-2b", 26, "2*(301111-371111)-201111-371111"),
    ],
)
def test_a_model_whose_last_pattern_is_cut_is_written_whole(name, layers, pattern):
    named = catalogue.load(name)
    assert named.genome == tile(parse(pattern), 2 * layers) and named.period == named.scale.num_slots == 2 * layers


def test_a_file_of_a_person_needs_no_title_and_no_citation(write):
    named = catalogue.load(write('genome = "11111"\n', "scratch.toml"))
    assert (named.title, named.citation) == ("scratch", "")


def test_every_file_of_the_catalogue_has_both():
    files = list((ROOT / "genomes").rglob("*.toml"))
    assert {path.stem for path in files} == set(catalogue.names())
    for path in files:
        table = parse_table(path.read_text(encoding="utf-8"), path.stem)
        assert table["title"].strip() and table["citation"].strip(), path


ZEROS = [
    ("", "window = 0\n", "window of [scale]"),
    ("", "num_heads = 0\n", "num_heads of [scale]"),
    ("[operators.SWA]\n", "window = 0\n", "window of [operators.SWA]"),
    ("[operators.SWA]\n", "num_kv_heads = 0\n", "num_kv_heads of [operators.SWA]"),
    ("[operators.SWA]\n", "score_scale = 0.0\n", "score_scale of [operators.SWA]"),
]


@pytest.mark.parametrize(("head", "line", "words"), ZEROS, ids=[words for *_, words in ZEROS])
def test_a_size_of_0_is_not_taken_for_one_that_is_left_out(write, head, line, words):
    text = f'genome = "191111"\n{SIZES.format(1)}{head}'
    assert catalogue.load(write(text)).scale
    path = write(text + line)
    for call in (catalogue.load, catalogue.find_scale, catalogue.scale_text):
        assert f"{words} must be positive, not 0; leave it out" in refusal(call, path)
    assert catalogue.read_scale(text + line, "target"), "runs of earlier versions hold such texts"


def test_a_zero_that_means_something_is_taken(write):
    text = f'genome = "191111"\n{SIZES.format(1)}[operators.SWA]\nrotary = 0\nscore_cap = 0\n'
    ((_, overrides),) = catalogue.load(write(text)).scale.dims.operators
    assert (overrides.rotary, overrides.score_cap) == (0.0, 0.0)


@pytest.mark.parametrize("text", ["a{} = 1", "[a{}]", "a = {{ b{} = 1 }}", "[[a{}]]"])
@pytest.mark.parametrize("part", [".a", ' . "a"', ".'a'"])
def test_a_long_key_is_refused_before_it_is_parsed(monkeypatch, text, part):
    monkeypatch.setattr("tomllib.loads", lambda text: pytest.fail("parsed"))
    assert refusal(parse_table, text.format(part * 50_000), "mine") == "mine is nested too deeply"


def test_dots_in_texts_and_comments_are_no_key():
    dots = "14.10.2.1.1-" * 1_000
    for quote in ('"', "'", '"""', "'''"):
        assert parse_table(f"# {dots}\nx = {quote}{dots}{quote} # {dots}\n", "mine") == {"x": dots}
    assert parse_table(f"{'a.' * (MOST_PARTS - 1)}a = 1", "mine")
    assert parse_table(f'x = """\\\\"""\ny = [{"1.5, " * 1_000}]', "mine")["x"] == "\\"
    refusal(parse_table, f'x = {{ y = """z""""", {"a." * 1_000}a = 1 }}', "mine")


@pytest.mark.parametrize("text", ['"""' * 30_000 + "\\", '"' * 50_000, "'''" * 30_001, "a" * 200_000, " ." * 50_000])
def test_what_does_not_end_is_refused_too(text):
    refusal(parse_table, text, "mine")


REPEATS = [
    (
        "2*(3*(11111-91111)-71111)",
        "11111-91111-11111-91111-11111-91111-71111-11111-91111-11111-91111-11111-91111-71111",
    ),
    ("2*(2*(2*(2*(11111))))", "-".join(["11111"] * 16)),
]


@pytest.mark.parametrize(("short", "whole"), REPEATS)
def test_repeats_may_hold_repeats(short, whole):
    assert parse(short) == parse(whole)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(11111-91111)*48", "has '(11111-91111)*48': the count comes first, as in 48*(11111-91111)"),
        ("71111-(11111)x3", "the count comes first, as in 3*(11111)"),
        ("11111*3", "'*' in '11111*3': slots that repeat are written as in 3*(11111-91111)"),
        ("3*(11111", "'*' in '3*(11111': slots that repeat"),
        ("2*(2*(2*(2*(2*(11111)))))", "nests more than 4 repeats"),
        ("999*(999*(11111))", "repeats 999 slots 999 times, which is more than 10,000 slots"),
        ("999*(999*(999*(11111)))", "more than 10,000 slots"),
        ("2111", "slot 1 ('2111') of the genome is not five genes but 4"),
        ("2123,1211,1211,1211/11111", "its first word '2123' lacks the copies: write 12123, or 22123 if it is differ"),
        ("4.1.4.3,1211/11111", "its first word '4.1.4.3' lacks the copies: write 1.4.1.4.3, or 2.4.1.4.3 if"),
        ("9123,1211,1211,1211/11111", "'9123' is not five digits, the copies and four structure codes"),
        ("12123,121,1211,1211/11111", "'121' is not four digits, those of a feature group"),
        (f"12123{',1211' * 7}/11111", "it has 7 feature groups, but 6 are the most"),
        (f"2.1.2.{'3' * 5_000},1211/11111", "is not five digits"),
    ],
)
def test_a_genome_that_cannot_be_read_says_how_it_is_written(text, words):
    assert words in refusal(parse, text)
    assert words in refusal(catalogue.resolve, text, 8)


@given(st.text("0123456789()*-.,+/x ", max_size=60))
def test_any_text_is_a_genome_or_refused(text):
    try:
        genome = parse(text)
    except UserError:
        return
    assert genome and all(isinstance(gene, int) for gene in genome)
