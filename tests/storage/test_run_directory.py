"""A run on disk: what is written comes back, and nothing that happens to the files in between goes unnoticed."""

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.paths import TESTS, importing

from star.architecture.genome import Space, genome_hash
from star.errors import UserError
from star.records import Evaluation, Generation, Individual, Order, Recorded, ReferenceBox, Status, Task, Timing
from star.search.plan import Plan
from star.search.search import Search
from star.storage import files, tables
from star.storage.run_directory import RunDirectory

SPACES = (Space(3), Space(3, "extended"), Space(6, "paper", "all"))
RNG_STATE = json.dumps(np.random.default_rng(1).bit_generator.state)


def entry(number):
    """Task and evaluation of any number: every third one failed."""
    genome = SPACES[number % 3].sample(np.random.default_rng(number))
    hash = genome_hash(genome)
    failed = number % 3 == 2
    evaluation = Evaluation(
        hash=hash,
        status=Status.TIMEOUT if failed else Status.OK,
        objectives={} if failed else {"quality_bpb": number / 7, "params": 1e9 + number, "cache_bytes": 0.0},
        loss_curve=(8.0, number / 3, float("inf")) if failed else (8.0, 5e-324),
        rungs=(number / 3,) * (number % 3),
        tokens=number,
        retries={"hang": number} if number % 2 else {},
        train_seconds=0.5,
        seconds=number / 9,
        worker="node:1",
        error="star-sha256:" + "0" * 64 if failed else "",
    )
    order = Order(generation=number // 4, arrival=number % 2, asked=2 * number, entry=3 * number)
    return Recorded(Task(genome=genome, hash=hash, seed=2**64 - 1 - number), evaluation, order)


def generation(number, size=4):
    """Generation of any number."""
    entries = [entry(number * size + i) for i in range(size)]
    individuals = tuple(
        Individual(
            id=number * size + i,
            genome=task.genome,
            hash=task.hash,
            generation=number,
            parents=(0, number - 1) if number else (),
            status=evaluation.status,
            objectives=evaluation.objectives,
            rank=i,
            crowding=float("inf") if i == 0 else i / 3,
            shortfall=i / 7,
        )
        for i, (task, evaluation, _) in enumerate(entries)
    )
    elder = replace(individuals[0], id=0, status=Status.OK, parents=(), shortfall=0.0)
    return Generation(
        number=number,
        individuals=individuals,
        front=(elder,) if number else tuple(one for one in individuals if one.rank == 0 and one.status is Status.OK),
        rng_state=RNG_STATE,
        next_id=(number + 1) * size,
        evaluations=number * size,
        duplicates_avoided=number,
        repaired=2 * number,
        failures={"timeout": number},
        hypervolume=number / 7,
        reference=ReferenceBox((1 / 3, 2.0, 5e-324), (0.1, 0.5, 1e300)) if number else None,
    )


def weights(number):
    """Weights of any number, one of them laid out backwards in memory."""
    a = np.arange(12, dtype=np.float32).reshape(3, 4) + number
    return {"a": a, "b.c": a.T, "scalar": np.array(2.5, dtype=np.float32)}


def same_weights(a, b):
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and (a[k] == b[k]).all() for k in a
    )


def drive(path):
    """Write generations without end, as a search does; print each number once it is on the disk."""
    run = RunDirectory(path)
    run = run.resume() if (Path(path) / "run.toml").exists() else run.create("seed = 1\n")
    last = run.latest_generation()
    number = last.number + 1 if last else 0
    while True:
        for i in range(4):
            one = entry(number * 4 + i)
            run.save_weights(one.task.hash, weights(number))
            run.append_evaluation(*one)
        run.write_generation(generation(number))
        run.prune_weights({individual.hash for individual in generation(number).individuals})
        print(number, flush=True)
        number += 1


@pytest.fixture
def run(tmp_path):
    with RunDirectory(tmp_path / "run").create('scale = "nano"\n') as run:
        yield run


def damage(path, change):
    path.write_bytes(bytes(change(bytearray(path.read_bytes()))))


def flip_bit(data, bit):
    data[bit // 8] ^= 1 << bit % 8
    return data


# --- what is written comes back -------------------------------------------------------------------------------

FLOATS = st.floats(allow_nan=False)


@given(st.integers(0, 99_999), st.lists(st.tuples(FLOATS, FLOATS, st.sampled_from(list(Status))), max_size=5), FLOATS)
def test_a_generation_comes_back_value_for_value(number, values, hypervolume):
    individuals = tuple(
        replace(generation(0).individuals[0], id=i, status=status, objectives={"b": b, "a": a}, crowding=abs(a))
        for i, (a, b, status) in enumerate(values)
    )
    front = tuple(one for one in individuals if one.status is Status.OK)
    written = replace(
        generation(number), individuals=individuals, front=front, hypervolume=hypervolume, next_id=len(individuals)
    )
    data = tables.pack_generation(written)
    assert tables.unpack_generation(data) == written
    reordered = [replace(i, objectives={k: i.objectives[k] for k in "ab"}) for i in individuals]
    assert tables.pack_generation(replace(written, individuals=tuple(reordered))) == data


def test_a_run_comes_back(run):
    entries = [entry(number) for number in range(12)]
    for number in range(3):
        for one in entries[4 * number : 4 * number + 4]:
            run.append_evaluation(*one)
        run.write_generation(generation(number))
    run.append_evaluation(*entry(12))
    run.save_weights(entries[0][0].hash, weights(5))
    run.close()

    again = RunDirectory(run.path).open()
    assert again.config_toml == 'scale = "nano"\n'
    assert again.latest_generation() == generation(2)
    assert again.generations() == [generation(number) for number in range(3)]
    assert again.history() == {one.task.hash: one for one in [*entries, entry(12)]}
    assert again.evaluations()[entries[2][0].hash] == entries[2][1]
    assert same_weights(again.load_weights(entries[0][0].hash), weights(5))
    assert again.load_weights("0" * 16) is None and again.warnings == []
    names = sorted(path.name for path in (run.path / "evaluations").iterdir())
    assert names == sorted([f"generation-000{n}.parquet" for n in range(3)] + [f"{entry(12)[0].hash}.parquet"])


def test_history_is_in_order_of_generations(run):
    order = [7, 9_999, 10_000, 123_456]
    for number in order:
        run.append_evaluation(*entry(number))
        run.compact_evaluations(number)
    run.append_evaluation(*entry(0))
    assert list(run.history()) == [entry(number)[0].hash for number in [*order, 0]]


def test_any_parquet_reader_sees_typed_columns(run):
    run.write_generation(generation(7))
    table = pq.read_table(run.path / "generations" / "0007.parquet", page_checksum_verification=True)
    types = {field.name: str(field.type) for field in table.schema}
    assert types["genome"] == "list<element: int32>" and types["parents"] == "list<element: int64>"
    assert types["params"] == types["crowding"] == "double" and types["rank"] == "int64"
    assert table["params"].to_pylist() == [1e9 + 28, None, 1e9 + 30, 1e9 + 31, 1e9 + 28]
    assert table["survives"].to_pylist() == [True] * 4 + [False]
    assert table["on_front"].to_pylist() == [False] * 4 + [True]
    assert json.loads(table.schema.metadata[b"rng_state"]) == RNG_STATE
    assert table.schema.metadata[b"schema_version"] == b"5"


@pytest.mark.parametrize("space", [Space(3), Space(3, "extended", "all")])
def test_a_search_resumed_from_disk_goes_on_bit_for_bit(run, space):
    plan = Plan(population=6, space=space, num_objectives=2, seed=5)

    def step(search, number):
        told = []
        for proposal in search.ask(6):
            total = sum(proposal.genome)
            sound = total % 4 > 0
            objectives = {"a": total / 3, "b": 1 / (1 + total % 5)} if sound else {}
            told.append(
                replace(
                    generation(0).individuals[0],
                    id=proposal.id,
                    genome=proposal.genome,
                    hash=genome_hash(proposal.genome),
                    parents=proposal.parents,
                    generation=number,
                    status=Status.OK if sound else Status.CRASHED,
                    objectives=objectives,
                )
            )
        return replace(
            generation(number),
            individuals=search.tell(told),
            front=(),
            rng_state=search.snapshot(),
            next_id=search.next_id,
            duplicates_avoided=search.duplicates_avoided,
            repaired=search.repaired,
        )

    search = Search(plan)
    whole = [step(search, number) for number in range(6)]
    run.write_generation(whole[0])
    for number in range(1, 6):
        restored = Search.restore(plan, run.latest_generation())
        run.write_generation(step(restored, number))
    assert run.generations() == whole


# --- who may write, and where ---------------------------------------------------------------------------------


def test_creating_where_something_is_already(tmp_path, run):
    with pytest.raises(UserError, match=f"holds a run already; go on with it by `star resume {run.path}`"):
        RunDirectory(run.path).create("")
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.png").write_bytes(b"meow")
    with pytest.raises(UserError, match=r"not empty \(it holds cat.png\)"):
        RunDirectory(foreign).create("")
    assert [path.name for path in foreign.iterdir()] == ["cat.png"]
    for path in (foreign / "cat.png", foreign / "cat.png" / "run"):
        with pytest.raises(UserError, match="cat.png"):
            RunDirectory(path).create("")
    unfinished = tmp_path / "unfinished"  # as a kill in the middle of `create` leaves it
    unfinished.mkdir()
    (unfinished / ".lock").touch()
    (unfinished / ".run.toml.tmp").write_text("half")
    with RunDirectory(unfinished).create("whole") as made:
        assert made.config_toml == "whole"
    with RunDirectory(tmp_path / "deep" / "er" / "run").create("") as made:
        assert made.path.is_dir()


def test_an_unwritable_place_is_told(tmp_path, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match="cannot make the directory .*run: Permission denied"):
        RunDirectory(tmp_path / "run").create("")


@pytest.mark.parametrize("name", ["is_file", "exists", "is_dir", "glob"])
def test_a_place_that_cannot_be_searched_is_told(tmp_path, monkeypatch, name):
    def refuse(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, name, refuse)
    begin = RunDirectory(tmp_path / "run").open if name != "exists" else lambda: RunDirectory(tmp_path).create("")
    with pytest.raises(UserError, match=f"cannot .*{tmp_path}.*: Permission denied"):
        begin()


def test_opening_what_is_no_run_points_to_the_nearest(tmp_path, run):
    run.write_generation(generation(0))
    cases = {
        tmp_path / "run" / "run.toml": "is a file, not the directory of a run; did you mean '.*/run'",
        tmp_path / "rum": "does not exist; did you mean '.*/run'",
        tmp_path: "has no run.toml; .*'?.*/run",
        run.path / "generations": "has no run.toml; did you mean '.*/run'",
    }
    for path, message in cases.items():
        for method in (RunDirectory(path).open, RunDirectory(path).resume):
            with pytest.raises(UserError, match=message):
                method()
    with pytest.raises(UserError, match="does not exist$"):
        RunDirectory(tmp_path / "nowhere" / "at" / "all").open()


def test_one_writer_at_a_time(run):
    with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
        RunDirectory(run.path).resume()
    reader = RunDirectory(run.path).open()
    assert reader.latest_generation() is None
    with pytest.raises(AssertionError, match="resume"):
        reader.write_generation(generation(0))
    run.close()
    with RunDirectory(run.path).resume() as writer:
        writer.write_generation(generation(0))
    assert reader.latest_generation() == generation(0)


def test_a_reader_misses_nothing_while_a_writer_gathers(run):
    written = []

    def write():
        for number in range(60):
            run.append_evaluation(*entry(number))
            written.append(entry(number)[0].hash)
            if number % 5 == 4:
                run.compact_evaluations(number)

    reader = RunDirectory(run.path).open()
    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while writer.is_alive() or not reads:
        there = set(written)
        assert reader.evaluations().keys() >= there
        reads += 1
    writer.join()
    assert len(reader.evaluations()) == 60 and reader.warnings == []


def test_an_abandoned_run_is_free_again(run):
    run.close()
    RunDirectory(run.path).resume()  # nobody keeps it
    RunDirectory(run.path).resume().close()


# --- torn files -----------------------------------------------------------------------------------------------


def test_every_truncation_and_bit_flip_is_noticed():
    rng = random.Random(0)
    for data, unpack in (
        (tables.pack_generation(generation(3)), tables.unpack_generation),
        (tables.pack_evaluations([entry(1), entry(2)]), tables.unpack_evaluations),
    ):
        unpack(data)
        for size in {0, 1, len(data) - 1, *rng.sample(range(len(data)), 200)}:
            with pytest.raises(tables.Torn):
                unpack(data[:size])
        for bit in rng.sample(range(8 * len(data)), 1_000):
            with pytest.raises(tables.Torn):
                unpack(bytes(flip_bit(bytearray(data), bit)))
        for noise in (b"x", b"\0" * 8):
            with pytest.raises(tables.Torn):
                unpack(data + noise)


@pytest.mark.parametrize("seed", range(8))
def test_a_torn_generation_falls_back_to_the_one_before(run, seed):
    for number in range(3):
        run.write_generation(generation(number))
    newest = run.path / "generations" / "0002.parquet"
    rng = random.Random(seed)
    size = newest.stat().st_size
    cut, bit = rng.randrange(size), rng.randrange(8 * size)
    damage(newest, lambda data: data[:cut] if seed % 2 else flip_bit(data, bit))
    torn = newest.read_bytes()

    reader = RunDirectory(run.path).open()
    assert reader.latest_generation() == generation(1) and newest.exists()
    assert reader.latest_generation() == generation(1) and len(reader.warnings) == 1
    assert run.latest_generation() == generation(1)
    assert len(run.warnings) == 1 and "0002.parquet is torn" in run.warnings[0] and ".torn" in run.warnings[0]
    assert not newest.exists() and newest.with_name("0002.parquet.torn").read_bytes() == torn
    run.write_generation(generation(2))
    assert run.latest_generation() == generation(2)


def test_when_every_generation_is_torn_there_is_none(run):
    run.write_generation(generation(0))
    damage(run.path / "generations" / "0000.parquet", lambda data: data[:-1])
    assert run.latest_generation() is None and run.generations() == []


@pytest.mark.parametrize("gathered", [False, True])
def test_a_torn_evaluation_is_missing_and_can_be_made_again(run, gathered):
    for number in range(5):
        run.append_evaluation(*entry(number))
        if gathered:
            run.compact_evaluations(number)
    victim = "generation-0003" if gathered else entry(3)[0].hash
    damage(run.path / "evaluations" / f"{victim}.parquet", lambda data: flip_bit(data, 4_000))
    assert run.evaluations().keys() == {entry(number)[0].hash for number in (0, 1, 2, 4)}
    assert len(run.warnings) == 1 and victim in run.warnings[0]
    run.append_evaluation(*entry(3))
    assert run.evaluations().keys() == {entry(number)[0].hash for number in range(5)}


def test_torn_weights_are_none(run):
    hash = entry(0)[0].hash
    run.save_weights(hash, weights(0))
    damage(run.path / "weights" / f"{hash}.safetensors", lambda data: flip_bit(data, 8 * len(data) - 1))
    assert run.load_weights(hash) is None and "safetensors is torn" in run.warnings[0]


def test_timing_comes_back_unless_it_is_torn(run):
    assert run.timing() is None
    timing = Timing(
        workers=2,
        startup_seconds=0.5,
        wall_seconds=1 / 3,
        training_seconds=0.6,
        overhead_seconds=0.0,
        worker_utilisation=0.9,
    )
    run.write_timing(timing)
    assert run.timing() == timing and json.loads((run.path / "summary.json").read_text())["wall_seconds"] == 1 / 3
    for forgery in ('["%s"]', "no json %s", '{"seal": "%s"}', '{"workers": "two", "seal": "%s"}'):
        (run.path / "summary.json").write_bytes(files.seal((forgery % files.BLANK_SEAL).encode()))
        assert run.timing() is None
    run.write_timing(timing)
    damage(run.path / "summary.json", lambda data: data.replace(b"0.9", b"0.8"))
    assert run.timing() is None and "summary.json is torn" in run.warnings[-1]


def test_prune_weights_keeps_what_it_is_told_to(run):
    hashes = [entry(number)[0].hash for number in range(3)]
    for number, hash in enumerate(hashes):
        run.save_weights(hash, weights(number))
    run.prune_weights({hashes[1], "f" * 16})
    assert [run.load_weights(hash) is None for hash in hashes] == [True, False, True]


OWN = Space(1, "extended", "all").sample(np.random.default_rng(0))  # a genome with a deck of one class


def forged(**changes):
    """A well sealed generation file that holds what no run writes."""
    individuals = [changes.pop("individual", {}), {"id": 1}]
    rows = [
        {name: getattr(generation(0).individuals[0], name) for name in tables.INDIVIDUAL_FIELDS}
        | {"survives": True, "on_front": False}
        | row
        for row in individuals
    ]
    facts = {name: getattr(generation(0), name) for name in tables.GENERATION_FACTS} | changes
    facts = {name: value for name, value in facts.items() if value is not ...}
    return tables._pack(rows, tables.INDIVIDUAL_COLUMNS, set(), facts, tables.ESTIMATED_VERSION)


@pytest.mark.parametrize(
    "change",
    [
        {"individual": {"status": "great"}},
        {"individual": {"genome": (1, 2, 3)}},
        {"individual": {"genome": ()}},
        {"individual": {"genome": (1, 1, -1, 1, 1)}},
        {"individual": {"genome": (58, 1, 1, 1, 1)}},
        {"individual": {"genome": (1, 2, 1, 1, 1)}},
        {"individual": {"genome": (-1,)}},
        {"individual": {"genome": (-1, 1, 1, 1, 1, 1)}},
        {"individual": {"genome": OWN[:-1]}},
        {"individual": {"genome": (-2, *OWN[1:])}},
        {"individual": {"genome": (-(2**31), *OWN[1:])}},
        {"individual": {"genome": (*OWN[:1], 3, *OWN[2:])}},
        {"individual": {"genome": (*OWN[:29], 77, *OWN[30:])}},
        {"individual": {"genome": (*OWN[:30], 2, *OWN[31:])}},
        {"individual": {"genome": None}},
        {"individual": {"genome": (1, 1, None, 1, 1)}},
        {"individual": {"hash": "../../etc/passwd"}},
        {"individual": {"id": 1}},
        {"individual": {"id": 4}},
        {"individual": {"id": -1}},
        {"individual": {"parents": (7,)}},
        {"individual": {"parents": (-1,)}},
        {"individual": {"rank": -1}},
        {"individual": {"quality_error": -1.0}},
        {"longer": -1},
        {"estimated": "soon"},
        {"fit": [{"loss": "low"}]},
        {"fit": [1.0]},
        {"individual": {"crowding": float("nan")}},
        {"individual": {"shortfall": -1.0}},
        {"individual": {"on_front": None}},
        {"individual": {"on_front": True, "rank": 1}},
        {"individual": {"on_front": True, "status": "stopped"}},
        {"tokens": -1},
        {"tokens": ...},
        {"individual": {"generation": 1}},
        {"number": -1},
        {"number": "0"},
        {"next_id": 1.5},
        {"repaired": -1},
        {"repaired": ...},
        {"next_id": ...},
        {"rng_state": "not json"},
        {"rng_state": "[]"},
        {"rng_state": 3},
        {"failures": {"bored": 1}},
        {"failures": []},
        {"hypervolume": "large"},
        {"reference": ...},
        {"reference": [[1.0]]},
        {"reference": [[1.0], [1.0, 2.0]]},
        {"reference": [["1"], ["2"]]},
        {"objectives": ["id"]},
        {"objectives": None},
    ],
)
def test_a_sealed_file_is_not_believed_either(change):
    tables.unpack_generation(forged())
    with pytest.raises(tables.Torn, match="no run writes"):
        tables.unpack_generation(forged(**change))


def test_a_sealed_file_of_another_kind_is_torn(run):
    evaluations = tables.pack_evaluations([entry(0)])
    for data in (evaluations, files.seal(b"PAR1" + files.BLANK_SEAL.encode())):
        with pytest.raises(tables.Torn):
            tables.unpack_generation(data)
    run.write_generation(generation(4))
    os.rename(run.path / "generations" / "0004.parquet", run.path / "generations" / "0005.parquet")
    assert run.latest_generation() is None and "it holds generation 4" in run.warnings[0]


def test_files_of_the_schema_before_are_read():
    """Written by the last version that had it: every survivor was in the population, and so was the front."""
    folder = TESTS / "data" / "schema-4"
    old = tables.unpack_generation((folder / "generation.parquet").read_bytes())
    assert (old.number, len(old.individuals), old.tokens) == (1, 6, 0)
    assert {one.id for one in old.front} == {one.id for one in old.individuals if one.rank == 0}
    assert all(one.shortfall == 0 for one in old.individuals)
    entries = tables.unpack_evaluations((folder / "evaluations.parquet").read_bytes())
    assert len(entries) == 5 and all(order.generation == 1 and one.rungs == () for _, one, order in entries)
    assert all((one.tokens, one.retries) == (0, {}) for _, one, _ in entries)


def test_another_schema_is_refused_and_left_alone(run):
    path = run.path / "generations" / "0000.parquet"
    run.write_generation(generation(0))
    path.write_bytes(forged(schema_version=2))
    with pytest.raises(UserError, match=r"0000.parquet: .*schema version 2, but this star reads versions up to 6"):
        run.latest_generation()
    assert path.exists()


# --- interruptions --------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the moment at which the process dies."""


@pytest.mark.parametrize("step", range(7))
def test_gathering_evaluations_survives_a_kill_at_every_step(run, monkeypatch, step):
    for number in range(3):
        run.append_evaluation(*entry(number))
    run.compact_evaluations(1)
    for number in range(3, 6):
        run.append_evaluation(*entry(number))
    remaining = [step]

    def fatal(function):
        def call(*args, **kwargs):
            if remaining[0] == 0:
                raise Killed
            remaining[0] -= 1
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for module, name in ((os, "replace"), (os, "fsync"), (Path, "unlink")):
            patch.setattr(module, name, fatal(getattr(module, name)))
        try:
            run.compact_evaluations(1)
            finished = True
        except Killed:
            finished = False
    assert finished == (step >= 6)  # fsync, replace, fsync, and three files deleted
    run.close()
    with RunDirectory(run.path).resume() as again:
        assert again.history() == {one.task.hash: one for one in map(entry, range(6))}
        again.compact_evaluations(1)
        assert [path.name for path in (run.path / "evaluations").iterdir()] == ["generation-0001.parquet"]
        assert len(again.history()) == 6


def test_a_full_disk_leaves_what_was_there(run):
    run.append_evaluation(*entry(0))
    run.write_generation(generation(0))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))  # no file may grow larger
    try:
        for write in (
            lambda: run.write_generation(generation(0)),
            lambda: run.write_generation(generation(1)),
            lambda: run.append_evaluation(*entry(0)),
            lambda: run.save_weights(entry(0)[0].hash, {"a": np.zeros(1_000)}),
        ):
            with pytest.raises(UserError, match="cannot write .*: File too large"):
                write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_kill_at_any_moment_leaves_a_run_that_opens_and_goes_on(tmp_path):
    rng = random.Random(6)
    path = tmp_path / "run"
    number = -1
    for _ in range(4):
        command = [sys.executable, __file__, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=importing()) as process:
            assert int(process.stdout.readline()) == number + 1
            time.sleep(rng.uniform(0, 0.15))
            os.kill(process.pid, signal.SIGKILL)
            told = [int(line) for line in process.stdout if line.endswith("\n")]
        with RunDirectory(path).resume() as run:
            last = run.latest_generation()
            assert last.number >= max(told, default=number + 1)
            number = last.number
            assert run.generations() == [generation(n) for n in range(number + 1)]
            expected = {one.task.hash: one for one in map(entry, range(4 * number + 8))}
            history = run.history()
            assert expected.items() >= history.items()
            assert history.keys() >= {entry(n)[0].hash for n in range(4 * number + 4)}
            for individual in last.individuals:
                assert same_weights(run.load_weights(individual.hash), weights(number))
            assert run.warnings == [] and not list(path.rglob(".*.tmp"))


if __name__ == "__main__":
    drive(sys.argv[1])
