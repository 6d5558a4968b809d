"""The ranking of proxies: which architectures it trains, and how."""

import sys
from dataclasses import replace

import torch
from support.fitting import fit
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))  # as Python does for scripts that stand there

import proxy_ranking  # noqa: E402

from star.architecture import catalogue  # noqa: E402
from star.architecture.catalogue import find_scale  # noqa: E402
from star.architecture.genome import decode  # noqa: E402
from star.architecture.spec import ModelSpec  # noqa: E402
from star.data.corpus import load_corpus  # noqa: E402
from star.model.language_model import LanguageModel  # noqa: E402


def test_the_ranking_of_proxies_takes_the_patterns_unless_it_is_given_names():
    patterns = "striped-mamba, lfm2-like, hyena-like, gqa-transformer, transformer-pp, gconv, mamba"
    assert sorted(proxy_ranking.read_arguments([]).names) == sorted(patterns.split(", "))
    assert proxy_ranking.read_arguments(["gpt-2-124m"]).names == ["gpt-2-124m"]


def test_a_proxy_of_the_ranking_is_trained_as_a_proxy_of_a_run():
    """A short budget, beside the training of a run from the same seed."""
    quality, seconds = proxy_ranking.train(("transformer-pp", "nano", 4_096, 3, {"batch_size": 4}))
    scale = find_scale("nano")
    recipe = replace(scale.recipe, tokens=4_096, batch_size=4)
    torch.manual_seed(3)
    model = LanguageModel(ModelSpec(decode(catalogue.load("transformer-pp").at(scale.num_slots)), scale.dims))
    fitted = fit(model, load_corpus(("stdlib",), 1 << 30), recipe, 3)
    assert quality == fitted.quality_bpb and seconds > 0
