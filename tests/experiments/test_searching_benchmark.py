"""The comparison of searchers: its surrogate is the stated process, and its accounts of tokens are exact."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from support.paths import ROOT

SCRIPTS = ROOT / "experiments" / "benchmarks"
sys.path.insert(0, str(SCRIPTS))  # as Python does for scripts that stand there

import overhead  # noqa: E402
import record_table  # noqa: E402
import search  # noqa: E402
from comparing.budget import BudgetedTrainer, BudgetExhausted  # noqa: E402
from comparing.event_log import BEGUN, ENDED, EventLog  # noqa: E402
from comparing.features import Features  # noqa: E402
from comparing.recovery import evaluated, kill_and_resume  # noqa: E402
from comparing.searchers import OURS, SEARCHERS  # noqa: E402
from comparing.setting import BOUNDS, COLUMNS  # noqa: E402
from comparing.surrogate import JITTER, Process, Scales  # noqa: E402
from comparing.table import TableTrainer, box_of  # noqa: E402
from comparing.validation import cross_predict, errors, extrapolate, rung_agreement  # noqa: E402

from star.architecture.genome import canonical, decode, genome_hash  # noqa: E402
from star.records import Job, Status, Task  # noqa: E402
from star.run.plan import plan_run  # noqa: E402
from star.search.front import hypervolume  # noqa: E402

ROWS, UNIFORM = 80, 50
CONFIG = replace(record_table.CONFIG, population=8, offspring=4)
TRAININGS = 30
STEPS = (*plan_run(CONFIG).race.steps, plan_run(CONFIG).trained.recipe.steps)
STEP_TOKENS = 8 * 128
WITHOUT_EXTRA = [name for name in SEARCHERS if not name.startswith("optuna")]


def invent(genome, rng):
    """A row whose quality follows from the kinds of operators and from costs, but for a little noise."""
    slots, cost = decode(genome), plan_run(CONFIG).target.count(genome)
    kinds = [slot.liv.structure for slot in slots]
    quality = 3 + 0.05 * kinds.count("attention") - 0.04 * kinds.count("convolution") - 1e-6 * cost.params
    quality += 0.03 * sum(slot.liv.differential for slot in slots[:2]) + 0.002 * rng.standard_normal()
    rungs = tuple(quality + late + 0.05 * late * rng.standard_normal() for late in (3.0, 1.5, 0.5))
    values = (quality, float(cost.params), float(cost.cache_bytes))
    return record_table.Row(genome, str(Status.OK), rungs, values, (4.0, 3.0), 1.0)


@pytest.fixture(scope="module")
def rows():
    rng, space = np.random.default_rng(0), plan_run(CONFIG).search.space
    found = [invent(canonical(space.sample(rng)), rng) for _ in range(ROWS - 1)]
    failed = replace(found[0], genome=canonical(space.sample(rng)), status="diverged", objectives=(np.nan,) * 3)
    return [*found[:30], failed, *found[30:]]


@pytest.fixture(scope="module")
def trainer(rows):
    return TableTrainer(rows, CONFIG, UNIFORM)


@pytest.fixture(scope="module")
def box(rows):
    return box_of([row for row in rows if row.status == "ok"], UNIFORM)


def make_job(genome, until=None, state=None):
    task = Task(genome=genome, hash=genome_hash(genome), seed=0)
    return Job(task=task, until=until, state=state or {})


# The surrogate


def test_features_of_a_genome_written_out():
    """Two SA-1 that share their weights, a Rec-1-Diff, five times GMemless."""
    genome = canonical((1, 1, 2, 1, 1) * 2 + (14, 1, 1, 1, 1) + (9, 1, 1, 1, 1) * 5)
    features = Features(CONFIG)
    classes, kinds, places, sharing, costs = (features.vector(genome)[block] for block in features.blocks)
    assert {i + 1: count for i, count in enumerate(classes) if count} == {1: 2, 9: 5, 14: 1}
    assert sorted(kinds) == sorted([2, 5, 1, 3] + [0] * (len(kinds) - 4)) and kinds[-1] == 3
    assert [int(row.argmax()) + 1 for row in places.reshape(8, 17)] == [1, 1, 14, 9, 9, 9, 9, 9]
    assert sharing.tolist() == [0, 1, 0, 0, 0, 0, 0, 0] + [0] * 8 + [1, 0]
    cost = plan_run(CONFIG).target.count(genome)
    assert np.exp(costs) == pytest.approx([cost.params, cost.cache_bytes])


def test_the_process_is_the_equation():
    """Its mean, term by term and with an explicit inverse, at the scales that it found."""
    rng = np.random.default_rng(0)
    X, Y, asked = rng.normal(size=(30, 5)), rng.normal(size=(30, 2)), rng.normal(size=(4, 5))
    blocks = (slice(0, 2), slice(2, 5))
    process = Process(X, Y, blocks)
    unit = X.std(axis=0)

    def k(a, b, scales):
        total = 0.0
        for block, amplitude, length in zip(blocks, scales.amplitudes, scales.lengths, strict=True):
            r = np.sqrt((((a - b) / unit)[block] ** 2).mean()) / length
            total += amplitude * (1 + r) * np.exp(-r)
        return total

    for j, scales in enumerate(process.scales):
        scales = Scales(*(getattr(scales, name).numpy() for name in ("amplitudes", "lengths", "noise")))
        K = np.array([[k(a, b, scales) for b in X] for a in X]) + (scales.noise + JITTER) * np.eye(len(X))
        y = (Y[:, j] - Y[:, j].mean()) / Y[:, j].std()
        means = np.array([[k(a, b, scales) for b in X] for a in asked]) @ np.linalg.inv(K) @ y
        expected = means * Y[:, j].std() + Y[:, j].mean()
        np.testing.assert_allclose(process.predict(asked)[:, j], expected, rtol=1e-6, atol=1e-8)


def test_what_is_in_the_table_is_answered_as_recorded(rows, trainer):
    for row in rows[:30]:
        paused = trainer(make_job(row.genome, until=1))
        assert paused.evaluation.status is Status.STOPPED and paused.state and not paused.weights
        assert paused.evaluation.rungs == row.rungs[:2]
        ended = trainer(make_job(row.genome, state=paused.state))
        assert ended.evaluation.status is Status.OK and ended.evaluation.rungs == row.rungs
        quality, params, cache = row.objectives
        assert ended.evaluation.objectives == dict(zip(COLUMNS, (cache, params, quality), strict=True))
        assert paused.evaluation.objectives["quality_bpb"] == row.rungs[1]


def test_what_failed_is_answered_by_the_process(rows, trainer):
    (failed,) = [row.genome for row in rows if row.status != "ok"]
    one, cost = trainer(make_job(failed)).evaluation, plan_run(CONFIG).target.count(failed)
    predicted = trainer.process.predict(Features(CONFIG).matrix([failed]))[0, -1]
    expected = dict(zip(COLUMNS, (cost.cache_bytes, cost.params, predicted), strict=True))
    assert one.status is Status.OK and one.objectives == pytest.approx(expected)


def test_the_fit_errs_less_on_its_own_rows_than_on_others_and_explains_an_invented_quality(trainer):
    data = trainer.data
    own = errors(data.qualities, trainer.process.predict(data.features))
    predicted = cross_predict(data, folds=2)
    others = errors(data.qualities, predicted)
    assert all(one.rmse < other.rmse for one, other in zip(own, others, strict=True))
    assert others[-1].r2 > 0.8 and others[-1].tau > 0.7
    recorded, smoothed = rung_agreement(data.qualities)[0], rung_agreement(predicted)[0]
    assert recorded < smoothed, "noise of a rung that the surrogate leaves out, as the page has to show"


def test_nothing_is_predicted_by_a_fit_that_saw_it(trainer):
    asked_in_all = []

    def spy(data, fitted, asked):
        assert not set(fitted) & set(asked) and len(fitted) + len(asked) == len(data.features)
        asked_in_all.extend(asked)
        return data.qualities[asked]

    assert np.array_equal(cross_predict(trainer.data, spy), trainer.data.qualities)
    assert sorted(asked_in_all) == list(range(ROWS - 1))


def test_extrapolation_is_from_samples_to_descendants(trainer):
    def spy(data, fitted, asked):
        assert data.is_uniform[fitted].all() and not data.is_uniform[asked].any()
        assert len(fitted) == UNIFORM - 1 and len(asked) == ROWS - UNIFORM  # one of the samples failed
        return data.qualities[asked]

    assert all(one == (0, 1, pytest.approx(1)) for one in extrapolate(trainer.data, spy))
    assert extrapolate(replace(trainer.data, is_uniform=np.ones(ROWS - 1, bool)), spy) == []


def test_errors_in_closed_form():
    truth = np.array([[1.0], [2.0], [3.0], [4.0]])
    assert errors(truth, 5 - truth) == [(pytest.approx(5**0.5), pytest.approx(-3), pytest.approx(-1))]


# The account


@pytest.mark.parametrize("name", WITHOUT_EXTRA)
def test_every_searcher_spends_its_budget_and_no_token_more(name, trainer, box):
    """Counted a second time, from the jobs; and its curve is the hypervolume of what had ended by then."""
    bill, landed = [], []

    def train(job):
        result = trainer(job)
        begun = 0 if not job.state else bill_of[job.task.hash]
        bill_of[job.task.hash] = STEPS[-1 if job.until is None else job.until]
        bill.append((bill_of[job.task.hash] - begun) * STEP_TOKENS)
        if result.evaluation.status is Status.OK:
            landed.append((sum(bill), [result.evaluation.objectives[column] for column in COLUMNS]))
        return result

    bill_of = {}
    searcher = SEARCHERS[name]
    config = searcher.configure(CONFIG)
    budgeted = BudgetedTrainer(train, config, TRAININGS)
    with pytest.raises(BudgetExhausted):
        searcher.search(budgeted, config)
    outcome = budgeted.outcome(box, 6)
    assert outcome.tokens == sum(bill) and budgeted.budget == TRAININGS * STEPS[-1] * STEP_TOKENS
    if config.rungs == 1:
        assert outcome.tokens == budgeted.budget and outcome.trainings == outcome.finished == TRAININGS
    else:
        assert 0 <= budgeted.budget - outcome.tokens < STEPS[-1] * STEP_TOKENS
        assert outcome.finished < outcome.trainings > TRAININGS
    assert outcome.finished == len(landed) == len(budgeted.points())
    for share, volume in enumerate(outcome.curve, start=1):
        points = np.array([values for tokens, values in landed if tokens <= share * budgeted.budget / 6])
        assert volume == pytest.approx(hypervolume(points, box), rel=1e-12)
    assert (np.diff(outcome.curve) >= 0).all() and outcome.curve[-1] > 0


def test_who_trains_one_architecture_twice_pays_twice(trainer, box):
    budgeted = BudgetedTrainer(trainer, CONFIG, 3)
    genome = (1, 1, 1, 1, 1) * 8
    spelled_otherwise = (1, 2, 1, 3, 1) * 8
    assert budgeted.score(genome) == budgeted.score(spelled_otherwise)
    outcome = budgeted.outcome(box, 3)
    assert outcome.tokens == 2 * budgeted.full and (outcome.trainings, outcome.duplicates) == (2, 1)
    assert outcome.curve[0] == outcome.curve[2]


def test_the_box_is_that_of_the_samples(rows, box):
    sound = np.array([row.objectives for row in rows if row.status == "ok"][:UNIFORM])[:, [2, 1, 0]]
    worst, best = sound.max(axis=0), sound.min(axis=0)
    np.testing.assert_allclose(box.point, worst + 0.1 * (worst - best))
    assert hypervolume(best[None], box) == pytest.approx(1)


def test_all_have_the_same_genomes():
    low, high = plan_run(CONFIG).search.space.bounds()
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == BOUNDS


# The scripts


def test_the_page_of_the_comparison(rows, tmp_path, monkeypatch):
    record_table.write(tmp_path / "table.parquet", rows)
    page = tmp_path / "page.md"
    options = ["--quick", "--searchers", OURS, "pymoo nsga2", "--table", tmp_path / "table.parquet", "--out", page]
    monkeypatch.setattr(sys, "argv", [str(SCRIPTS / "search.py"), *map(str, options)])
    search.main()
    head, *parts = page.read_text().split("\n## ")
    assert f"{ROWS} recorded genomes, 1 of which failed" in " ".join(head.split())
    assert [part.splitlines()[0] for part in parts] == [
        "What each finds",
        "Each against the others",
        "Budget needed",
        "How wrong the surrogate is",
        "What a rung says about the end",
    ]
    for part in parts[:3]:
        cells = [line.strip("| ").split(" | ")[0] for line in part.splitlines() if line.startswith("|")]
        assert cells[2:] == [OURS, "pymoo nsga2"]
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG") and "(search.png)" in head


def test_the_page_of_what_a_search_costs(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["overhead.py", "--quick", "--out", str(page), "--drivers"])
    overhead.main()
    (row,) = [line for line in page.read_text().splitlines() if line.startswith(f"| {overhead.OURS}")]
    milliseconds, ratio = (float(cell.split()[0]) for cell in row.strip("| ").split(" | ")[1:3])
    assert milliseconds > 0 and ratio == 1


def test_an_event_log_that_is_being_written(tmp_path):
    log = EventLog(tmp_path)
    assert log.lines() == []
    with log.evaluation("11111"):
        assert [line.event for line in log.lines()] == [BEGUN]
    path = next(tmp_path.iterdir())
    path.write_text(path.read_text() + "begun 222")
    assert [(line.event, line.genome) for line in log.lines()] == [(BEGUN, "11111"), (ENDED, "11111")]


@pytest.mark.slow
def test_our_driver_killed_and_begun_again():
    command = ("drive_star",)
    whole = evaluated(command, 64)
    assert len(whole) == 64
    recovery = kill_and_resume(command, 64, 40, whole)
    assert (recovery.lost, recovery.repeated, recovery.alike) == (0, 0, True) and recovery.seconds > 0
