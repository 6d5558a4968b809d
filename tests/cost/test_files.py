"""Pricing a file of genomes equals pricing them one by one, and a bad file is one sentence."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star.architecture.genome import Space, canonical, decode, parse, to_text
from star.architecture.scales import SCALES
from star.cost import files as pricing
from star.cost.cost import price
from star.cost.files import price_file
from star.errors import UserError

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


@pytest.fixture
def eager(monkeypatch):
    """Batches so small that a file takes some, and the second one already is left to other processes, if there are."""
    monkeypatch.setattr(pricing, "BATCH", 8)
    monkeypatch.setattr(pricing, "PATIENCE", 0)
    pools = []

    def make_pool(*arguments, **options):
        pools.append(ProcessPoolExecutor(*arguments, **options))
        return pools[-1]

    monkeypatch.setattr(pricing, "ProcessPoolExecutor", make_pool)
    return pools


@pytest.mark.parametrize(("spell", "workers"), [(list, 1), (to_text, 1), (to_text, 2)])
def test_a_file_is_priced_as_its_genomes_are(tmp_path, genomes, spell, workers, eager):
    source = _write(tmp_path / "many.parquet", "genome", [spell(genome) for genome in genomes])
    totals = price_file(source, SCALE, 1000, tmp_path / "out.parquet", workers)
    assert len(eager) == workers - 1
    expected = [price(decode(genome), SCALE.dims, 1000) for genome in genomes]
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows == [{"genome": list(genome), **cost._asdict()} for genome, cost in zip(genomes, expected, strict=True)]
    caches = sorted(cost.cache_bytes for cost in expected)
    assert totals.cache_bytes == (caches[0], (caches[24] + caches[25]) / 2, caches[-1])
    assert totals.genomes == 50
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["many.parquet", "out.parquet"]


COLUMNS = [
    pa.list_(pa.int8()),
    pa.list_(pa.uint64()),
    pa.large_list(pa.int64()),
    pa.list_(pa.int16(), 10),
    pa.string(),
    pa.large_string(),
    pa.dictionary(pa.int32(), pa.string()),
]


@pytest.mark.parametrize("kind", COLUMNS, ids=str)
def test_columns_of_any_kind(tmp_path, kind):
    genomes = [(1, 1, 1, 1, 4, 14, 1, 2, 1, 1)] * 2
    is_text = not hasattr(kind, "value_type") or pa.types.is_dictionary(kind)
    column = pa.array([to_text(genome) for genome in genomes] if is_text else genomes, kind)
    price_file(_write(tmp_path / "in.parquet", "genome", column), SCALE, None, tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.column("genome").to_pylist() == [list(genome) for genome in genomes]
    assert out.column("flops").to_pylist() == [price(decode(genome), SCALE.dims).flops for genome in genomes]


@pytest.mark.parametrize(
    "texts",
    [
        [" 11111", "141111 "],
        ["0011111", "1.1.1.1.1", "01.001.1.1.1", "0.1.1.1.1"],
        ["-".join(["14.10.2.1.1", "142111", "1.1.1.10.4", "01111"] * 5)],
        ["11111-11111", to_text(DECK_OF_ONE), "11111"],
    ],
)
def test_texts_are_read_as_the_parser_reads_them(tmp_path, texts):
    price_file(_write(tmp_path / "in.parquet", "genome", texts), SCALE, None, tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column("genome").to_pylist() == [
        list(map(int, parse(x))) for x in texts
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "11111-",
        "1.1.1.1",
        "1.1.1.1.1.1",
        "1.1.1.1.+1",
        "11.1.1",
        "0x1.1.1.1.1",
        "1" * 30,
        "14.10000.2.1.1",
        "٣1111",
    ],
)
def test_texts_that_the_parser_refuses(tmp_path, text):
    with pytest.raises(UserError) as expected:
        parse(text)
    source = _write(tmp_path / "in.parquet", "genome", ["11111", text])
    with pytest.raises(UserError) as error:
        price_file(source, SCALE, None, None)
    assert str(error.value) == f"row 1: {expected.value}"


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


def test_the_row_is_told_from_another_process_too(tmp_path, eager):
    source = _write(tmp_path / "many.parquet", "genome", [[1, 1, 1, 1, 1]] * 30 + [[99, 1, 1, 1, 1]] + [[0]] * 30)
    with pytest.raises(UserError, match="row 30: .*class is 99"):
        price_file(source, SCALE, None, tmp_path / "out.parquet", workers=2)
    assert list(tmp_path.iterdir()) == [source] and len(eager) == 1


def test_a_process_that_is_ended_is_one_sentence(tmp_path, eager, monkeypatch):
    source = _write(tmp_path / "many.parquet", "genome", [[1, 1, 1, 1, 1]] * 30)
    monkeypatch.setattr(pricing, "_obey_parent", sys.exit)
    with pytest.raises(UserError, match="was ended from outside"):
        price_file(source, SCALE, None, tmp_path / "out.parquet", workers=2)
    assert list(tmp_path.iterdir()) == [source]


FOREVER = """
import sys
from pathlib import Path
from star.architecture.scales import SCALES
from star.cost import files
files.BATCH, files.PATIENCE = 100, 0
files.price_file(Path(sys.argv[1]), SCALES["125m"], None, Path(sys.argv[2]), workers=2)
"""


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_leaves_no_process_and_no_file(tmp_path, by):
    slow = " " + to_text((1, 1, 1, 1, 1) * 100)  # a space sends a text through the parser
    source = _write(tmp_path / "many.parquet", "genome", pa.array([slow] * 100_000).dictionary_encode())
    command = [sys.executable, "-c", FOREVER, str(source), str(tmp_path / "out.parquet")]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
        part = tmp_path / ".out.parquet.part"
        while not part.exists() or part.stat().st_size < 3000:
            assert process.poll() is None
            time.sleep(0.01)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2
        # Ctrl-C reaches the whole group of processes.
        (os.killpg if by == signal.SIGINT else os.kill)(process.pid, by)
        _, errors = process.communicate(timeout=20)
    assert not psutil.wait_procs(family, timeout=10)[1]
    if by == signal.SIGINT:
        assert "KeyboardInterrupt" in errors.splitlines()
        assert list(tmp_path.iterdir()) == [source]


def test_costs_that_a_file_cannot_hold(tmp_path):
    source = _write(tmp_path / "many.parquet", "genome", [[1, 1, 1, 1, 1]])
    totals = price_file(source, SCALE, 2**40, None)
    assert totals.genomes == 1
    with pytest.raises(UserError, match=r"flops of a genome is \d{20,}, which is no 64-bit integer"):
        price_file(source, SCALE, 2**40, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [source]


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
