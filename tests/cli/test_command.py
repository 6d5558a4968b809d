"""The command line: every mistake is one line and exit code 2, what is printed agrees with what it is about."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star.architecture import catalogue
from star.architecture.codes import FeatureChannelMixing, FeatureTokenMixing
from star.architecture.genome import DECK, canonical, decode, genes_of, genome_hash, parse, to_text
from star.architecture.genome.operator import CODES
from star.architecture.scales import SCALES
from star.architecture.structures import MEANINGS
from star.cli import command as cli
from star.cli.console import duration, si
from star.cli.drawing import draw

EXAMPLE = "21211-31112-21221-32112"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("inspekt x", ["'inspekt'", "'inspect'"]),
        ("--versoin", ["--versoin", "'--version'"]),
        ("inspect", ["genome", "star inspect --help"]),
        ("inspect lfm2-like more", ["more"]),
        ("inspect lfm2-lik", ["did you mean 'lfm2-like'?"]),
        ("inspect xyz", ["unknown genome 'xyz'", "`star genomes` lists them"]),
        ("inspect lfm2-like --scal nano", ["did you mean '--scale'?"]),
        ("inspect lfm2-like --scale mikro", ["did you mean 'micro'?"]),
        ("inspect lfm2-like --context 0", ["--context"]),
        ("inspect lfm2-like --context long", ["--context", "integer"]),
        ("inspect 21211-3111", ["slot 2 ('3111')"]),
        ("inspect 991111", ["class is 99", "between 0 and 57"]),
        ("inspect 1912,1211/11111", ["class 1", "five digits, the copies and four structure codes"]),
        ("inspect 19123,1211,1211,1211/11111", ["class 1", "token mixing is 9", "one of 1, 2, 3, 4, 5, 6, 7"]),
        ("inspect 11142,1231,1231+12133,1211,1211,1211/11111", ["class 2", "nonlinearity is 3", "one of 1, 2"]),
        ("inspect 12123,1211,1211,1231/11111", ["class 1", "expansion of V is 3", "must be 1"]),
        ("inspect 12123,1211,1212,1214/11111", ["class 1", "repeat of V is 4", "must be 2, as that of B"]),
        ("inspect 11144,1211,1211,1228/11111", ["class 1", "repeat of R is 8", "at most 2", "experts"]),
        ("inspect 12123,1211,1211/11111", ["class 1", "number of feature groups is 2", "must be 3", "C B V"]),
        ("inspect 12123,1211,1211,1211/21111", ["slot 1", "class is 2", "between 0 and 1"]),
        ("inspect 191111 --window 129", ["window is 129", "between 1 and", "128 tokens"]),
        ("inspect 191111 --window 0", ["--window"]),
        ("price no/such.parquet --window 129", ["window is 129", "between 1 and", "128 tokens"]),
        ("inspect no/such.toml", ["no/such.toml", "No such file"]),
        ("inspect no/such/run:3", ["no/such/run", "not a run"]),
        ("price no/such.parquet", ["no/such.parquet"]),
        ("genomes --scale big", ["unknown scale 'big'"]),
        ("genes --jsn", ["did you mean '--json'?"]),
    ],
)
def test_a_mistake_is_one_line_with_the_right_word(refused, command, words):
    refused(command.split(), *words)


def test_an_unexpected_error_is_one_line_that_names_the_traceback(star, monkeypatch):
    def fail():
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(catalogue, "names", fail)
    code, out, err = star("genomes")
    assert (code, out, err.count("\n")) == (1, "", 1)
    kept = Path(err.split()[-1])
    assert err.startswith("star: error: ZeroDivisionError: two lines;")
    assert "Traceback" in kept.read_text()
    kept.unlink()
    monkeypatch.setenv(cli.DEBUG, "1")
    assert "Traceback" in star("genomes")[2]


def test_an_interrupt_ends_with_130(star, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "names", interrupt)
    assert star("genomes")[0] == 130


def test_inspect_as_json_agrees_with_the_genome_and_adds_up(star):
    code, out, err = star("inspect", EXAMPLE, "--scale", "125m", "--context", 1000, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["genome"] == EXAMPLE
    assert found["canonical"] == to_text(canonical(parse(EXAMPLE)))
    assert found["hash"] == genome_hash(parse(EXAMPLE))
    final_norm = SCALES["125m"].dims.d_model
    layers = found["layers"]
    rest = found["embedding_params"] + final_norm
    assert sum(layer["params"] for layer in layers) == found["params"] - rest
    assert sum(layer["active_params"] for layer in layers) == found["active_params"] - rest
    assert sum(layer["cache_bytes"] for layer in layers) == found["cache_bytes"]
    assert [layer["class"] for layer in layers] == ["SA-2", "SA-3", "SA-2", "SA-3"]
    assert [layer["shares_with"] for layer in layers] == [[], [], [0], [1]]


def test_inspect_explains_every_operator_once(star):
    """One that has a number, one that has none, a differential one; empty slots are nothing."""
    deck = "12123,3211,1214,1214+11144,1211,1211,1242+23111,1211,1211,1211,6131"
    _, out, _ = star("inspect", f"{deck}/21111-11111-01111-31111-11111", "--json")
    found = json.loads(out)
    known, unknown, differential = found["operators"]
    assert [operator["class"] for operator in found["operators"]] == [33, None, 17]
    assert [operator["name"] for operator in found["operators"]][::2] == ["MoE", "GConv-2-Diff"]
    assert unknown["name"].startswith("attention~")
    assert unknown["codes"] == "12123,3211,1214,1214"
    assert unknown["features"] == {"C": "conv3(x W), width d", "B": "x W, width d / 4", "V": "x W, width d / 4"}
    assert "softmax_j(rotate(C_i) . rotate(B_j) / sqrt(head_dim)) V_j" in unknown["equation"]
    assert known["features"]["R"] == "x W, 4 experts, 2 for each token"
    assert differential["equation"].startswith("y = a(x) - b(x)")
    assert found["active_params"] < found["params"] and len(found["layers"]) == 4
    assert found["layers"][1]["class"] == unknown["name"]
    _, text, _ = star("inspect", f"{deck}/21111-11111-01111-31111-11111")
    for operator in found["operators"]:
        assert text.count(f"codes {operator['codes']})") == 1
        for part in operator["equation"].split(",  "):
            assert f"    {part}\n" in text
        for role, made in operator["features"].items():
            assert f"    {role} = {made}\n" in text
    assert f"{found['active_params']:,} used by one token" in text


def test_the_window_is_a_size_like_others(star):
    def cache(*options):
        return json.loads(star("inspect", "191111-391111", *options, "--json")[1])["cache_bytes"]

    assert cache() == cache("--window", 32)  # a quarter of nano's 128 tokens
    full, windowed = cache("--context", 1000, "--window", 16), cache("--context", 1000, "--window", 8)
    assert full - windowed == 2 * 8 * 2 * 32  # SWA alone: keys and values of 32 channels


def test_price_takes_a_window(star, tmp_path):
    pq.write_table(pa.table({"genome": ["191111"]}), tmp_path / "one.parquet")
    for window in (8, 16):
        code, out, _ = star("price", tmp_path / "one.parquet", "--window", window, "--json")
        assert code == 0 and json.loads(out)["cache_bytes"]["most"] == 2 * 2 * 32 * window


def test_inspect_of_nothing_prints_nothing_but_the_embedding(star):
    code, out, err = star("inspect", "01111")
    assert code == 0 and err == "" and "0 bytes of cache" in out


def test_inspect_prints_the_same_figures(star):
    figures = json.loads(star("inspect", "gconv", "--json")[1])
    code, out, _ = star("inspect", "gconv", "--layers")
    assert code == 0
    assert f"{figures['params']:,} parameters" in out
    assert f"{figures['cache_bytes']:,} bytes of cache" in out
    assert out.count("GConv-1 ") == out.count("GMemless ") == 5  # four slots and the equation


def test_the_drawing_shows_who_shares_what():
    assert draw(decode(parse(EXAMPLE))) == ["w", "|  B", "w  |", "   B"]
    assert draw(decode(parse("11111-91111"))) == ["", ""]
    both = draw(decode(parse("11214-91111-11214-11214")))
    assert both == ["w  BV", "|  |", "w  BV", "w  BV"]  # queries are made anew, with the same weights


def test_genomes_and_genes_as_json(star):
    listed = json.loads(star("genomes", "--scale", "1b", "--json")[1])
    assert [entry["name"] for entry in listed] == catalogue.names()
    assert {entry["name"]: entry["cache_bytes"] for entry in listed}["transformer-pp"] == 805_306_368


def test_genes_as_json_describe_every_level(star):
    found = json.loads(star("genes", "--json")[1])
    assert [gene["gene"] for gene in found["backbone"]][0] == "class"
    numbers = [row["class"] for row in found["classes"]] + [row["differential"] for row in found["classes"]]
    assert sorted(filter(None, numbers)) == list(DECK)
    for row in found["classes"]:
        assert parse(f"{row['written_out']}/11111")[1:-5] == genes_of(DECK[row["class"]])
    for name, codes in CODES:
        assert set(found["operator_genome"][name]) == {str(code.value) for code in codes}
    for name, codes in (("token mixing", FeatureTokenMixing), ("channel mixing", FeatureChannelMixing)):
        assert set(found["featurizer_genome"][name]) == {str(code.value) for code in codes}
    listed = {one["codes"] for structure in found["structures"] for one in structure["codes"]}
    assert listed == {"".join(str(int(code)) for code in codes) for codes in MEANINGS}
    assert {role for structure in found["structures"] for role in structure["groups"]} == set(found["groups"])


def test_the_page_of_genes_names_every_class_and_structure(star):
    page = star("genes", "--markdown")[1]
    for number, liv in DECK.items():
        assert f"| {number} " in page and (liv.differential or f"| {liv.name} | {liv.structure} |" in page)
    for codes, rules in MEANINGS.items():
        assert re.search(rf"^### {rules.structure.capitalize()}: .*{''.join(str(int(c)) for c in codes)}", page, re.M)


@pytest.mark.parametrize("command", ["genomes", "genes", "genes --markdown", "--version", "", "inspect mamba"])
def test_reading_commands_print_for_people_too(star, command):
    code, out, err = star(*command.split())
    assert code == 0 and out.strip() and err == ""


def test_light_commands_load_no_heavy_library():
    """Start-up time: inspecting a genome needs neither torch nor Ray, pymoo, pyarrow."""
    script = (
        "import sys; from star.cli.command import run; code = run(['inspect', 'mamba']);"
        "heavy = {'torch', 'ray', 'pymoo', 'pyarrow', 'plotly', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_entry_point_ends_the_process_with_the_exit_code():
    command = Path(sys.executable).with_name("star")
    result = subprocess.run([command, "inspect", "transfomer-pp"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == "star: error: unknown genome 'transfomer-pp'; did you mean 'transformer-pp'?\n"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (512, "512 B"), (84_934_656, "84.9 MB"), (805_306_368, "805 MB"), (1e12, "1.00 TB")]
)
def test_numbers_have_three_digits_and_a_prefix(value, text):
    assert si(value, "B") == text


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")])
def test_durations(seconds, text):
    assert duration(seconds) == text
