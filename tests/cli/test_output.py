"""What reaches the terminal and what does not: names that are no text, outputs that take nothing, heavy libraries."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_run import write_run
from support.paths import ROOT

from star.architecture import catalogue
from star.cli.command import run
from star.run.settings import Settings

SCALE = "[scale]\nslots = 2\nd_model = 64\nhead_dim = 16\nvocab_size = 100\nseq_len = 32\n"
ODD = [
    "[/z]",
    "[red]x",
    "a\x1b[31mb",
    "a\u202eb\u200f",
    os.fsdecode(b"\xff\xfe"),
    "\u00e9\u8a9e",
    "a\nb\rc",
    "$\\frac$",
]
HEAVY = {"torch", "ray", "pymoo", "pyarrow", "matplotlib", "transformers"}


def shell(command, **environment):
    """Run a command line of a shell: exit code, standard error."""
    script = f'star() {{ {Path(sys.executable).with_name("star")} "$@"; }}; {command}'
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    result = subprocess.run(["bash", "-c", script], capture_output=True, env=environment)
    return result.returncode, result.stdout, result.stderr.decode()


@pytest.fixture(params=ODD, ids=ascii)
def odd(request, tmp_path, monkeypatch):
    """The name of a genome file that is in the working directory, or of nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{request.param}.toml").parent.mkdir(exist_ok=True)
    (tmp_path / f"{request.param}.toml").write_text('genome = "11111-91111"\n')
    return request.param


def is_safe(text):
    return all(c.isprintable() for c in text.replace("\n", ""))


@pytest.mark.parametrize(
    "command", [["inspect"], ["compare", "mamba"], ["genes"], ["inspect", "--json"], ["compare", "--json"]]
)
def test_a_file_of_any_name_is_read(star, odd, command):
    code, out, err = star(command[0], f"{odd}.toml", *command[1:])
    assert (code, err) == (0, "") and is_safe(out)


@pytest.mark.parametrize(
    "command",
    [
        ["inspect"],
        ["compare"],
        ["genes"],
        ["status"],
        ["front"],
        ["report"],
        ["export", "--to", "x"],
        ["replay"],
        ["price"],
    ],
)
def test_what_is_not_there_is_refused_in_one_safe_line(refused, odd, command):
    refused([command[0], odd, *command[1:]])
    refused([command[0], f"{odd}:3", *command[1:]])


@pytest.mark.parametrize("options", [["--scale"], ["--dtype"]])
def test_an_option_of_any_value_is_refused_in_one_safe_line(star, odd, options):
    code, out, err = star("inspect", "mamba", *options, odd)
    assert code == 2 and is_safe(err) and err.count("\n") == 1 and is_safe(out)


def test_a_title_is_printed_as_it_stands(star, tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(f'title = "[/red]\\u001b[31m\\u202e"\ngenome = "11111-91111"\n{SCALE}')
    assert star("inspect", path)[0] == 0


def test_a_run_of_any_name_is_read(star, odd, tmp_path):
    made = write_run(tmp_path / "run", Settings(population=4, generations=0, slots=2), weights=True, failing=0)
    run = made.path.rename(tmp_path / odd)
    member = json.loads(star("front", odd, "--json")[1])[0]["id"]
    for arguments in (
        ["status", odd],
        ["front", odd],
        ["inspect", f"{odd}:{member}"],
        ["compare", f"{odd}:{member}"],
        ["genes", f"{odd}:{member}"],
        ["export", odd, "--to", f"{odd}/export"],
        ["report", odd],
    ):
        code, out, err = star(*arguments)
        assert code == 0 and is_safe(out) and is_safe(err), (arguments, err)
    assert (run / "export" / "README.md").is_file()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_an_encoding_that_lacks_a_name_shows_its_codes(tmp_path, encoding):
    (tmp_path / "\u8a9e.toml").write_text('genome = "11111-91111"\n')
    code, out, err = shell(f"cd {tmp_path}; star compare \u8a9e.toml", PYTHONIOENCODING=encoding)
    assert (code, err) == (0, "")
    assert ("\u8a9e".encode() if encoding == "utf-8" else b"\\u8a9e.toml") in out
    code, _, err = shell("star inspect \u8a9e", PYTHONIOENCODING=encoding)
    assert code == 2 and err.startswith("star: error: unknown genome") and err.count("\n") == 1


FULL = "star: error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("command", ["--help", "--version", "genomes", "genomes --json", "genes", "inspect mamba"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_output_is_one_line(command, unbuffered):
    assert shell(f"star {command} > /dev/full", PYTHONUNBUFFERED=unbuffered) == (1, b"", FULL)


def test_a_closed_output_is_one_line():
    assert shell("star genomes >&-") == (1, b"", "star: error: standard output is closed\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_or_closed_error_output_leaves_the_exit_code(unbuffered):
    for end in ("2> /dev/full", "2>&-"):
        assert shell(f"star inspect nothing {end}", PYTHONUNBUFFERED=unbuffered) == (2, b"", "")


class Interrupting(io.StringIO):
    """A standard output during whose first write Ctrl-C is pressed."""

    def write(self, text):
        signal.raise_signal(signal.SIGINT)
        return len(text)


@pytest.mark.parametrize("command", [["genes"], ["inspect", "mamba"], ["compare", "mamba"], ["--help"]])
def test_an_interrupt_is_one_line_in_any_command(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Interrupting())
    assert run(command) == 130
    assert capsys.readouterr().err == "star: interrupted\n"


@pytest.mark.parametrize("command", ["genomes", "genes", "genomes --json", "genes --markdown"])
def test_a_reader_that_leaves_is_no_error(command):
    code, out, err = shell(f"star {command} | head -c 1; exit ${{PIPESTATUS[0]}}")
    assert code == 0 and len(out) == 1 and err == ""


PATHS = [
    ("", HEAVY),
    ("--help", HEAVY),
    ("--version", HEAVY),
    ("inspect --help", HEAVY),
    ("inspect mamba", HEAVY),
    ("inspect nothing", HEAVY),
    ("compare mamba gconv", HEAVY),
    ("genes SA-3", HEAVY),
    ("genes", HEAVY),
    ("genomes", HEAVY),
    ("design --params 350M", HEAVY),
    ("export nothing --to x", HEAVY - {"pyarrow"}),
    ("report nothing", HEAVY - {"pyarrow"}),
    ("replay nothing", HEAVY - {"pyarrow"}),
    ("status nothing", HEAVY - {"pyarrow"}),
    ("front nothing", HEAVY - {"pyarrow"}),
]


@pytest.mark.parametrize(("command", "heavy"), PATHS, ids=[command for command, _ in PATHS])
def test_what_needs_no_heavy_library_loads_none(command, heavy):
    script = (
        "import sys; from star.cli import run; run(sys.argv[2:]); print(set(sys.argv[1].split()) & set(sys.modules))"
    )
    arguments = [sys.executable, "-c", script, " ".join(heavy), *command.split()]
    result = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.endswith("set()\n"), result.stdout[-300:] + result.stderr


class Terminal:
    """Standard output that is a terminal of 80 columns."""

    def __init__(self, stream):
        self._stream = stream

    def isatty(self):
        return True

    def __getattr__(self, name):
        return getattr(self._stream, name)


@pytest.fixture
def terminal(star, monkeypatch):
    def command(*arguments):
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(sys, "stdout", Terminal(sys.stdout))
        return star(*arguments)[1]

    return command


def test_tables_fit_a_terminal_and_hold_the_words_of_the_pipe(star, terminal, tmp_path):
    config = Settings(population=8, generations=1, slots=8, deck="extended", target="1b")
    run = write_run(tmp_path / "r", config, failing=0)
    commands = [
        ["genomes"],
        ["genes"],
        ["front", run.path.name],
        ["compare", "llama-3-8b", "qwen3-next-80b-a3b", "mamba", "gconv", "mixtral-8x22b-v0.1"],
        ["compare", "mamba", "gconv", "--scale", "1b"],
        ["compare", "mamba", "-".join(["31243-91111-71111"] * 8), "-".join(["11111-91111"] * 12)],
        ["inspect", "deepseek-v3-671b"],
        ["inspect", "21211-31112-21221-32112-31114-31114-21211-91212-91212"],
        ["genes", "SA-3"],
        ["status", run.path.name],
    ]
    os.chdir(tmp_path)
    for arguments in commands:
        piped = star(*arguments)[1]
        shown = terminal(*arguments)
        assert all(len(line) <= 80 for line in shown.splitlines()), arguments
        joined = "".join(map(str.strip, shown.splitlines()))  # a genome is broken behind its hyphens
        assert all(word in shown.split() or len(word) > 60 and word in joined for word in piped.split()), arguments


def test_catalogue_rows_stay_whole_in_a_pipe(star):
    lines = star("genomes")[1].splitlines()
    for name in catalogue.names():
        named = catalogue.load(name)
        assert any(line.startswith(f"{name} ") and line.endswith(f"{named.title}; {named.citation}") for line in lines)


def test_the_list_of_genes_is_for_people_and_its_page_for_the_file(star):
    assert "This page is the output of" not in star("genes")[1]
    assert "This page is the output of" in star("genes", "--markdown")[1]


@pytest.mark.parametrize(("words", "index", "found"), [("star ins", 1, "inspect"), ("star inspect --sc", 2, "--scale")])
def test_a_shell_completes_commands_and_options(words, index, found):
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(index), "_STAR_COMPLETE": "complete_bash"}
    assert shell("star", **environment) == (0, f"{found}\n".encode(), "")


def test_completion_can_be_shown_and_installed(tmp_path):
    code, out, _ = shell("star --show-completion", HOME=str(tmp_path), SHELL="/bin/bash")
    assert code == 0 and b"complete -o default -F _star_completion star" in out
    assert shell("star --install-completion", HOME=str(tmp_path))[0] == 0
    assert list(tmp_path.rglob("star.sh"))
