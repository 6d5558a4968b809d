"""Specialised code of random models: what the models compute, and nothing that does not run."""

import ast
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from support.exported import check_file
from support.strategies import scaled_genomes

from star.architecture.genome import DECK, Space, decode, parse, to_text
from star.architecture.spec import BackboneConfig, Dimensions, ModelSpec
from star.architecture.structures import specify
from star.export.specialise.evaluator import Evaluator
from star.export.specialise.merge import _merge_blocks
from star.export.specialise.statements import Frame
from star.export.specialise.values import Known, Unknown, Unsupported
from star.export.specialise.writer import Writer

DIMS = Dimensions(d_model=32, head_dim=8, vocab_size=256, seq_len=48)
SHARING = "{0}1212-{0}1212-{0}1113-{0}1113"  # in pairs, weights and features
# Statements that a model may have for sizes that these are not.
RARE = ("kept[:, self.position:end] = new", "history = kept[:, :end]", "mask = None")


def evolved(space, rng):
    """A genome far from those that a search begins with."""
    genome = space.sample(rng)
    for _ in range(5):
        genome = space.repair(space.mutate(genome, rng))
    return genome


def check_random(count, seed, num_slots, folder):
    rng = np.random.default_rng(seed)
    for i in range(count):
        space = (Space(num_slots), Space(num_slots, "extended"), Space(num_slots, "extended", "all"))[i % 3]
        genome = evolved(space, rng)
        assert not check_file(ModelSpec(decode(genome), DIMS), folder).idle(), to_text(genome)


def test_random_models(tmp_path):
    check_random(6, 0, 4, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_two_thousand_random_models(seed, tmp_path):
    check_random(100, seed + 1, 8, tmp_path)


@pytest.mark.parametrize("number", [1, 5, 8, 9, 11, 21, 23, 25, 29, 33])
def test_operators_that_share(number, tmp_path):
    assert not check_file(ModelSpec(decode(parse(SHARING.format(number))), DIMS), tmp_path).idle()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["{0}1111-91111", SHARING])
@pytest.mark.parametrize("number", DECK)
def test_every_operator(number, form, tmp_path):
    assert not check_file(ModelSpec(decode(parse(form.format(number))), DIMS), tmp_path).idle()


def test_a_model_with_a_style(tmp_path):
    style = BackboneConfig(norm="layer", norm_bias=True, positions="learned", parallel=(2,), tied=False, head_bias=True)
    genome = parse("11111-371111-11111-371111")
    assert not check_file(specify(decode(genome), replace(DIMS, style=style)), tmp_path).idle()


@pytest.mark.slow
@settings(max_examples=300)
@given(scaled_genomes(DIMS))
def test_models_of_any_style(tmp_path_factory, scaled):
    genome, dims = scaled
    check_file(specify(decode(genome), dims), tmp_path_factory.mktemp("file"))


def evaluate(text, **scope):
    """What is left of a function's body whose arguments are known or not."""
    evaluator = Evaluator(DIMS, {}, {"has_parts": False, "has_owners": False, "has_shifts": False}, set())
    writer = Writer(None)
    frame = Frame(evaluator.program.module("star.model.ops.rotary"), writer, scope, is_written=True)
    result = evaluator.run(ast.parse(text).body, frame)
    return evaluator, writer.block, result


def test_what_is_known_is_folded():
    x = Unknown(ast.Name("x"))
    evaluator, block, result = evaluate("if n > 2:\n    y = x * n\nelse:\n    y = x\nreturn y + n", n=Known(1), x=x)
    assert not block and ast.unparse(evaluator.to_expr(result)) == "x + 1"


def test_both_ways_of_a_condition_that_is_not_known_are_kept():
    x = Unknown(ast.Name("x"))
    _, block, _ = evaluate("y = 1\nif x:\n    y = x\nreturn y", x=x)
    (condition,) = block
    assert isinstance(condition, ast.If) and condition.body and condition.orelse


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    y = x\nexcept ValueError:\n    y = 1",
        "while x:\n    x = x - 1",
        "for i in x:\n    return i",
        "for i in (1, 2):\n    if x:\n        return i",
        "found = []\nif x:\n    found_too = found\n    found_too.append(1)",
        "del x",
        "y = yield x",
        "y = await_of[x]",
    ],
)
def test_python_that_is_not_understood_is_refused(text):
    with pytest.raises(Unsupported):
        evaluate(text, x=Unknown(ast.Name("x")))


def test_variants_are_merged_where_a_flag_tells_them_apart():
    first, second = ast.parse("a = 1\nb = 2\nc = 3").body, ast.parse("a = 1\nd = 4\nc = 3").body
    merged = _merge_blocks([first, second], {"flag": [True, False]})
    assert ast.unparse(ast.Module(merged, [])).count("if ") == 1
    assert _merge_blocks([first, second], {"flag": [True, True]}) is None


def test_a_seed_gives_the_weights_of_the_model(tmp_path):
    torch.manual_seed(0)
    check_file(ModelSpec(decode(parse("51111-91111-301111")), DIMS), tmp_path)
