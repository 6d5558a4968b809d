"""Architectures side by side: costs agree with inspect, sizes are their own or common, runs bring their quality. And
how deep backbones are folded."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_run import write_run

from star.architecture import catalogue
from star.architecture.genome import decode, parse, tile, to_text
from star.cli.drawing import Fold, draw, fold
from star.cost.cost import price
from star.cost.design import design, to_toml
from star.run.settings import Settings
from star.storage.run_directory import RunDirectory

TEXT = "11111-91111"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "one", Settings(population=8, generations=1, slots=4))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "large.toml"
    path.write_text(to_toml(design(8e9)), encoding="utf-8")
    return path


def compared(star, *arguments):
    code, out, err = star("compare", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_costs_are_those_of_inspect(star, large):
    options = ("--scale", "125m", "--context", 1000)
    for name, one in zip(
        ("mamba", large, TEXT), compared(star, "mamba", large, TEXT, *options, "--batch", 3), strict=True
    ):
        told = json.loads(star("inspect", name, *options, "--json")[1])
        for key in ("genome", "scale", "context", "params", "active_params", "embedding_params", "cache_bytes"):
            assert one[key] == told[key]
        assert one["cache_bytes_per_token"] == told["cache_bytes_per_token"]
        assert one["flops_per_token"] == told["flops_per_token"]
        assert one["architecture"] == str(name) and one["objectives"] is None
        assert one["memory_bytes"] == 2 * one["params"] + 3 * one["cache_bytes"]
        assert one["slots"] == (2 if name == TEXT else 24)


def test_without_a_scale_each_has_its_own_sizes_or_those_of_nano(star, large):
    own, small = compared(star, large, "mamba")
    scale = catalogue.load(large).scale
    assert (own["scale"], own["context"], own["slots"]) == ("large", 8192, scale.num_slots)
    assert own["params"] == design(8e9).params
    assert (small["scale"], small["context"], small["slots"]) == ("nano", 128, 8)
    text = star("compare", large, "mamba")[1]
    assert "scale" in text.splitlines()[0] and "8,192" in text and " nano " in text
    text = star("compare", large, "mamba", "--scale", "micro")[1]
    assert "scale" not in text.splitlines()[0] and "scale micro, 256 tokens, batch 1, bf16" in text


def test_the_sizes_of_a_file_serve_all(star, large):
    entries = compared(star, large, "gqa-transformer", "--scale", large)
    assert {one["scale"] for one in entries} == {"large"} and len({one["slots"] for one in entries}) == 1


@pytest.mark.parametrize(("dtype", "width"), [("bf16", 2), ("fp8", 1), ("int4", 0.5)])
def test_weights_and_cache_take_the_bytes_of_their_type(star, dtype, width):
    (one,) = compared(star, "transformer-pp", "--scale", "125m", "--dtype", dtype, "--batch", 5)
    cost = price(decode(catalogue.load("transformer-pp").at(24)), catalogue.find_scale("125m").dims)
    assert one["cache_bytes"] == cost.cache_bytes * width / 2
    assert one["memory_bytes"] == cost.params * width + 5 * one["cache_bytes"]
    assert (one["dtype"], one["batch"]) == (dtype, 5)


def test_an_individual_brings_what_its_run_measured(star, run):
    kept = RunDirectory(run.path).open().latest_generation().individuals
    individual = next(one for one in kept if one.objectives)
    found, plain = compared(star, f"{run.path}:{individual.id}", "mamba")
    assert found["objectives"] == individual.objectives and found["genome"] == to_text(individual.genome)
    assert plain["objectives"] is None
    lines = star("compare", f"{run.path}:{individual.id}", "mamba")[1].splitlines()
    assert lines[0].split()[-1] == "bits/byte"
    assert lines[1].split()[-1] == f"{individual.objectives['quality_bpb']:.4f}" and lines[2].split()[-1] == "-"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", ["architectures", "star compare --help"]),
        ("mamba transfomer-pp", ["did you mean 'transformer-pp'?"]),
        ("mamba 2111", ["slot 1 ('2111')"]),
        ("mamba no/such.toml", ["no/such.toml", "No such file"]),
        ("mamba no/such/run:3", ["no/such/run", "not a run"]),
        ("mamba --scale mikro", ["did you mean 'micro'?"]),
        ("mamba --dtype fp9", ["unknown dtype 'fp9'", "did you mean 'fp8'?"]),
        ("mamba --batch 0", ["--batch"]),
        ("mamba --context 0", ["--context"]),
    ],
)
def test_a_wrong_comparison_is_one_line(refused, options, words):
    refused(["compare", *options.split()], *words)


def test_an_individual_that_is_not_there(refused, run):
    refused(["compare", f"{run.path}:99999"], "keeps no individual 99999")


def test_what_cannot_be_built_at_the_scale_is_named(refused, tmp_path):
    path = tmp_path / "one-head.toml"
    sizes = "slots = 2\nd_model = 8\nhead_dim = 8\nvocab_size = 256\nseq_len = 64\n"
    path.write_text(f'title = "x"\ncitation = "y"\ngenome = "11111"\n\n[scale]\n{sizes}', encoding="utf-8")
    refused(["compare", "mamba", "gqa-transformer", "--scale", path], "gqa-transformer at scale one-head: SA-3")


def slots_of(text, count):
    return decode(tile(parse(text), count))


@pytest.mark.parametrize(
    ("text", "count", "folded"),
    [
        (TEXT, 252, [(0, 2, 126)]),
        (TEXT, 5, [(0, 2, 2), (4, 1, 1)]),
        ("11111", 7, [(0, 1, 7)]),
        ("11111-91111-11111-91111-51111-91111", 12, [(0, 6, 2)]),
        ("11111-91111-11111-91111-51111-91111", 7, [(0, 2, 2), (4, 1, 1), (5, 1, 1), (6, 1, 1)]),
        ("21211-31112-21221-32112", 12, [(0, 4, 3)]),  # the pattern shares within itself
        ("11214-91111-11214-91111", 4, [(0, 1, 1), (1, 1, 1), (2, 1, 1), (3, 1, 1)]),  # its halves share
        ("11214-91111-11214-91111", 12, [(0, 4, 3)]),
        ("11214-91111-91111-11214", 4, [(0, 1, 1), (1, 1, 2), (3, 1, 1)]),  # what lies between slots that share
        ("01111", 3, []),
    ],
)
def test_folding(text, count, folded):
    assert fold(slots_of(text, count)) == [Fold(*one) for one in folded]


def test_a_copy_that_a_later_slot_shares_with_stays_unfolded():
    """The third slot reuses keys and values of the second: the first two are alike, but not in what they give."""
    slots = decode(parse("11111-11114-11114-91111-91111"))
    assert [slot.features_from[1] for slot in slots[:3]] == [0, 1, 1]
    assert fold(slots) == [Fold(0, 1, 1), Fold(1, 1, 1), Fold(2, 1, 1), Fold(3, 1, 2)]


def relations(slots, first, end):
    """Class and sharing of slots, counted from the first of them; None if they share beyond."""
    within = [
        (slot.class_id, [j - first for j in (*slot.weights_from, *slot.features_from)]) for slot in slots[first:end]
    ]
    outside = [
        j for i, slot in enumerate(slots) if not first <= i < end for j in (*slot.weights_from, *slot.features_from)
    ]
    closed = all(j >= 0 for _, shared in within for j in shared) and not any(first <= j < end for j in outside)
    return within if closed else None


def fewest_lines(slots):
    """By trying every pattern from the end on."""
    best = [0] * (len(slots) + 1)
    for i in reversed(range(len(slots))):
        best[i] = 1 + best[i + 1]
        for length in range(1, (len(slots) - i) // 2 + 1):
            pattern, repeats = relations(slots, i, i + length), 1
            if pattern is None:
                continue
            while (end := i + (repeats + 1) * length) <= len(slots) and relations(slots, end - length, end) == pattern:
                repeats += 1
            if repeats > 1:
                best[i] = min(best[i], length + best[i + repeats * length])
    return best[0]


@given(
    st.lists(st.sampled_from(["11111", "11214", "11112", "91111", "91211"]), min_size=1, max_size=8), st.integers(1, 14)
)
def test_every_fold_is_a_repetition_and_no_line_is_spare(words, count):
    slots = slots_of("-".join(words), count)
    folded = fold(slots)
    assert [one.end for one in folded] == [one.first for one in folded[1:]] + [len(slots)] and folded[0].first == 0
    for one in folded:
        copies = [relations(slots, i, i + one.length) for i in range(one.first, one.end, one.length)]
        assert one.repeats == 1 or (copies[0] is not None and all(copy == copies[0] for copy in copies))
        assert one.repeats > 1 or one.length == 1
    assert sum(one.length for one in folded) == fewest_lines(slots)


def test_a_drawing_of_some_slots_leaves_out_the_columns_of_others():
    slots = slots_of("11214-91111-11214", 9)
    shown = [i for one in fold(slots) for i in range(one.first, one.first + one.length)]
    assert shown == [0, 1, 2]
    assert [draw(slots, shown)[i] for i in shown] == draw(slots[:3])
    assert max(map(len, draw(slots))) > max(map(len, draw(slots, shown)))


def test_an_individual_is_priced_where_its_run_counted_it(star, tmp_path):
    """Params, cache and memory of the front, again: at the target's depth, context, batch and number format."""
    config = Settings(
        population=6, generations=1, scale="nano", target="125m", context=3000, batch=3, dtype="fp8", tokens=2048
    )
    run = write_run(tmp_path / "run", config, failing=0)
    front = json.loads(star("front", run.path, "--json")[1])
    for row in front:
        found = json.loads(star("inspect", f"{run.path}:{row['id']}", "--json")[1])
        assert (found["scale"], found["context"], found["batch"], found["dtype"]) == ("125m", 3000, 3, "fp8")
        (beside,) = json.loads(star("compare", f"{run.path}:{row['id']}", "--json")[1])
        for one in (found, beside):
            assert (one["params"], one["cache_bytes"]) == (row["params"], row["cache_bytes"])
            assert one["memory_bytes"] == row["memory_bytes"]
        (elsewhere,) = json.loads(star("compare", f"{run.path}:{row['id']}", "--scale", "1b", "--json")[1])
        assert elsewhere["params"] > 5 * row["params"] and elsewhere["context"] == 4096
