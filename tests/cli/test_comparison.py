"""star compare --tokens: trainings, their continuation, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from star.architecture.genome import parse
from star.comparison.statistics import holm
from star.data.token_files import open_corpus
from star.metrics.trained_model import read_training
from star.trainer.plan import plan_training
from star.trainer.settings import from_toml
from star.trainer.trainer import LAST_VALID
from star.training.loss import measure_windows

GIVEN = ("--scale", "tiny.toml", "--corpus", "text.txt", "--tokens", "640", "--workers", "1", "--out", "c")


def test_a_comparison_trains_tests_and_goes_on(place, star):
    code, out, err = star("compare", "lfm2-like", "mamba", *GIVEN, "--seeds", "2", "--json")
    assert code == 0, err
    matches = json.loads(out)["matches"]
    assert [one["equal"] for one in matches] == ["parameters", "training FLOPs"]
    pairs = []
    for match in matches:
        first, other = match["architectures"]
        assert first["d_model"] == first["own_d_model"] == 16
        assert first["by_seed"] == matches[0]["architectures"][0]["by_seed"]
        for number, one in enumerate((first, other), start=1):
            for seed, quality in enumerate(one["by_seed"]):
                path = place / "c" / f"{number}-width{one['d_model']}-seed{seed}"
                trained = read_training(path)
                assert sum(p.numel() for p in trained.model.parameters()) == one["params"]
                assert trained.genome == parse(one["genome"])
                plan = plan_training(from_toml((path / "train.toml").read_text()))
                assert plan.settings.seed == seed
                recipe = replace(plan.recipe, valid_tokens=LAST_VALID)
                measured = measure_windows(trained.model, open_corpus(place / "c/text"), recipe)
                assert quality == pytest.approx(measured.mean, rel=1e-6)
        gaps = np.subtract(first["by_seed"], other["by_seed"])
        [difference] = match["differences"]
        assert difference["difference"] == pytest.approx(gaps.mean())
        pairs.append((first["by_seed"], other["by_seed"]))
    expected = holm([ttest_rel(*pair).pvalue for pair in pairs])
    assert [match["differences"][0]["p"] for match in matches] == pytest.approx(expected)

    code, out, err = star("compare", "lfm2-like", "mamba", *GIVEN, "--seeds", "3")
    assert code == 0 and "4/4" not in err.splitlines()[0]
    trained = [line.split()[1] for line in err.splitlines() if "bits/byte" in line]
    assert trained and all(name.endswith("seed2") for name in trained), "the others are not trained again"
    assert "at equal parameters" in out and "corrected for 2 comparisons" in out and "lfm2-like" in out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("lfm2-like", "--tokens", "640"), "needs two architectures or more"),
        (("lfm2-like", "lfm2-like", "--tokens", "640"), "each named once"),
        (("lfm2-like", "mamba", "--seeds", "2"), "--seeds is for a comparison by training: give --tokens too"),
        (("lfm2-like", "mamba", "--out", "d"), "--out is for a comparison by training: give --tokens too"),
        (("lfm2-like", "mamba", "--tokens", "640", "--context", "64"), "--context is for costs alone"),
        (("lfm2-like", "mamba", *GIVEN[:-1], "full"), "full is not empty and holds no comparison"),
        (("lfm2-like", "mamba", *GIVEN[:4], "--tokens", "8", "--out", "d"), "less than one training step"),
        (("lfm2-like", "mambo", *GIVEN), "did you mean 'mamba'"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_sentence(place, refused, given, words):
    (place / "full").mkdir()
    (place / "full/notes.txt").write_text("mine")
    refused(["compare", *given], words)


def test_another_comparison_in_the_directory_is_refused(place, star, refused):
    assert star("compare", "lfm2-like", "gconv", *GIVEN, "--seeds", "1")[0] == 0
    refused(["compare", "lfm2-like", "mamba", *GIVEN, "--seeds", "1"], "c holds a comparison with other genomes")
    code, out, _ = star("compare", "lfm2-like", "gconv", *GIVEN, "--seeds", "1")
    assert code == 0 and "no difference is shown by one seed" in out
