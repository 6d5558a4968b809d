"""Nothing is trained twice, and no run can tell from its result what the store held."""

import errno
import multiprocessing
import os
import random
import signal
import threading
from dataclasses import fields, make_dataclass, replace
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.paths import TESTS
from support.pretended import die_pretended, drive_pretended, pretend
from support.runs import Driver, Witness
from support.strategies import any_genomes
from support.tiny import CONFIG, SETTINGS, TINY, contents, make_corpus, make_task, outcomes, write_text

import star.evaluation.evaluate
from star.architecture.genome import parse
from star.architecture.spec import Dimensions, OperatorOverrides
from star.architecture.structures import specify
from star.evaluation import fingerprint as provenance
from star.evaluation.evaluate import evaluate
from star.model.language_model import LanguageModel
from star.options import to_toml
from star.records import STORE, Evaluation, Job, Result, Status, Task
from star.run.evolve import Interrupted
from star.run.plan import plan_run
from star.run.replay import replay
from star.run.reuse import Reuse, curve_length, describe_training
from star.storage.arrays import pack_arrays
from star.storage.run_directory import RunDirectory
from star.storage.shared_directory import STALE_SECONDS, UNFINISHED
from star.storage.store import Store, canonical_text
from star.storage.tables import unpack_evaluations
from star.training.batches import Windows
from star.training.loop import Training
from star.training.loss import Diverged

LONG = 50 * 32  # tokens of 50 steps: not a multiple of the curve
RACE = replace(CONFIG, tokens=LONG, rungs=3, population=6, offspring=5, generations=2)
TEXTS = ("91111", "11111-91111", "21111-11111", "11211-11211-11113")
TASKS = [make_task(parse(text)) for text in TEXTS]


def entry(task, status=Status.OK, rungs=(3.0, 2.5), quality=2.0):
    objectives = {"quality_bpb": quality} if status in (Status.OK, Status.STOPPED) else {}
    own = {"loss_curve": (4.0, 3.0), "tokens": 64, "seconds": 2.0, "train_seconds": 1.0, "worker": "w"}
    return Evaluation(hash=task.hash, status=status, objectives=objectives, rungs=rungs, **own)


@pytest.fixture
def notes():
    return []


@pytest.fixture
def store(tmp_path, notes):
    return Store(tmp_path / "store", "context", notes.append)


def files(store: Path, folder: str = "evaluations") -> list[Path]:
    return sorted((store / folder).glob("*/*"))


# The store by itself.


def test_what_was_kept_is_found_and_nothing_else(store, notes):
    kept = {task: entry(task, quality=float(i)) for i, task in enumerate(TASKS[:3])}
    assert all(store.find(task) is None for task in TASKS)
    for task, evaluation in kept.items():
        store.keep(task, evaluation)
    again = Store(store.path, "context", notes.append)
    assert [again.find(task) for task in TASKS] == [*kept.values(), None]
    assert again.find(replace(TASKS[0], seed=TASKS[0].seed + 1)) is None
    assert Store(store.path, "other", notes.append).find(TASKS[0]) is None
    assert notes == [] and (store.path / ".gitignore").read_text() == "*\n"
    for path in files(store.path):
        assert path.parent.name == path.name[:2] and len(path.stem) == 64
    assert list((store.path / "new").iterdir()) == []


REACHES = [
    (Status.STOPPED, (3.0,)),
    (Status.STOPPED, (3.0, 2.5)),
    (Status.DIVERGED, ()),
    (Status.DIVERGED, (3.0,)),
    (Status.OK, (3.0, 2.5)),
]


@pytest.mark.parametrize("seed", range(6))
def test_what_got_further_stays(store, seed):
    """One that ended, in whatever way, got further than any that was stopped."""
    task, rng = TASKS[0], random.Random(seed)
    stopped, (end, *_) = REACHES[:2], rng.sample(REACHES[2:], 3)
    order = rng.sample([*stopped, end], 3)
    for status, rungs in order:
        store.keep(task, entry(task, status, rungs))
    assert store.find(task) == entry(task, *end)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "other"])
def test_a_torn_or_foreign_file_is_told_of_once_and_made_again(store, notes, damage):
    task, other = TASKS[:2]
    store.keep(task, entry(task))
    (path,) = files(store.path)
    data = path.read_bytes()
    store.keep(other, entry(other))
    (others,) = set(files(store.path)) - {path}
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    damaged = {
        "empty": b"",
        "cut": data[:-40],
        "flipped": bytes(flipped),
        "text": b"hello",
        "other": others.read_bytes(),
    }
    path.write_bytes(damaged[damage])
    assert store.find(task) is None and store.find(task) is None
    assert len(notes) == 1 and str(path) in notes[0]
    store.keep(task, entry(task))
    assert store.find(task) == entry(task) and path.read_bytes() == data


def test_every_cut_and_every_flip_is_noticed(store):
    task = TASKS[0]
    store.keep(task, entry(task))
    (path,) = files(store.path)
    data, rng = path.read_bytes(), random.Random(0)
    for _ in range(60):
        place = rng.randrange(len(data))
        path.write_bytes(data[:place])
        assert store.find(task) is None
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
        assert store.find(task) is None


def test_a_directory_in_the_place_of_a_file(store, notes):
    task = TASKS[0]
    store.keep(task, entry(task))
    (path,) = files(store.path)
    path.unlink()
    path.mkdir()
    assert store.find(task) is None
    store.keep(task, entry(task))
    assert len(notes) == 2 and "cannot write the store" in notes[1]


def test_a_miss_looks_at_the_disk_once(store, monkeypatch):
    store.keep(TASKS[0], entry(TASKS[0]))
    reads, read = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read(path))
    for method in ("stat", "exists", "iterdir", "glob", "is_dir"):
        monkeypatch.setattr(Path, method, None)
    assert store.find(TASKS[1]) is None and len(reads) == 1
    assert store.find(TASKS[0]) and len(reads) == 2


def test_a_store_that_cannot_be_written_says_so_once_and_is_still_read(store, notes, monkeypatch):
    store.keep(TASKS[0], entry(TASKS[0]))

    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    store.keep(TASKS[1], entry(TASKS[1]))
    monkeypatch.undo()
    store.keep(TASKS[2], entry(TASKS[2]))
    assert store.find(TASKS[0]) == entry(TASKS[0]) and store.find(TASKS[1]) is store.find(TASKS[2]) is None
    assert len(notes) == 1 and "Read-only file system" in notes[0] and str(store.path) in notes[0]
    assert list((store.path / "new").iterdir()) == []


def test_what_killed_processes_left_is_swept_but_not_what_is_being_written(store, notes):
    store.keep(TASKS[0], entry(TASKS[0]))
    names = (f"{'0' * 64}.17.0123abcd", f"{'0' * 64}.17.89efabcd", "thesis.txt")
    old, young, strange = paths = [store.path / "new" / name for name in names]
    for path in paths:
        path.touch()
    past = old.stat().st_mtime - STALE_SECONDS - 1
    for path in (old, strange):
        os.utime(path, (past, past))
    Store(store.path, "context", notes.append)
    assert young.exists() and strange.exists() and not old.exists() and store.find(TASKS[0]) and not notes


def test_names_of_files_being_written_are_those_that_are_swept(store, monkeypatch):
    names, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (names.append(Path(old).name), replace(old, new)))
    store.keep(TASKS[0], entry(TASKS[0]))
    assert len(names) == 1 and UNFINISHED.fullmatch(names[0])


def test_a_directory_that_was_there_is_not_hidden_from_git(tmp_path, notes):
    (tmp_path / "mine").mkdir()
    Store(tmp_path / "mine", "context", notes.append).keep(TASKS[0], entry(TASKS[0]))
    assert not (tmp_path / "mine" / ".gitignore").exists() and files(tmp_path / "mine")


def test_many_writers_and_readers_at_once(store, notes):
    """A reader meets a whole file or none, and in the end the furthest are there."""
    stages = [(Status.STOPPED, (3.0,)), (Status.STOPPED, (3.0, 2.5)), (Status.OK, (3.0, 2.5))]
    own = [Store(store.path, "context", notes.append) for _ in range(6)]
    legal = {task: [None, *(entry(task, *stage) for stage in stages)] for task in TASKS}
    strange = []

    def work(mine, seed):
        rng = random.Random(seed)
        for _ in range(60):
            task = rng.choice(TASKS)
            if rng.random() < 0.5:
                mine.keep(task, entry(task, *rng.choice(stages)))
            elif (found := mine.find(task)) not in legal[task]:
                strange.append(found)
        for task in TASKS:
            mine.keep(task, entry(task, *stages[-1]))

    threads = [threading.Thread(target=work, args=(one, seed)) for seed, one in enumerate(own)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert strange == notes == []
    # Two that read before they wrote can leave the lesser of theirs, and what follows mends it.
    for task in TASKS:
        store.keep(task, entry(task, *stages[-1]))
        assert store.find(task) == entry(task, *stages[-1])


@pytest.mark.parametrize("has_links", [True, False])
def test_weights_are_linked_or_else_copied(store, notes, tmp_path, monkeypatch, has_links):
    if not has_links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EXDEV, "cross-device link")))
    source, target = tmp_path / "mine.safetensors", tmp_path / "theirs" / "weights.safetensors"
    source.write_bytes(pack_arrays({"w": np.arange(6.0)}))
    task = TASKS[0]
    assert not store.take_weights(task, target) and not target.exists()
    store.keep_weights(task, source)
    store.keep_weights(task, source)
    assert store.take_weights(task, target) and store.take_weights(task, target)
    assert target.read_bytes() == source.read_bytes() and [*target.parent.iterdir()] == [target]
    assert os.stat(target).st_nlink == (3 if has_links else 1)
    source.unlink()
    (kept,) = files(store.path, "weights")
    assert not store.take_weights(TASKS[1], tmp_path / "none")
    kept.unlink()
    kept.write_bytes(target.read_bytes()[:-8])
    assert not store.take_weights(task, tmp_path / "none") and not (tmp_path / "none").exists()
    assert len(notes) == 1 and str(kept) in notes[0]
    store.keep_weights(task, target)
    assert store.take_weights(task, tmp_path / "again") and (tmp_path / "again").read_bytes() == target.read_bytes()


# What a key depends on.


@given(st.permutations(range(4)))
def test_the_order_of_fields_does_not_show_and_defaults_are_left_out(order):
    known = [("a", int, 1), ("b", float, 2.5), ("c", str, "x"), ("d", tuple, (1, 2))]
    made = make_dataclass("One", [known[i] for i in order], kw_only=True)
    later = make_dataclass("One", [*(known[i] for i in order), ("e", int, 7)], kw_only=True)
    assert canonical_text(made(a=3, c="y")) == canonical_text(later(c="y", a=3)) == '{"a":3,"c":"y"}'
    assert canonical_text(later(e=8)) != canonical_text(later())
    assert canonical_text({"one": made(a=3), "two": (made(), 1)}) == '{"one":{"a":3},"two":[{},1]}'


def changed(value):
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case None:
            return True
    return (*value, *value)


@pytest.mark.parametrize("one", [TINY.recipe, OperatorOverrides()], ids=["recipe", "variant"])
def test_every_field_shows(one):
    texts = {canonical_text(one)}
    for field in fields(one):
        other = object.__new__(type(one))  # past the checks of its values
        for name in (f.name for f in fields(one)):
            object.__setattr__(other, name, getattr(one, name))
        object.__setattr__(other, field.name, changed(getattr(one, field.name)))
        texts.add(canonical_text(other))
    assert len(texts) == len(fields(one)) + 1


def test_what_a_training_depends_on_is_in_the_key_and_nothing_else():
    plain = describe_training(plan_run(RACE), "digest", "cpu")
    same = (
        {"population": 99, "offspring": 1, "generations": 9, "algorithm": "ga", "adaptive": True, "seed": 5},
        {"objectives": ("flops", "quality"), "target": "micro", "dtype": "int4", "batch": 7, "max_params": 1e9},
        {"slots": 7, "levels": "all", "deck": "extended", "backbone_mutation": 0.3, "mode": "steady"},
        {"workers": 3, "serial": False, "timeout": 5.0, "tries": 1, "store": "elsewhere", "corpus": ("moved.txt",)},
    )
    for settings in same:
        assert describe_training(plan_run(replace(RACE, **settings)), "digest", "cpu") == plain
    others = (
        {"tokens": 1024},
        {"window": 3},
        {"rungs": 2},
        {"eta": 2},
        {"balance": "loss"},
    )
    others += tuple({"objectives": ("quality", name), "rungs": 1} for name in ("mqar", "mad", "mad/memorization"))
    others += ({"objectives": ("params",), "rungs": 1}, {"objectives": ("mqar",), "rungs": 1})
    texts = {describe_training(plan_run(replace(RACE, **settings)), "digest", "cpu") for settings in others}
    texts |= {
        plain,
        describe_training(plan_run(RACE), "other", "cpu"),
        describe_training(plan_run(RACE), "digest", "cuda"),
        describe_training(plan_run(replace(RACE, tokens=None, rungs=1)), "digest", "cpu"),
    }
    assert len(texts) == len(others) + 4


def test_other_code_or_libraries_are_another_origin(monkeypatch):
    texts = {provenance.provenance("cpu")}
    monkeypatch.setattr(provenance, "version", lambda name: "9.9" if name == "torch" else "1")
    texts.add(provenance.provenance("cpu"))
    monkeypatch.setattr(provenance, "_code_digest", lambda: "edited")
    texts.add(provenance.provenance("cpu"))
    monkeypatch.setattr(provenance.torch.backends.cpu, "get_cpu_capability", lambda: "NEWER")
    texts.add(provenance.provenance("cpu"))
    assert len(texts) == 4 and "" not in texts


def test_what_is_trained_in_two_places_is_of_no_origin(corpus, monkeypatch):
    """The first part elsewhere, or by a program that did not say: the second cannot vouch for it."""
    settings, task = settings_of(RACE), TASKS[2]
    first = evaluate(Job(task=task, until=0), settings, corpus)
    assert first.origin == evaluate(Job(task=task, until=1, state=first.state), settings, corpus).origin != ""
    silent = {name: array for name, array in first.state.items() if name != "origin"}
    assert evaluate(Job(task=task, until=1, state=silent), settings, corpus).origin == ""
    monkeypatch.setattr(provenance, "_code_digest", lambda: "edited")
    second = evaluate(Job(task=task, until=1, state=first.state), settings, corpus)
    assert second.origin == "" != evaluate(Job(task=task, until=0), settings, corpus).origin
    assert evaluate(Job(task=task, state=second.state), settings, corpus).origin == "", "nor the third"


def test_the_code_that_counts_is_all_that_a_training_could_reach(tmp_path, monkeypatch):
    """An edit of an operator is another digest, an edit of a command is not."""
    for name in ("model/operators/liv.py", "cli/runs.py", "training/loop.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    monkeypatch.setattr(provenance.star, "__file__", str(tmp_path / "__init__.py"))
    digest = provenance._code_digest.__wrapped__
    before = digest()
    (tmp_path / "cli" / "runs.py").write_text("two")
    assert digest() == before
    (tmp_path / "model" / "operators" / "liv.py").write_text("two")
    assert digest() != before


# What one run takes of it.


@given(st.integers(1, 100), st.data())
def test_the_curve_is_as_long_as_that_of_a_training_that_paused(steps, data):
    stop = data.draw(st.integers(0, steps))
    recipe = replace(TINY.recipe, tokens=steps * 32)
    model = LanguageModel(specify((), Dimensions(d_model=4, head_dim=4, vocab_size=256, seq_len=16)))
    training = Training(model, Windows(np.zeros(64, dtype=np.uint8), recipe), recipe, 0)
    training._advance = lambda: setattr(training, "step", training.step + 1)
    training.advance(stop)
    assert len(training.curve) == curve_length(steps, stop)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def reuse_at(path: Path, **settings) -> Reuse:
    plan = plan_run(replace(RACE, store=str(path), **settings))
    return Reuse(plan, "digest", plan.screen(), lambda sentence: pytest.fail(sentence))


def settings_of(config):
    return replace(SETTINGS, scale=plan_run(config).trained, rungs=plan_run(config).race.steps)


def keep(reuse: Reuse, task: Task, evaluation: Evaluation, before: Evaluation | None, rung: int | None) -> None:
    reuse.keep(Result(task=task, evaluation=evaluation, origin=reuse.origin), evaluation, before, rung)


def timeless(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, seconds=0.0, train_seconds=0.0, worker="")


@pytest.mark.parametrize("bursts_at", [0, 5, 7, 16, 30, 51])
def test_at_every_rung_it_is_what_a_worker_gives(tmp_path, corpus, monkeypatch, bursts_at):
    """Whether a loss diverges before the first rung, at one, between two, after the last or never."""

    class Bursting(Training):
        def advance(self, stop):
            super().advance(min(stop, bursts_at))
            if stop > bursts_at:
                raise Diverged(f"training loss by step {bursts_at} is nan")

    monkeypatch.setattr(star.evaluation.evaluate, "Training", Bursting)
    settings, reuse = settings_of(RACE), reuse_at(tmp_path)
    task = TASKS[2]
    before, fresh = None, []
    for rung in (0, 1, None):
        result = evaluate(Job(task=task, until=rung), settings, corpus)
        given = result.evaluation
        fresh.append((rung, given))
        reuse.keep(result, given, before, rung)
        if given.status is Status.DIVERGED:
            break
        before = given
    assert (given.status is Status.OK) == (bursts_at > 50)
    for rung, given in fresh:
        found = reuse.find(task, rung)
        assert timeless(found) == timeless(given) and found.worker == STORE
    if given.status is Status.DIVERGED:
        assert timeless(reuse.find(task, None)) == timeless(given)


def test_a_loss_that_diverged_nobody_knows_when_is_not_stored(tmp_path):
    reuse, task = reuse_at(tmp_path), TASKS[0]
    burst = entry(task, Status.DIVERGED, ())
    for before, rung in ((None, None), (None, 1), (entry(task, Status.STOPPED, (3.0,)), None)):
        keep(reuse, task, burst, before, rung)
        assert reuse.find(task, None) is None
    keep(reuse, task, burst, None, 0)
    assert reuse.find(task, None).status is Status.DIVERGED


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.OK, Status.STOPPED, Status.DIVERGED}))
def test_what_is_the_machines_fault_is_not_stored(tmp_path, status):
    reuse, task = reuse_at(tmp_path), TASKS[0]
    keep(reuse, task, entry(task, status, ()), None, 0)
    assert reuse.find(task, 0) is None and not files(tmp_path)


def test_what_was_trained_elsewhere_is_not_stored(tmp_path):
    reuse, task = reuse_at(tmp_path), TASKS[0]
    source = tmp_path / "w.safetensors"
    source.write_bytes(pack_arrays({"w": np.zeros(2, np.float32)}))
    for origin in ("", "another"):
        result = Result(task=task, evaluation=entry(task), origin=origin)
        reuse.keep(result, entry(task), None, None)
        reuse.keep_weights(result, source)
    assert reuse.find(task, None) is None and not files(tmp_path) and not files(tmp_path, "weights")
    reuse.keep_weights(replace(result, origin=reuse.origin), source)
    assert files(tmp_path, "weights")


def test_stopped_ones_serve_up_to_where_they_stopped(tmp_path):
    reuse, task = reuse_at(tmp_path), TASKS[0]
    keep(reuse, task, entry(task, Status.STOPPED, (3.0,), 3.0), None, 0)
    assert reuse.find(task, 0).rungs == (3.0,) and reuse.find(task, 1) is None and reuse.find(task, None) is None


@given(genome=any_genomes(max_slots=4))
def test_costs_are_those_of_the_run_that_asks(tmp_path_factory, genome):
    path, task = tmp_path_factory.mktemp("store"), make_task(genome)
    trained = entry(task)
    trained.objectives.update(params=5.0, cache_bytes=6.0, flops_per_token=7.0, memory_bytes=8.0)
    keep(reuse_at(path), task, trained, None, None)
    assert [unpack_evaluations(file.read_bytes())[0][1] for file in files(path)] == [entry(task)]
    for target in ("nano", "1b"):
        config = plan_run(replace(RACE, target=target, dtype="int8")).settings
        if (cost := plan_run(config).screen().cost(task.genome)) is not None:
            found = reuse_at(path, target=target, dtype="int8").find(task, None)
            assert found.objectives == {"quality_bpb": 2.0} | cost.columns()


# Whole runs.


@pytest.fixture
def config(tmp_path):
    return replace(RACE, corpus=(write_text(tmp_path),))


@pytest.fixture
def trained():
    """The hashes that a worker was given, in place of training."""
    return []


class StoreDriver(Driver):
    def run_in(self, path, config, store=""):
        """Evolve with a store; return the run, its summary and what was told."""
        run, witness = RunDirectory(path), Witness()
        return run, self.evolve(replace(config, store=str(store)), run, witness), witness


@pytest.fixture
def driver(trained):
    def count(job, settings, corpus):
        trained.append(job.task.hash)
        return pretend(job, settings, corpus)

    return StoreDriver(count)


def same(run: RunDirectory, other: RunDirectory) -> bool:
    return contents(run) == contents(other) and outcomes(run) == outcomes(other)


@pytest.mark.parametrize("rungs", [1, 3])
def test_a_run_ends_alike_whatever_the_store_holds(tmp_path, config, trained, rungs, driver):
    config, store = replace(config, rungs=rungs), tmp_path / "store"
    plain, summary, _ = driver.run_in(tmp_path / "plain", config)
    assert summary.reused == 0 and not store.exists()
    statuses = {evaluation.status for evaluation in plain.evaluations().values()}
    assert statuses == {Status.OK, Status.DIVERGED} | ({Status.STOPPED} if rungs > 1 else set())
    empty, summary, _ = driver.run_in(tmp_path / "empty", config, store)
    assert same(empty, plain) and summary.reused == 0
    trained.clear()
    full, summary, witness = driver.run_in(tmp_path / "full", config, store)
    assert same(full, plain) and trained == [] and [note[:15] for note in witness.notes] == ["the corpus has "]
    assert summary.reused == summary.evaluations == len(plain.evaluations()) == len(witness.evaluations)
    assert summary.training_seconds == 0
    rng = random.Random(0)
    for number in range(2):
        for path in files(store) + files(store, "weights"):
            if rng.random() < 0.4:
                path.unlink()
            elif rng.random() < 0.1:
                path.unlink()  # linked files would be damaged in the runs too
                path.write_bytes(b"torn")
        trained.clear()
        partial, summary, _ = driver.run_in(tmp_path / f"partial{number}", config, store)
        assert same(partial, plain) and 0 < summary.reused < summary.evaluations and trained


@pytest.mark.parametrize(
    "other",
    [
        {"objectives": ("quality", "flops"), "population": 9},
        {"target": "micro", "max_params": 2e6, "dtype": "int4"},
        {"algorithm": "random", "generations": 4},
        {"eta": 3, "offspring": 9, "generations": 1, "slots": 2},
    ],
)
def test_another_run_takes_what_it_can(tmp_path, config, trained, other, driver):
    """One with other rivals stops a proxy at another rung, sooner or later than the one that stored it did."""
    store = tmp_path / "store"
    driver.run_in(tmp_path / "first", replace(config, slots=2), store)
    second = replace(config, slots=2) if "slots" in other else config
    second = replace(second, slots=2, **{name: value for name, value in other.items() if name != "slots"})
    plain, _, _ = driver.run_in(tmp_path / "plain", second)
    run, summary, _ = driver.run_in(tmp_path / "second", second, store)
    assert same(run, plain) and summary.reused > 0


def test_really_trained(tmp_path, config):
    """With the real training: all that is stored is what it gives."""
    config = replace(config, tokens=None, rungs=2, eta=2, population=4, offspring=3, generations=1)
    driver = StoreDriver()
    plain, _, _ = driver.run_in(tmp_path / "plain", config)
    first, summary, _ = driver.run_in(tmp_path / "first", config, tmp_path / "store")
    assert same(first, plain) and summary.reused == 0
    second, summary, _ = driver.run_in(tmp_path / "second", config, tmp_path / "store")
    assert same(second, plain) and summary.reused == summary.evaluations
    assert [*(second.path / "weights").iterdir()][0].stat().st_nlink >= 3, "in the store and in both runs"


@pytest.mark.parametrize("rungs", [1, 3])
def test_without_generations_each_result_is_the_same_and_the_record_leads_to_the_end(
    tmp_path, config, trained, rungs, driver
):
    """In order of arrival, and what is at hand arrives at once, so that other genomes may be asked for."""
    config, store = replace(config, mode="steady", rungs=rungs), tmp_path / "store"
    first, _, _ = driver.run_in(tmp_path / "first", config, store)
    second, summary, _ = driver.run_in(tmp_path / "second", config, store)
    assert summary.reused > 0
    ended = [{h: one for h, one in outcomes(run).items() if one[0] is not Status.STOPPED} for run in (first, second)]
    common = ended[0].keys() & ended[1].keys()
    assert len(common) > 5 and all(ended[0][hash] == ended[1][hash] for hash in common)
    assert replay(RunDirectory(second.path)).generations == config.generations + 1


@pytest.mark.parametrize("settings", [{"warm_weights": True}, {"store": ""}])
def test_runs_without_a_store(tmp_path, config, driver, settings, monkeypatch):
    monkeypatch.chdir(tmp_path)
    driver.evolve(replace(config, **({"store": "here"} | settings)), RunDirectory(tmp_path / "run"))
    assert not (tmp_path / "here").exists() and not (tmp_path / ".star").exists()


def test_the_store_is_in_the_directory_where_one_works(tmp_path, config, trained, monkeypatch, driver):
    monkeypatch.chdir(tmp_path)
    driver.run_in(tmp_path / "run", config, ".star")
    assert files(tmp_path / ".star")


def test_a_run_goes_on_without_a_store_that_cannot_be_made(tmp_path, config, trained, driver):
    plain, _, _ = driver.run_in(tmp_path / "plain", config)
    (tmp_path / "store").write_text("a file")
    run, summary, witness = driver.run_in(tmp_path / "run", config, tmp_path / "store")
    assert same(run, plain) and summary.reused == 0
    corpus, note = witness.notes
    assert corpus.startswith("the corpus has ") and "cannot write the store" in note


def test_reuse_is_counted_over_interruptions(tmp_path, config, trained, driver):
    store = tmp_path / "store"
    driver.run_in(tmp_path / "first", config, store)
    run = RunDirectory(tmp_path / "run")
    config = replace(config, store=str(store))
    with pytest.raises(Interrupted):
        driver.evolve(config, run, Witness(stop_at=5))
    summary = driver.resume(run)
    assert summary.reused == summary.evaluations
    assert driver.resume(run).reused == summary.reused, "of a finished run"


def test_the_command_line_tells_what_was_reused(star, tmp_path, config, trained, driver, monkeypatch):
    monkeypatch.setattr("star.run.evolve.evolve", driver.evolve)
    config = replace(config, population=3, offspring=2, generations=1)
    (tmp_path / "run.toml").write_text(to_toml(config))
    command = ["evolve", "--config", tmp_path / "run.toml", "--store", tmp_path / "store", "--out"]
    code, out, err = star(*command, tmp_path / "one")
    assert code == 0 and "\nstore" not in out, err
    trained.clear()
    code, out, err = star(*command, tmp_path / "two")
    number = RunDirectory(tmp_path / "two").latest_generation().evaluations
    assert code == 0 and f"\nstore   {number} of these proxies were trained by earlier runs\n" in out and not trained


@pytest.fixture(scope="module")
def processes():
    """Forks of a process that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.driver", "torch._dynamo"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS))
        forkserver.ensure_running()
    return context


def test_killed_runs_that_share_a_store(tmp_path, config, processes):
    """Killed before a touch of the disk, its own or the store's, each time a later one, and gone on with beside another
    run of the same store, a run ends as one without a store that nobody touched."""
    config = replace(config, tokens=None, population=3, offspring=2, generations=1, rungs=2, eta=2)
    driver = StoreDriver(pretend)
    whole, _, _ = driver.run_in(tmp_path / "whole", config)
    touch, step, codes = 1, 23, []
    while not codes or codes[-1] == -signal.SIGKILL:
        path = tmp_path / f"run{touch}"
        mine = replace(config, store=f"{path}-store")
        killed = processes.Process(target=die_pretended, args=(touch, path, mine))
        killed.start()
        killed.join()
        codes.append(killed.exitcode)
        beside = processes.Process(target=drive_pretended, args=(tmp_path / f"beside{touch}", mine))
        beside.start()
        drive_pretended(path, mine)
        beside.join()
        assert beside.exitcode == 0
        assert same(RunDirectory(path), whole) and same(RunDirectory(tmp_path / f"beside{touch}"), whole), touch
        touch += step
    assert codes.pop() == 0 and len(codes) > 5, len(codes)
