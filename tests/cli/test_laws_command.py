"""star laws fit and star laws plan: what they print, and the one line for each mistake."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.laws import DATA, draw_runs, read_epoch
from support.paths import ROOT

from star.laws.fits import LAWS, fit
from star.laws.intervals import bootstrap
from star.laws.overtraining import OverTraining
from star.laws.published import BESIROGLU, KAPLAN, KRAJEWSKI, LUDZIEJEWSKI, MUENNIGHOFF

EPOCH = ("laws", "fit", DATA / "epoch2024.csv", "--drop-highest", "5")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working directory, with a table of the runs of a law."""
    monkeypatch.chdir(tmp_path)
    write(BESIROGLU)
    return tmp_path


def write(law, columns=("params", "tokens", "loss"), name="runs.csv", number=100):
    """Write noiseless runs of a law."""
    runs = draw_runs(law, number)
    table = {column: getattr(runs, column).tolist() for column in columns}
    if name.endswith(".parquet"):
        pq.write_table(pa.table(table), name)
    else:
        rows = zip(*table.values(), strict=True)
        with open(name, "w") as file:
            file.write("\n".join([",".join(columns), *(",".join(map(repr, row)) for row in rows)]))
    return runs


def test_json_is_the_fit(star):
    code, out, err = star(*EPOCH, "--bootstrap", "200", "--budget", "5.76e23", "--json")
    assert code == 0, err
    record = json.loads(out)
    runs = read_epoch()
    made = fit(runs)
    sampled = bootstrap(runs, made, 200)
    assert {name: one["value"] for name, one in record["constants"].items()} == pytest.approx(made.constants)
    assert record["constants"]["alpha"]["interval"] == pytest.approx(sampled.constants()["alpha"])
    assert record["objective_value"] == made.value and record["runs"] == 240
    assert record["params_convention"] == "total"
    (best,) = record["optima"]
    assert best["params"] == pytest.approx(made.law.optimum(5.76e23).params)
    assert best["params_interval"][0] < best["params"] < best["params_interval"][1]
    assert record["residuals"]["log"] == pytest.approx(made.residuals)
    assert record["without_largest"]["runs"] == 60


def test_people_get_the_same_figures(star):
    code, out, err = star(*EPOCH, "--bootstrap", "100", "--budget", "5.76e23")
    assert (code, err) == (0, "")
    assert out.startswith("chinchilla: 240 runs, total parameters, by vp\n")
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert (lines["E"][1], lines["A"][1], lines["beta"][1]) == ("1.8172", "477.83", "0.36717")
    assert lines["5.76e+23"][1] == "73.19B" and lines["5.76e+23"][-1] == "1.9739"
    assert "sum of Huber losses 0.00101827" in out and "without the 60 runs above" in out


@pytest.mark.parametrize(
    ("law", "constants", "extra"),
    [
        ("chinchilla", BESIROGLU, ()),
        ("over-training", OverTraining.from_chinchilla(MUENNIGHOFF.once), ()),
        ("kaplan", KAPLAN, ("params_convention",)),
        ("data-constrained", MUENNIGHOFF, ("unique_tokens",)),
        ("experts", LUDZIEJEWSKI, ("active_params", "experts")),
        ("granularity", KRAJEWSKI, ("granularity",)),
    ],
)
def test_every_law_is_fitted_from_a_table(place, star, law, constants, extra):
    write(constants, ("params", "tokens", "loss", *(one for one in extra if one != "params_convention")))
    convention = "non-embedding" if law == "kaplan" else "total"
    given = ("laws", "fit", "runs.csv", "--law", law, "--params-convention", convention, "--bootstrap", "0")
    code, out, err = star(*given, "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["params_convention"] == convention
    for name, one in record["constants"].items():
        assert one == {"value": pytest.approx(getattr(constants, name), rel=1e-4), "interval": None}
    assert record["without_largest"]["error"] is None or record["without_largest"]["error"] < 1e-4
    assert star(*given)[0] == 0


def test_parquet_and_squared_errors(place, star):
    write(BESIROGLU, name="runs.parquet")
    code, out, err = star("laws", "fit", "runs.parquet", "--objective", "squared", "--bootstrap", "0", "--json")
    assert code == 0, err
    assert json.loads(out)["constants"]["alpha"]["value"] == pytest.approx(BESIROGLU.alpha, rel=1e-5)


def test_parabolas_come_with_their_bias(star):
    code, out, err = star(*EPOCH, "--estimator", "isoflop", "--json")
    assert code == 0, err
    record = json.loads(out)
    code, out, err = star(*EPOCH, "--estimator", "isoflop")
    assert code == 0 and f"C^{record['params_exponent']:.4f}" in out
    assert err.startswith("warning: parabolas are biased even without noise")
    assert f"{record['bias']['exponent']:+.4f} off" in err
    code, out, err = star(*EPOCH, "--estimator", "envelope")
    assert (code, err) == (0, "") and "N = " in out


def test_parabolas_whose_bias_cannot_be_told_say_so(place, star):
    """At three narrow budgets the law is refused, and parabolas are not."""
    rows = ["params,tokens,flops,loss"]
    for flops in (1e19, 1.3e19, 1.7e19):
        for times in (0.6, 0.8, 1, 1.25, 1.6):
            params = times * BESIROGLU.optimum(flops).params
            tokens = flops / 6 / params
            rows.append(f"{params},{tokens},{flops},{BESIROGLU.loss(params, tokens)}")
    (place / "runs.csv").write_text("\n".join(rows))
    code, _, err = star("laws", "fit", "runs.csv", "--estimator", "isoflop")
    assert code == 0 and "by how much cannot be told here: params lie between" in err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("fit no.csv", ["no.csv", "No such file"]),
        ("fit no.parquet", ["there is no file no.parquet"]),
        ("fit runs.csv --law chinchila", ["did you mean 'chinchilla'"]),
        ("fit runs.csv --estimator isoflops", ["no estimator 'isoflops'", "did you mean 'isoflop'"]),
        ("fit runs.csv --estimator isoflop --law kaplan", ["isoflop", "--law kaplan"]),
        ("fit runs.csv --objective huger", ["did you mean 'huber'"]),
        ("fit runs.csv --bootstrap 10", ["at least 100 samples"]),
        ("fit runs.csv --budget big", ["--budget", "'big'"]),
        ("fit runs.csv --column loss", ["NAME=COLUMN"]),
        ("fit runs.csv --column loss=los", ["runs.csv", "no column 'los'", "did you mean 'loss'"]),
        ("fit runs.csv --drop-highest 100", ["leaves no run of 100"]),
        ("fit runs.csv --drop-highest 95", ["at least 10 runs, not 5"]),
        ("fit runs.csv --params-convention embedding", ["'embedding'", "non-embedding"]),
        ("fit runs.csv --law kaplan", ["non-embedding"]),
        ("fit runs.csv --law experts", ["needs a column active_params"]),
        ("fit runs.csv --lw kaplan", ["did you mean '--law'?"]),
        ("plan", ["--flops", "--gpu-hours"]),
        ("plan --flops 1e22 --gpu-hours 100", ["either --flops or --gpu-hours"]),
        ("plan --flops much", ["--flops", "'much'"]),
        ("plan --gpu-hours 1k --gpu h10", ["unknown GPU 'h10'", "did you mean 'h100'"]),
        ("plan --gpu-hours 1k --utilisation 40", ["--utilisation", "not 40"]),
        ("plan --flops 1e22 --constants besiroglo", ["did you mean 'besiroglu'"]),
        ("plan --flops 1e22 --constants no.json", ["no.json", "No such file"]),
        ("plan --flops 1e22 --constants other.json", ["other.json", "no output of star laws fit --json"]),
        ("plan --flops 1e22 --constants repeated.json", ["params and tokens alone", "data-constrained"]),
        ("plan --flops 1e22 --constants negative.json", ["not the constants of chinchilla"]),
    ],
)
def test_a_mistake_is_one_line(place, refused, command, words):
    (place / "other.json").write_text('{"law": 3}')
    (place / "repeated.json").write_text('{"law": "data-constrained", "constants": {}}')
    (place / "negative.json").write_text('{"law": "chinchilla", "constants": {"E": {"value": -1}}}')
    refused(["laws", *command.split()], *words)


def test_a_plan_by_flops(star):
    code, out, err = star("laws", "plan", "--flops", "5.415445e23", "--inference-tokens", "10T", "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["optimal"]["params"] == pytest.approx(70e9, rel=1e-4)
    assert record["served"]["params"] == pytest.approx(32.8e9, rel=2e-3)
    assert record["served"]["saved"] == pytest.approx(0.291, abs=1e-3)
    assert record["served"]["loss"] == pytest.approx(record["optimal"]["loss"])
    code, out, err = star("laws", "plan", "--flops", "5.415445e23", "--inference-tokens", "10T")
    assert (code, err) == (0, "") and "29.1% fewer FLOPs" in out


def test_gpu_hours_are_flops_at_a_utilisation(star):
    code, out, _ = star("laws", "plan", "--gpu-hours", "1k", "--gpu", "a100", "--utilisation", "0.5", "--json")
    assert code == 0
    assert json.loads(out)["optimal"]["flops"] == pytest.approx(1000 * 3600 * 312e12 * 0.5)
    assert json.loads(out)["served"] is None


def test_a_plan_by_a_fit(place, star):
    code, out, _ = star("laws", "fit", "runs.csv", "--bootstrap", "0", "--json")
    (place / "fit.json").write_text(out)
    plans = [
        json.loads(star("laws", "plan", "--flops", "1e22", "--constants", name, "--json")[1])
        for name in ("fit.json", "besiroglu")
    ]
    assert plans[0]["optimal"] == pytest.approx(plans[1]["optimal"], rel=1e-6)


def test_the_guide_shows_what_is_printed(star, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "guides" / "laws.md").read_text()
    shown = page.replace("\n    ", "\n")
    for command in ("fit tests/laws/data/epoch2024.csv --drop-highest 5", "plan --gpu-hours 100k --utilisation 0.4"):
        assert f"    star laws {command}" in page
        extra = ("--inference-tokens", "10T") if command.startswith("plan") else ()
        code, out, err = star("laws", *command.split(), *extra)
        assert (code, err) == (0, "")
        assert out.strip() in shown
    assert all(f"| `{law}` |" in page for law in LAWS)
