"""The command line: every mistake is one line and exit code 2, what is printed agrees with what it is about."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from star import catalogue
from star.cli import command as cli
from star.cli.console import duration, si
from star.cli.drawing import draw
from star.genome import canonical, decode, genome_hash, parse, to_text
from star.scales import SCALES

EXAMPLE = "21211-31112-21221-32112"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("inspekt x", ["'inspekt'", "'inspect'"]),
        ("--versoin", ["--versoin", "'--version'"]),
        ("inspect", ["genome", "star inspect --help"]),
        ("inspect lfm2-like more", ["more"]),
        ("inspect lfm2-lik", ["did you mean 'lfm2-like'?"]),
        ("inspect xyz", ["transformer-pp"]),
        ("inspect lfm2-like --scal nano", ["did you mean '--scale'?"]),
        ("inspect lfm2-like --scale mikro", ["did you mean 'micro'?"]),
        ("inspect lfm2-like --context 0", ["--context"]),
        ("inspect lfm2-like --context long", ["--context", "integer"]),
        ("inspect 21211-3111", ["slot 2 ('3111')"]),
        ("inspect 991111", ["class is 99", "between 1 and 17"]),
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
    assert sum(layer["params"] for layer in layers) == found["params"] - found["embedding_params"] - final_norm
    assert sum(layer["cache_bytes"] for layer in layers) == found["cache_bytes"]
    assert [layer["class"] for layer in layers] == ["SA-2", "SA-3", "SA-2", "SA-3"]
    assert [layer["shares_with"] for layer in layers] == [[], [], [0], [1]]


def test_inspect_prints_the_same_figures(star):
    figures = json.loads(star("inspect", "gconv", "--json")[1])
    code, out, _ = star("inspect", "gconv")
    assert code == 0
    assert f"{figures['params']:,} parameters" in out
    assert f"{figures['cache_bytes']:,} bytes of cache" in out
    assert out.count("GConv-1") == out.count("GMemless") == 4


def test_the_drawing_shows_who_shares_what():
    assert draw(decode(parse(EXAMPLE))) == ["w", "|  B", "w  |", "   B"]
    assert draw(decode(parse("11111-91111"))) == ["", ""]
    both = draw(decode(parse("11214-91111-11214-11214")))
    assert both == ["w  BV", "|  |", "w  BV", "w  BV"]  # queries are made anew, with the same weights


def test_genomes_and_genes_as_json(star):
    listed = json.loads(star("genomes", "--scale", "1b", "--json")[1])
    assert [entry["name"] for entry in listed] == catalogue.names()
    assert {entry["name"]: entry["cache_bytes"] for entry in listed}["transformer-pp"] == 805_306_368
    assert [gene["gene"] for gene in json.loads(star("genes", "--json")[1])["backbone"]][0] == "class"


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
