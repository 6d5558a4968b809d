"""Reports: rows of the front, axes, the page and the picture."""

import json
import operator
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib.image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_run import write_run

from star.architecture.genome import CLASSES, DECKS, EMPTY, PAPER, class_name, decode, parse, to_text
from star.errors import UserError
from star.export.front import export_front
from star.options import to_toml
from star.records import STORE, Evaluation, Individual, Status, Task
from star.report.axes import GENERATIONS, Axis, axis_over, human, in_table
from star.report.figure import draw_front, make_figure
from star.report.front import front_rows
from star.report.history import read_history
from star.report.page import class_colors, render, write_report
from star.report.panels import make_panels, staircase
from star.report.text import describe_failures
from star.run.settings import Settings
from star.storage.run_directory import RunDirectory

CONFIG = Settings(population=16, generations=3, slots=5)
COLUMNS = ("quality_bpb", "params", "cache_bytes")
VOID = {"meta", "path", "circle", "polyline", "rect"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "a <b> & c", CONFIG, named=("transformer-pp", "mamba"))


@pytest.fixture(scope="module")
def history(run):
    return read_history(run)


class Page(HTMLParser):
    """Start tags with their attributes, and the text; fails on a tag that is closed out of order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.words, self._open = [], [], []
        self.feed(text)
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def having(self, tag, key, value):
        return [attrs for name, attrs in self.tags if name == tag and attrs.get(key) == value]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A run whose genomes have decks of their own."""
    config = replace(CONFIG, deck="extended", levels="all")
    return read_history(write_run(tmp_path_factory.mktemp("runs") / "own", config))


def test_rows_are_the_front_best_quality_first(run):
    generation = run.latest_generation()
    rows = front_rows(generation)
    everyone = [tuple(one.objectives[column] for column in COLUMNS) for one in generation.individuals if one.objectives]
    best = [a for a in everyone if not any(b != a and all(map(operator.le, b, a)) for b in everyone)]
    assert [tuple(row.objectives[column] for column in COLUMNS) for row in rows] == sorted(best)
    for row in rows:
        assert [slot.liv.name for slot in decode(parse(row.genome))] == list(row.classes)


def test_a_row_as_json_is_flat(run):
    row = front_rows(run.latest_generation())[0]
    read = json.loads(json.dumps(row.as_json()))
    assert set(read) == {"id", "genome", "hash", "generation", "parents", "classes", *COLUMNS}
    assert read["quality_bpb"] == row.objectives["quality_bpb"] and read["classes"] == list(row.classes)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "bytes", "0 B"),
        (999, "bytes", "999 B"),
        (16_384, "bytes", "16.4 kB"),
        (999_999, "bytes", "1 MB"),
        (2.5e9, "bytes", "2.5 GB"),
        (203_416, "parameters", "203k"),
        (1.25e9, "parameters", "1.25B"),
        (2.05344, "bits per byte", "2.053"),
        (-1500, "", "-1.5k"),
        (7, "", "7"),
    ],
)
def test_values_are_written_for_people(value, unit, text):
    assert human(value, unit) == text


def test_columns_of_fractions_line_up():
    assert [in_table(value, "") for value in (2.07, 1.6, 12.0, 203_416)] == ["2.070", "1.600", "12", "203k"]


@given(st.lists(st.floats(0, 1e12, allow_subnormal=False), max_size=20), st.sampled_from(["", "bytes", GENERATIONS]))
def test_axes_keep_order_and_have_readable_ticks(values, unit):
    axis = axis_over("x", unit, values)
    places = [axis.at(value) for value in sorted(values)]
    assert places == sorted(places) and all(axis.shows(value) for value in values)
    ticks = axis.ticks()
    assert len(ticks) <= 8
    assert [at for at, _ in ticks] == sorted({at for at, _ in ticks})
    assert all(-1e-6 <= at <= 1 + 1e-6 for at, _ in ticks)


def test_wide_axes_are_logarithmic_with_a_place_for_zero():
    axis = axis_over("cache", "bytes", [0.0, 1e3, 1e4, 1e5])
    zero, *rest = (axis.at(value) for value in (0.0, 1e3, 1e4, 1e5))
    assert 0 < zero < rest[0]
    assert rest[1] - rest[0] == pytest.approx(rest[2] - rest[1])
    assert [text for _, text in axis.ticks()][:2] == ["0 B", "1 kB"]


def test_narrow_axes_are_linear_with_round_ticks():
    axis = axis_over("quality", "", [2.04, 2.33])
    assert [text for _, text in axis.ticks()] == ["2.05", "2.1", "2.15", "2.2", "2.25", "2.3"]


def test_generations_have_no_fractions():
    axis = Axis("generation", GENERATIONS, -0.5, 3.5)
    assert [text for _, text in axis.ticks()] == ["0", "1", "2", "3"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_the_staircase_passes_below_every_point_through_the_best(points):
    corners = staircase(points)
    best = {a for a in points if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in points)}
    assert best == {corner for corner in corners if corner in points and corner in best}
    assert corners[::2] == sorted(best)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:], strict=False):
        assert (x0 <= x1 and y0 == y1) or (x0 == x1 and y0 >= y1)


def test_panels_show_every_pair_and_everyone(history):
    panels = make_panels(history)
    assert [(panel.x.title, panel.y.title) for panel in panels] == [
        (history.objectives[x].title, history.objectives[y].title) for x, y in ((1, 0), (2, 0), (2, 1))
    ]
    alive = [one for one in history.last.individuals if one.status is Status.OK]
    for panel in panels:
        assert {id for id, _ in [*panel.front, *panel.population]} == {one.id for one in alive}
        assert {title for title, _ in panel.baselines} == {"Transformer++", "Mamba-like recurrence"}
    by_id = dict(panels[0].front)
    ordered = sorted(history.front, key=lambda row: row.objectives["params"])
    assert [by_id[row.id][0] for row in ordered] == sorted(by_id[row.id][0] for row in ordered)


@pytest.mark.parametrize("name", ["history", "own"])
def test_page_is_whole_and_needs_no_network(name, request):
    history = request.getfixturevalue(name)
    text = render(history)
    page = Page(text)
    assert history.name in page.words and "<b>" not in text
    assert not re.search(r"https?:|src=|@import|url\(", text)
    assert not re.search(r"docs/|star/", text), "a reader of the page has no repository"
    for row in history.front:
        assert len(page.having("circle", "data-id", str(row.id))) == 3
        assert len(page.having("tr", "data-id", str(row.id))) == 1 and row.brief_genome in page.words
        assert len(page.having("code", "title", row.genome)) == (row.genome != row.brief_genome)
    (tips,) = (json.loads(word) for word in page.words if word.startswith("{"))
    for one in history.last.individuals:
        assert (one.status is not Status.OK) or to_text(one.genome) in tips[str(one.id)]


HOSTILE = "\x1b[31mred\u202eder\u200f\n<script>alert(1)</script>&'\"$_^$"
VISIBLE = "\\x1b[31mred\\u202eder\\u200f\\n<script>alert(1)</script>&'\"$_^$"
LEGEND = {
    "front": "front",
    "population": "rest of the last population",
    "others": "other proxies trained to the end",
    "baselines": "named architecture",
}


def with_settings(history, **changes):
    plan = replace(history.plan, settings=replace(history.plan.settings, **changes))
    return replace(history, plan=plan)


def test_names_show_what_they_hold(history):
    named = with_settings(replace(history, name=HOSTILE), corpus=(HOSTILE,))
    text = render(named)
    assert Page(text).words.count(VISIBLE) == 2 and "alert(1)</script>" not in text
    assert all(one.isprintable() for one in text.replace("\n", ""))
    assert make_figure(named).get_suptitle().startswith(VISIBLE)
    assert draw_front(named).startswith(b"\x89PNG")


def test_a_name_that_is_no_text_has_a_report(tmp_path):
    made = write_run(tmp_path / "run", replace(CONFIG, generations=0))
    run = RunDirectory(made.path.rename(tmp_path / "\udcff")).open()
    page, _ = write_report(run, tmp_path)
    assert "\\udcff" in Page(page.read_text()).words


def drawn(page):
    """The kinds of points of a page, by the classes of their shapes."""
    shapes = {attrs.get("class") for tag, attrs in page.tags if tag in ("circle", "path")}
    return ({"baselines"} if "baseline" in shapes else set()) | shapes & LEGEND.keys()


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("rest", [True, False])
def test_the_legends_hold_what_is_drawn(history, others, named, rest):
    last = history.last if rest else replace(history.last, individuals=history.last.front)
    baselines = history.baselines if named else {}
    shown = {one.hash for one in (*last.front, *last.individuals, *baselines.values())}
    trained = tuple(one for one in history.trained if others or one.hash in shown)
    history = replace(history, generations=(*history.generations[:-1], last), trained=trained, baselines=baselines)
    kinds = {"front": True, "population": rest, "others": others, "baselines": named}
    names = {LEGEND[kind] for kind, is_there in kinds.items() if is_there}
    page, figure = Page(render(history)), make_figure(history)
    assert {LEGEND[kind] for kind in drawn(page)} == names == set(page.words) & set(LEGEND.values())
    marked = {mark.get_label() for axes in figure.axes for mark in axes.collections if len(mark.get_offsets())}
    assert marked == names == {text.get_text() for text in figure.legends[0].get_texts()}


def test_a_proxy_that_stopped_early_is_not_drawn(tmp_path):
    run = write_run(tmp_path / "run", replace(CONFIG, generations=0, rungs=2), failing=0.0)
    first = run.latest_generation().front[0]
    stopped = Evaluation(hash="0" * 16, status=Status.STOPPED, objectives=first.objectives)
    with run.resume():
        run.append_evaluation(Task(genome=first.genome, hash=stopped.hash, seed=0), stopped)
    history = read_history(run)
    page = Page(render(history))
    assert history.stopped == 1 and drawn(page) == {"front", "population"}
    assert LEGEND["others"] not in page.words and "Proxies that stopped early are not shown." in "".join(page.words)


def test_the_head_tells_what_training_took(history):
    """100 tokens of a stopped proxy, 60,000 and 40,000 of whole ones, 9,000 that an earlier run paid for."""
    spent = [
        (Status.STOPPED, 100, "host:1"),
        (Status.OK, 60_000, "host:1"),
        (Status.DIVERGED, 40_000, "host:2"),
        (Status.OK, 9_000, STORE),
    ]
    values = history.trained[0].objectives
    trained = tuple(
        Evaluation(hash=f"{i:016x}", status=status, objectives=values, tokens=tokens, worker=worker)
        for i, (status, tokens, worker) in enumerate(spent)
    )
    raced = with_settings(replace(history, trained=trained), rungs=3, eta=4)
    words = [word for word in Page(render(raced)).words if word.strip()]
    expected = {
        "early stopping": "3 rungs, reduction factor 4",
        "stopped early": "1 of 4",
        "training tokens": "100k, 33.4k per proxy on average",
        "results of earlier runs": "1 of 4",
    }
    assert {name: words[words.index(name) + 1] for name in expected} == expected
    page = Page(render(with_settings(history, rungs=1)))
    assert "off" in page.words and "results of earlier runs" not in page.words


@pytest.mark.parametrize(("objectives", "is_explained"), [(("quality", "params"), True), (("quality",), False)])
def test_a_worsening_median_is_explained_where_it_can_happen(tmp_path, objectives, is_explained):
    text = render(read_history(write_run(tmp_path / "run", replace(CONFIG, objectives=objectives))))
    assert ("median of the population can get worse" in text) == is_explained
    assert "larger is better" in text and "reference point" in text


def test_seeds_are_told_as_seeds(tmp_path):
    """Of the first generation, one front member that the configuration names and one that it does not."""
    run = write_run(tmp_path / "run", replace(CONFIG, generations=0), weights=True)
    seed, sampled, *_ = run.latest_generation().front
    config = replace(CONFIG, generations=0, seed_genomes=(to_text(seed.genome),))
    (run.path / "run.toml").write_text(to_toml(config, {"star": "0.1.0", "corpus_digest": "c0ffee"}))
    page = Page(render(read_history(run.open())))
    assert page.words.count(f"as seed: {to_text(seed.genome)}") == 1
    assert page.words.count("by sampling") == len(run.latest_generation().front) - 1
    export_front(run, tmp_path / "export")
    heads = {one.id: (tmp_path / "export" / str(one.id) / "model.py").read_text() for one in (seed, sampled)}
    assert f"born in generation 0 as seed: {to_text(seed.genome)}\n" in heads[seed.id]
    assert "born in generation 0 by sampling\n" in heads[sampled.id]


def test_shares_of_classes_are_those_of_the_population(history):
    for generation, (number, counts) in zip(history.generations, history.kinds_by_generation(), strict=True):
        slots = Counter(CLASSES[gene].name for one in generation.individuals for gene in one.genome[::5])
        assert number == generation.number and {kind.name: count for kind, count in counts.items()} == slots


def test_operators_of_no_table_count_under_their_structure(own):
    for generation, (_, counts) in zip(own.generations, own.kinds_by_generation(), strict=True):
        livs = [slot.liv for one in generation.individuals for slot in decode(one.genome)]
        assert sum(counts.values()) == len(livs)
        new = Counter(f"other {liv.structure}" for liv in livs if "~" in liv.name)
        assert {kind.name: count for kind, count in counts.items() if kind.name.startswith("other ")} == new
    assert new, "nothing evolved"


def test_every_class_has_a_colour_of_its_own(history, own):
    colors = class_colors(history)
    assert set(colors) == {CLASSES[number].name for number in PAPER}
    assert len(set(colors.values())) == len(colors)
    colors = class_colors(own)
    named = {class_name(number) for number in DECKS["extended"] if number != EMPTY}
    assert set(colors) == named | {name for name in colors if "other" in name}
    assert len(set(colors.values())) == len(colors)


def test_a_long_genome_is_brief_in_a_table(own):
    deck, _, backbone = max((row.genome for row in own.front), key=len).partition("/")
    (row,) = (row for row in own.front if row.genome == f"{deck}/{backbone}")
    assert row.brief_genome == f"{len(deck.split('+'))} own/{backbone}"


def test_failures_are_told_as_shares():
    assert describe_failures({}, 0) == "none"
    text = "3 of 40 (7.5%): 2 diverged (5.0%), 1 timeout (2.5%)"
    assert describe_failures({"timeout": 1, "diverged": 2}, 40) == text


def test_report_is_written_beside_a_picture(run, tmp_path):
    page, picture = write_report(run, tmp_path / "some" / "where")
    assert page.read_text().startswith("<!doctype html>")
    assert page.stat().st_size < 1_000_000
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[0] > 300 < pixels.shape[1] and pixels.std() > 0.01


@pytest.mark.parametrize(
    ("config", "failing"),
    [
        (replace(CONFIG, objectives=("quality",)), 0.1),
        (replace(CONFIG, objectives=("params", "cache"), generations=0), 0.1),
        (replace(CONFIG, population=2, offspring=1, generations=1, slots=1), 0.0),
        (replace(CONFIG, target="1b"), 0.9),
        (replace(CONFIG, generations=1), 1.0),
    ],
)
def test_odd_runs_have_reports(tmp_path, config, failing):
    run = write_run(tmp_path / "run", config, failing=failing)
    page, picture = write_report(run, tmp_path)
    Page(page.read_text())
    assert matplotlib.image.imread(picture).shape[0] > 300
    front = front_rows(run.latest_generation())
    assert (len(front) == 0) == (failing == 1.0)


def test_a_run_without_a_generation_has_no_report(tmp_path):
    run = RunDirectory(tmp_path / "run").create(to_toml(CONFIG))
    with pytest.raises(UserError, match="nothing to report"):
        write_report(run, tmp_path)


def test_individuals_of_one_objective_sort_by_it():
    ones = [
        Individual(
            id=number,
            genome=(1, 1, 1, 1, 1),
            hash="0" * 16,
            generation=0,
            parents=(),
            status=Status.OK,
            objectives={"params": float(value)},
            rank=0,
            crowding=0.0,
        )
        for number, value in enumerate((3, 1, 2))
    ]
    assert [row.id for row in front_rows(SimpleNamespace(front=ones))] == [1, 2, 0]


def test_a_secret_in_the_name_of_a_corpus_is_not_published(tmp_path):
    run = write_run(tmp_path / "run", CONFIG, weights=True)
    text = (run.path / "run.toml").read_text().replace('"stdlib"', '"s3://KEY:TOPSECRET@bucket/books/?token=MYSTERY"')
    (run.path / "run.toml").write_text(text)
    assert "TOPSECRET" in text
    write_report(run, run.path)
    export_front(run, run.path / "export")
    published = [run.path / "report.html", *(run.path / "export").rglob("model.py")]
    assert len(published) > 1 and all("bucket/books" in path.read_text() for path in published)
    for path in (*published, *(run.path / "export").rglob("*.*")):
        assert path.is_dir() or not {b"TOPSECRET", b"MYSTERY"} & set(re.findall(rb"[A-Z]+", path.read_bytes()))
