"""What is said beside a price: published figures, how deep a pattern is repeated, proxies, contexts, misses."""

import json

import pytest
from support.fake_run import write_run
from support.paths import ROOT

from star.architecture import catalogue
from star.architecture.genome import canonical, tile, to_text
from star.run.settings import Settings


def model_file(path, name, *changes):
    """A copy of a model of the catalogue with some of its lines changed."""
    text = next((ROOT / "genomes").rglob(f"{name}.toml")).read_text()
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text)
    return path


def inspected(star, *arguments):
    code, out, err = star("inspect", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out), star("inspect", *arguments)[1]


def test_published_figures_that_are_counted_are_said_to_be_the_same(star):
    record, text = inspected(star, "llama-3-8b")
    figures = catalogue.load("llama-3-8b").published
    assert record["published"] == {name: {"published": value, "counted": value} for name, value in figures.items()}
    assert "published figures are the same: params, active_params" in text


def test_a_published_figure_that_differs_is_told_with_both_numbers(star, tmp_path):
    wrong = model_file(tmp_path / "x.toml", "llama-3-8b", ("\nparams = 8_030_261_248", "\nparams = 8_000_000_000"))
    record, text = inspected(star, wrong)
    assert record["published"]["params"] == {"published": 8_000_000_000, "counted": 8_030_261_248}
    assert "published params is 8,000,000,000, but 8,030,261,248 are counted (+0.38%)" in text
    assert text.count("published") == 1, "the other figures are as counted"


def test_published_figures_do_not_depend_on_what_is_priced(star):
    one, other = (inspected(star, "mamba-130m", *options)[0] for options in ([], ["--context", 9, "--dtype", "fp8"]))
    assert one["published"] == other["published"] is not None
    assert one["cache_bytes"] != other["cache_bytes"]


@pytest.mark.parametrize("options", [["--scale", "1b"], ["--window", "100"]])
def test_other_sizes_than_the_published_have_no_published_figures(star, options):
    record, text = inspected(star, "mistral-7b", *options)
    assert record["published"] is None and "published" not in text


@pytest.mark.parametrize(
    ("name", "scale", "note"),
    [
        ("lfm2-like", "micro", "the first 12 of its 32 slots are priced, as many as scale micro has"),
        ("lfm2-like", "1b", "its 32 slots are repeated to the 48 of scale 1b, the last repeat cut off"),
        ("striped-mamba", "nano", "the first 8 of its 12 slots are priced"),
        ("striped-mamba", "1b", ""),
        ("gemma-3-4b", "1b", "the first 48 of its 68 slots are priced"),
        ("llama-3-8b", "nano", ""),
    ],
)
def test_a_pattern_that_does_not_divide_a_scale_is_told(star, name, scale, note):
    record, text = inspected(star, name, "--scale", scale)
    compared = star("compare", "mamba", name, "--scale", scale)[1]
    assert len(record["notes"]) == bool(note)
    assert note in " ".join(record["notes"]) and f"note: {note}" * bool(note) in text
    assert ("note: " in compared) == bool(note) and f"note: {name}: {note}" * bool(note) in compared


def test_a_text_is_priced_as_it_is_written(star):
    assert inspected(star, "11111-91111-91111", "--scale", "nano")[0]["notes"] == []


def test_slots_count_from_one_for_people_and_from_zero_in_json(star):
    record, text = inspected(star, "21211-31112-21221-32112")
    assert [(layer["slot"], layer["shares_with"]) for layer in record["layers"]] == [
        (0, []),
        (1, []),
        (2, [0]),
        (3, [1]),
    ]
    rows = text.split("\n\n")[1].splitlines()
    assert [row.split()[0] for row in rows[1:5]] == ["1", "2", "3", "4"]
    assert "count from 0" in " ".join(star("inspect", "--help")[1].replace("│", " ").split())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs")
    settings = Settings(population=6, generations=1, slots=8)
    return {
        "nano": write_run(path / "nano", settings, failing=0),
        "1b": write_run(path / "1b", Settings(population=6, generations=1, target="1b"), failing=0),
    }


def member_of(run):
    individual = run.latest_generation().front[0]
    return f"{run.path}:{individual.id}", individual


def test_an_individual_is_inspected_with_what_its_run_measured(star, runs):
    name, individual = member_of(runs["nano"])
    record, text = inspected(star, name)
    assert (record["objectives"], record["trained_at"]) == (individual.objectives, "nano")
    assert f"{individual.objectives['quality_bpb']:.4f} bits/byte, measured on this model" in text
    assert inspected(star, "mamba")[0]["objectives"] is None


@pytest.mark.parametrize("arguments", [["nano", "--scale", "1b"], ["nano", "--scale", "micro"], ["1b"]])
def test_a_quality_beside_costs_at_another_size_is_that_of_a_proxy(star, runs, arguments):
    name, individual = member_of(runs[arguments[0]])
    quality = f"{individual.objectives['quality_bpb']:.4f}"
    for command in ("inspect", "compare"):
        (line,) = [line for line in star(command, name, *arguments[1:])[1].splitlines() if quality in line]
        assert "proxy at nano" in line
    (one,) = json.loads(star("compare", name, *arguments[1:], "--json")[1])
    assert one["trained_at"] == "nano" and one["objectives"] == individual.objectives


@pytest.mark.parametrize("options", [[], ["--scale", "nano"], ["--context", "1000"], ["--dtype", "fp8"]])
def test_a_quality_beside_its_own_costs_needs_no_such_words(star, runs, options):
    name, _ = member_of(runs["nano"])
    assert "proxy" not in star("compare", name, *options)[1]


def test_the_front_of_a_run_priced_elsewhere_is_of_proxies(star, runs):
    assert "bits/byte, proxy at nano" in star("front", runs["1b"].path)[1].splitlines()[0]
    assert "proxy" not in star("front", runs["nano"].path)[1]


def test_an_individual_repeated_to_a_scale_that_it_does_not_divide_says_so(star, runs):
    name, individual = member_of(runs["nano"])
    record, _ = inspected(star, name, "--scale", "micro")
    assert record["notes"] == ["its 8 slots are repeated to the 12 of scale micro, the last repeat cut off"]
    assert record["genome"] == to_text(tile(canonical(individual.genome), 12))


def test_models_whose_positions_end_are_left_out_and_shorter_contexts_marked(star):
    everything = json.loads(star("genomes", "--json")[1])
    listed = json.loads(star("genomes", "--context", 32_768, "--json")[1])
    learned = {
        name
        for name in catalogue.names()
        if (scale := catalogue.load(name).scale) and scale.dims.style.positions == "learned"
    }
    assert {one["name"] for one in everything} - {one["name"] for one in listed} == learned >= {"gpt-2-124m"}
    lengths = {name: scale.dims.seq_len for name in catalogue.names() if (scale := catalogue.load(name).scale)}
    assert {one["name"]: one["published_context"] for one in listed} == {
        one["name"]: lengths.get(one["name"]) for one in listed
    }
    rows = {line.split()[0]: line for line in star("genomes", "--context", 32_768)[1].splitlines() if line}
    for one in listed:
        assert ("32,768*" in rows[one["name"]]) == (lengths.get(one["name"], 32_768) < 32_768), one["name"]
    text = star("genomes", "--context", 32_768, "--max-memory", "20GB")[1]
    assert "gpt-2-124m" not in text and "* longer than the context that the model was published with" in text
    priced = json.loads(star("compare", *learned, "--context", 32_768, "--json")[1])
    fitting = sum(one["memory_bytes"] <= 2e10 for one in priced)
    assert f"{fitting} models left out: their learned positions end before 32,768 tokens" in text
    assert "*" not in star("genomes")[1] and "left out" not in star("genomes")[1]


@pytest.mark.parametrize(
    ("target", "far"), [("1.2B", True), ("350M", True), ("70B", True), ("100B", False), ("1T", False)]
)
def test_a_rule_that_misses_the_target_says_so(star, target, far):
    record = json.loads(star("design", "--params", target, "--rule", "legacy", "--json")[1])
    _, out, err = star("design", "--params", target, "--rule", "legacy")
    assert far == (abs(record["error"]) > 0.1)
    assert (f"warning: rule legacy misses the target by {record['error']:+.0%}: " in out + err) == far
    assert ("no genome file is written, because this model cannot be built: " in out) == (record["file"] is None)
    _, out, err = star("design", "--params", target)
    assert "warning" not in out + err


def test_status_tells_what_a_run_does(star, runs):
    run = runs["1b"]
    found = json.loads(star("status", run.path, "--json")[1])
    text = {line[:22].strip(): line[22:] for line in star("status", run.path)[1].splitlines()}
    assert (found["objectives"], found["corpus"]) == (["quality", "params", "cache"], ["stdlib"])
    assert (found["scale"], found["target"], found["algorithm"], found["mode"]) == (
        "nano",
        "1b",
        "nsga2",
        "generations",
    )
    assert (text["objectives"], text["corpus"]) == ("quality, params, cache", "stdlib")
    assert text["tokens a proxy"].replace(",", "") == str(found["tokens"]) and text["rungs"] == str(found["rungs"])
    assert text["stopped early"] == "0" and "stopped" in found and "rejected" not in text
