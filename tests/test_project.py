"""The project's own promises: who may import whom, pages made from tables, files and commands that exist."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.paths import ROOT, TESTS

from star.cli.command import app
from star.cli.genes import genes_markdown
from star.run.plan import plan_run
from star.run.settings import from_toml

PAGES = [
    one
    for one in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/**/*.md"))
    if one.name not in ("log.md", "CHANGELOG.md")
]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.toml"))


def test_imports_go_downwards_and_libraries_stay_in_their_rooms():
    checker = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([checker, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_longest_test_files_are_there():
    """One that was renamed would begin last again, and a single process would end long after the others."""
    conftest = ast.parse((TESTS / "conftest.py").read_text())
    (longest,) = (
        ast.literal_eval(one.value)
        for one in conftest.body
        if isinstance(one, ast.Assign) and one.targets[0].id == "LONGEST"
    )
    assert len(set(longest)) == len(longest) > 10
    assert [name for name in longest if not (TESTS / name).is_file()] == []


def test_the_page_of_genes_is_the_table_of_genes():
    assert (ROOT / "docs" / "genes.md").read_text() == genes_markdown(), "run: star genes --markdown > docs/genes.md"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_is_a_whole_run(path):
    plan_run(from_toml(path.read_text()))
    assert f"`{path.name}`" in (ROOT / "experiments" / "README.md").read_text()


def test_the_papers_three_objective_sets_are_there():
    found = {from_toml(path.read_text()).objectives for path in EXPERIMENTS if path.stem.startswith("quality")}
    assert found == {("quality",), ("quality", "params"), ("quality", "cache")}


def _targets():
    return set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_the_page_exists(page):
    text = page.read_text()
    made = set(re.findall(r"^    make ([a-z-]+)|`make ([a-z-]+)`", text, re.MULTILINE))
    assert {one or other for one, other in made} <= _targets()
    commands = {command.name or command.callback.__name__: command.callback for command in app.registered_commands}
    for group in app.registered_groups:
        inside = group.typer_instance.registered_commands
        commands |= {f"{group.typer_instance.info.name} {one.callback.__name__}": one.callback for one in inside}
    name = r"(?:corpus|laws) [a-z]+|[a-z]+"
    spoken = re.findall(rf"^    star ({name})([^#\n]*)|`star ({name})([^`]*)`", text, re.MULTILINE)
    for name, rest in ((a or c, b or d) for a, b, c, d in spoken):
        assert name in commands
        options = {option[2:].replace("-", "_") for option in re.findall(r"--[a-z-]+", rest)}
        assert options <= set(commands[name].__annotations__) | {"help"}, (name, options)
    assert made or spoken or page.is_relative_to(ROOT / "docs"), "a page of commands"


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    pages = {str(one.parent.relative_to(tmp_path / "site")) for one in (tmp_path / "site").rglob("index.html")}
    sources = {one.relative_to(ROOT / "docs").with_suffix("") for one in ROOT.glob("docs/**/*.md")}
    assert {str(one.parent if one.name in ("index", "README") else one) for one in sources} <= pages
    reference = (tmp_path / "site" / "commands" / "index.html").read_text()
    assert all(f"star {name}" in reference for name in ("evolve", "export", "laws fit", "corpus build"))
    for page in (tmp_path / "site").rglob("index.html"):
        tags = re.findall(r"<(?:link|script|img|iframe)[^>]+>", page.read_text())
        assert tags and not [tag for tag in tags if re.search(r'(?:src|href)="?(?:https?:)?//', tag)], page


def test_the_packages_that_the_project_names_are_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    pinned = re.findall(r"^([a-z0-9-]+)==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert {re.match(r"[a-z0-9-]+", name)[0] for name in wanted} <= set(pinned)
    assert "+" not in (ROOT / "constraints.txt").read_text()


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
