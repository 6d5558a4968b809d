"""Tables of runs: what is read, and the one sentence for each mistake in them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.laws import draw_runs

from star.errors import UserError
from star.laws.published import BESIROGLU
from star.laws.table import MOST_BYTES, Reading, read_csv, read_runs
from star.storage.columns import read_columns


def columns(**changed):
    """The columns of twelve right runs as texts, some replaced; None takes one away."""
    runs = draw_runs(BESIROGLU, 12)
    right = {name: [repr(float(one)) for one in getattr(runs, name)] for name in ("params", "tokens", "loss")}
    return {name: cells for name, cells in (right | changed).items() if cells is not None}


def edited(name, row, text):
    cells = list(columns()[name])
    cells[row] = text
    return {name: cells}


def scaled(name, factor):
    return {name: [repr(float(one) * factor) for one in columns()[name]]}


def test_a_table_as_written():
    runs = draw_runs(BESIROGLU, 12)
    read = read_runs(columns(), Reading())
    for name in ("params", "tokens", "loss"):
        assert (getattr(read, name) == getattr(runs, name)).all()
    assert read.convention == "total" and read.flops is None
    assert read.budgets == pytest.approx(6 * runs.params * runs.tokens)


def test_tokens_follow_from_flops():
    right = columns()
    flops = 6 * np.array(list(map(float, right["params"]))) * np.array(list(map(float, right["tokens"])))
    read = read_runs(columns(tokens=None, flops=list(flops)), Reading())
    assert read.tokens == pytest.approx(list(map(float, right["tokens"])))
    assert (read.budgets == flops).all()
    active = [float(one) / 4 for one in right["params"]]
    mixture = read_runs(columns(tokens=None, flops=list(flops), active_params=active), Reading())
    assert mixture.tokens == pytest.approx(4 * read.tokens), "one token costs what its parameters cost"


def test_columns_of_other_names_and_one_architecture_of_several():
    right = columns()
    odd = {"N": right["params"], "D": right["tokens"], "val": right["loss"], "kind": ["a", "b", "b"] * 4}
    reading = Reading(columns={"params": "N", "tokens": "D", "loss": "val", "architecture": "kind"}, architecture="b")
    read = read_runs(odd, reading)
    assert len(read) == 8 and read.loss[0] == float(right["loss"][1])


@pytest.mark.parametrize(
    ("changed", "reading", "words"),
    [
        ({"params": None}, {}, "there is no column 'params'; choose from loss, tokens; --column params=... names it"),
        ({"tokens": None, "n_tokens": columns()["tokens"]}, {}, "no column 'tokens'; did you mean 'n_tokens'?"),
        ({}, {"columns": {"loss": "val_loss"}}, "no column 'val_loss'; did you mean 'loss'?"),
        ({}, {"columns": {"lss": "loss"}}, "no column 'lss' to name; did you mean 'loss'?"),
        (edited("loss", 4, "-2.5"), {}, "loss in row 5 is -2.5: it must be above 0"),
        (edited("loss", 4, "nan"), {}, "loss in row 5 is nan"),
        (edited("tokens", 0, "inf"), {}, "tokens in row 1 is inf"),
        (edited("tokens", 0, ""), {}, "tokens in row 1 is '', which is no number"),
        (edited("params", 11, "7B"), {}, "params in row 12 is '7B', which is no number"),
        (edited("params", 11, None), {}, "params in row 12 is 'None', which is no number"),
        (scaled("tokens", 1e-9), {}, "tokens look like millions or billions"),
        (scaled("params", 1e-9), {}, "params look like millions or billions, because the largest is"),
        (scaled("params", 1e-6), {}, "params look like thousands or millions: the median run has"),
        (
            scaled("tokens", 1e-6),
            {},
            "fewer tokens than params: the two columns may be swapped, or tokens be in millions",
        ),
        ({"params": columns()["tokens"], "tokens": columns()["params"]}, {}, "the two columns may be swapped"),
        (edited("loss", 2, "17.2"), {}, "loss in row 3 is 17.2, above the 12.5 nats of a guess among 262,144 tokens"),
        ({"loss": None, "loss_bits": columns()["loss"]}, {"columns": {"loss": "loss_bits"}}, "'loss_bits' is in bits"),
        ({"flops": [1.0] * 12}, {}, "flops are .* times 6 params tokens in the median run"),
        ({"active_params": ["1e6"] * 11 + ["1e13"]}, {}, "active_params in row 12 are more than its params"),
        ({name: cells + cells[2:3] for name, cells in columns().items()}, {}, "rows 3 and 13 are the same run"),
        (
            {"params_convention": ["total", "non-embedding"] * 6},
            {},
            "mixes counts of parameters .non-embedding, total.",
        ),
        (
            {"params_convention": ["total"] * 12},
            {"convention": "non-embedding"},
            "counts total parameters, and --params-convention says non-embedding",
        ),
        (
            {},
            {"convention": "nonembedding"},
            "unknown count of parameters 'nonembedding'; did you mean 'non-embedding'",
        ),
        ({"architecture": ["a", "b"] * 6}, {}, "2 architectures .a, b.: choose one with --architecture"),
        ({"architecture": ["llama", "mamba"] * 6}, {"architecture": "lama"}, "did you mean 'llama'"),
        ({}, {"architecture": "llama"}, "no column 'architecture'"),
        ({name: [] for name in columns()}, {}, "the table has no rows"),
    ],
)
def test_a_mistake_is_one_sentence(changed, reading, words):
    with pytest.raises(UserError, match=words) as refused:
        read_runs(columns(**changed), Reading(**reading))
    assert "\n" not in str(refused.value)


def test_fewer_tokens_than_parameters_can_be_meant():
    few = columns(**scaled("tokens", 1e-3))
    with pytest.raises(UserError, match="--tokens-below-params"):
        read_runs(few, Reading())
    assert len(read_runs(few, Reading(tokens_below_params=True))) == 12


def test_equal_sizes_with_other_losses_are_no_duplicates():
    twice = {name: cells * 2 for name, cells in columns().items()}
    twice["loss"] = twice["loss"][:12] + [repr(float(one) + 0.01) for one in twice["loss"][12:]]
    assert len(read_runs(twice, Reading())) == 24


@pytest.mark.parametrize("convention", ["total", "non-embedding"])
def test_the_count_of_parameters_is_kept(convention):
    assert read_runs(columns(), Reading(convention=convention)).convention == convention
    assert read_runs(columns(params_convention=[convention] * 12), Reading()).convention == convention


def test_csv_and_parquet_hold_the_same(tmp_path):
    right = columns()
    text = "\n".join(",".join(row) for row in zip(*([name, *cells] for name, cells in right.items()), strict=True))
    (tmp_path / "t.csv").write_text("\ufeff" + text + "\n\n")
    numbers = {name: list(map(float, cells)) for name, cells in right.items()}
    pq.write_table(pa.table(numbers), tmp_path / "t.parquet")
    assert read_csv(tmp_path / "t.csv") == right
    assert read_columns(tmp_path / "t.parquet") == numbers


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"params,tokens\n1,2\n3\n", "row 2 has 1 cells, and the head has 2"),
        (b"loss,loss\n1,2\n", "two columns are called 'loss'"),
        (b"\xff\xfe\x00", "this is no CSV file"),
        (b'a,b\n"1,2\n', "this is no CSV file"),
        (b"PAR1" + b"," * (MOST_BYTES + 1), "at most 67,108,864 bytes"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_csv(tmp_path / "t.csv")


def test_a_file_that_is_not_there_or_no_parquet(tmp_path):
    for read in (read_csv, read_columns):
        with pytest.raises(UserError, match="t.none"):
            read(tmp_path / "t.none")
    (tmp_path / "t.parquet").write_text("params,tokens,loss\n")
    with pytest.raises(UserError, match="cannot read .* as Parquet"):
        read_columns(tmp_path / "t.parquet")
