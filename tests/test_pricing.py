"""Pricing a file of genomes equals pricing them one by one, and a bad file is one sentence."""

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star.cost import price
from star.genome import Space, canonical, decode, parse, to_text
from star.pricing import price_file
from star.scales import SCALES
from star.spec import UserError

SCALE = SCALES["125m"]
DECK_OF_ONE = parse("12123,1211,1211,1211/11111")


@pytest.fixture
def genomes():
    rng = np.random.default_rng(0)
    spaces = [Space(SCALE.num_slots), Space(7, "extended"), Space(4, "paper", "all")]
    return [canonical(spaces[i % 3].sample(rng)) for i in range(50)]


def _write(path, column, values):
    pq.write_table(pa.table({column: values}), path)
    return path


@pytest.mark.parametrize("spell", [list, to_text])
def test_a_file_is_priced_as_its_genomes_are(tmp_path, genomes, spell, monkeypatch):
    monkeypatch.setattr("star.pricing.BATCH", 16)  # so that the file takes more than one batch
    source = _write(tmp_path / "many.parquet", "genome", [spell(genome) for genome in genomes])
    totals = price_file(source, SCALE, 1000, tmp_path / "out.parquet")
    expected = [price(decode(genome), SCALE.dims, 1000) for genome in genomes]
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows == [{"genome": list(genome), **cost._asdict()} for genome, cost in zip(genomes, expected, strict=True)]
    caches = sorted(cost.cache_bytes for cost in expected)
    assert totals.cache_bytes == (caches[0], (caches[24] + caches[25]) / 2, caches[-1])
    assert totals.genomes == 50
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["many.parquet", "out.parquet"]


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("genomes", ["11111"], "no column 'genome'; did you mean 'genomes'?"),
        ("genome", ["11111", "1111"], "row 1: slot 1 ('1111')"),
        ("genome", [[1, 1, 1, 1, 1], [99, 1, 1, 1, 1]], "row 1: slot 1 .* class is 99"),
        ("genome", [[1, 1, 1]], "row 0: .* whole slots"),
        ("genome", [[]], "row 0"),
        ("genome", [0.5], "row 0: 0.5 is neither"),
        (
            "genome",
            pa.array([[2**63, 1, 1, 1, 1]], pa.list_(pa.uint64())),
            f"row 0: slot 1 of the genome: class is {2**63}",
        ),
        ("genome", [None, "11111"], "row 0: None is neither"),
        ("genome", [[1, 1, 1, 1, 1], [-1, 1, 1, 1, 1]], "row 1: .* whole slots"),
        ("genome", [[-1, 3, *DECK_OF_ONE[2:]]], "row 0: class 1 of the genome: copies is 3"),
        ("genome", ["12123,1211,1211,1211/21111"], "row 0: slot 1 ('21111') of the genome: class is 2"),
        ("genome", pa.array([], pa.string()), "holds no genomes"),
    ],
)
def test_a_bad_file_is_one_sentence_and_leaves_nothing_behind(tmp_path, column, values, words):
    source = _write(tmp_path / "many.parquet", column, values)
    with pytest.raises(UserError, match=words.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")):
        price_file(source, SCALE, None, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [source]


def test_a_genome_that_does_not_fit_the_scale_is_told_by_its_row(tmp_path):
    one_head = replace(SCALE, dims=replace(SCALE.dims, head_dim=SCALE.dims.d_model))
    source = _write(tmp_path / "many.parquet", "genome", ["11111", "91111-31111"])
    with pytest.raises(UserError, match="row 1: SA-3 repeats B over 4 query heads"):
        price_file(source, one_head, None, None)


def test_files_that_cannot_be_read_or_written(tmp_path, genomes):
    with pytest.raises(UserError, match="there is no file"):
        price_file(tmp_path / "none.parquet", SCALE, None, None)
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"cannot read .*torn\.parquet as Parquet"):
        price_file(torn, SCALE, None, None)
    source = _write(tmp_path / "many.parquet", "genome", genomes)
    with pytest.raises(UserError, match="cannot write"):
        price_file(source, SCALE, None, tmp_path / "no" / "such" / "out.parquet")


def test_a_data_page_that_is_torn_is_one_sentence(tmp_path, genomes):
    source = _write(tmp_path / "many.parquet", "genome", genomes)
    chunk = pq.ParquetFile(source).metadata.row_group(0).column(0)
    data = bytearray(source.read_bytes())
    data[4 : 4 + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    source.write_bytes(data)
    with pytest.raises(UserError, match=r"cannot read .*many\.parquet as Parquet"):
        price_file(source, SCALE, None, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [source]


def test_costs_never_replace_genomes_or_a_directory(tmp_path, genomes, monkeypatch):
    source = _write(tmp_path / "many.parquet", "genome", genomes)
    before = source.read_bytes()
    monkeypatch.chdir(tmp_path)
    for out, words in (("many.parquet", "would replace the genomes"), (".", "directory"), (tmp_path, "directory")):
        with pytest.raises(UserError, match=words):
            price_file(source, SCALE, None, Path(out))

    def refuse(*paths):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(UserError, match=r"cannot write .*out\.parquet: Permission denied"):
        price_file(source, SCALE, None, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [source] and source.read_bytes() == before
