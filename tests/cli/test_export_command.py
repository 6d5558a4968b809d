"""star export of runs, members, trainings, names and genomes, at the sizes that were trained or others."""

import importlib.util
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from support.fake_run import write_run

from star.architecture import catalogue
from star.architecture.genome import canonical, decode, tile
from star.architecture.structures import specify
from star.cost.cost import price
from star.metrics.trained_model import read_model
from star.model.language_model import LanguageModel
from star.run.plan import read_plan
from star.run.settings import Settings
from star.storage.run_directory import RunDirectory


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of an invented run whose target is larger than what it trains."""
    config = Settings(population=6, generations=2, slots=3, target="micro")
    return write_run(tmp_path_factory.mktemp("runs") / "run", config, weights=True).path


def count_parameters(folder) -> int:
    """The parameters that the code of an exported model has."""
    found = importlib.util.spec_from_file_location("model", folder / "model.py")
    module = importlib.util.module_from_spec(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "model", module)
        found.loader.exec_module(module)
    with torch.device("meta"):
        return sum(one.numel() for one in module.LanguageModel().parameters())


@pytest.mark.parametrize("name", ["lfm2-1.2b", "llama-3.2-1b", "mamba-2.8b"])
def test_a_published_model_is_exported_at_its_own_size(place, star, name):
    code, out, err = star("export", name, "--to", "m")
    assert code == 0, err
    assert count_parameters(place / "m") == catalogue.load(name).published["params"]
    assert sorted(one.name for one in (place / "m").iterdir()) == ["README.md", "model.py", "train.py"]


@pytest.mark.parametrize("scale", ["nano", "125m", "tiny.toml", "lfm2-1.2b"])
def test_a_name_takes_the_sizes_that_are_asked_for(place, star, scale):
    assert star("export", "lfm2-like", "--scale", scale, "--to", "m")[0] == 0
    sizes = catalogue.find_scale(scale)
    genome = catalogue.load("lfm2-like").at(sizes.num_slots)
    assert count_parameters(place / "m") == price(decode(genome), sizes.dims).params
    assert f"those of {scale}, at which this model was not trained" in (place / "m/model.py").read_text()


def test_the_front_leaves_at_the_target(place, star, run):
    code, out, err = star("export", run, "--to", "m", "--weights", "none", "--json")
    assert code == 0, err
    plan, front = read_plan(RunDirectory(run)), RunDirectory(run).latest_generation().front
    assert json.loads(out)["models"] == [
        f"m/{one.id}" for one in sorted(front, key=lambda one: one.objectives["quality_bpb"])
    ]
    for one in front:
        genome = tile(canonical(one.genome), plan.target_scale.num_slots)
        cost = plan.target.count(genome)
        assert count_parameters(place / "m" / str(one.id)) == cost.params
        assert star("export", f"{run}:{one.id}", "--weights", "none", "--to", "one")[0] == 0
        assert (place / "one/model.py").read_text() == (place / "m" / str(one.id) / "model.py").read_text()


def test_without_asking_for_sizes_what_was_trained_is_exported_and_the_target_named(place, star, run):
    code, _, err = star("export", run, "--to", "m")
    assert code == 0 and "as trained, at nano; --weights none or random exports them at the target micro" in err
    one = RunDirectory(run).latest_generation().front[0]
    assert star("export", f"{run}:{one.id}", "--to", "one")[0] == 0
    for name in ("model.py", "model.safetensors"):
        assert (place / "one" / name).read_bytes() == (place / "m" / str(one.id) / name).read_bytes()


def test_random_weights_are_those_that_a_training_begins_with(place, star):
    for seed, folder in ((0, "a"), (0, "b"), (1, "c")):
        given = ("--scale", "tiny.toml", "--weights", "random", "--seed", seed, "--to", folder)
        assert star("export", "lfm2-like", *given)[0] == 0
    first, again, other = (load_file(place / folder / "model.safetensors") for folder in "abc")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    torch.manual_seed(0)
    drawn = LanguageModel(specify(decode(catalogue.load("lfm2-like").at(3)), catalogue.find_scale("tiny.toml").dims))
    for name, one in read_model(place / "a").model.weights().items():
        assert torch.equal(drawn.weights()[name], one)


def test_a_training_is_exported_as_it_was_at_its_end_or_at_another_size(place, star):
    train = ("train", "lfm2-like", "--scale", "tiny.toml", "--corpus", "text.txt", "--tokens", "640")
    assert star(*train, "--peak-flops", "1G", "--out", "t")[0] == 0
    assert star("export", "t", "--to", "same")[0] == 0
    one, other = (load_file(folder / "model.safetensors") for folder in (place / "same", place / "t/model"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    (place / "tiny.toml").unlink()
    assert star("export", "t", "--to", "own", "--weights", "random")[0] == 0
    assert count_parameters(place / "own") == count_parameters(place / "same")
    assert star("export", "t", "--to", "large", "--scale", "125m")[0] == 0
    dims = catalogue.find_scale("125m").dims
    genome = read_model(place / "t").genome
    assert count_parameters(place / "large") == price(decode(genome), replace(dims)).params


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("nosuch", "--to", "m"), "unknown genome 'nosuch'"),
        (("lfm2-lik", "--to", "m"), "did you mean 'lfm2-like'"),
        (("runs/none", "--to", "m"), "runs/none is not a run"),
        (("lfm2-like", "--to", "m", "--weights", "traned"), "did you mean 'trained'"),
        (("lfm2-like", "--to", "m", "--weights", "trained"), "lfm2-like has no trained weights"),
        (("lfm2-like", "--to", "m", "--weights", "trained", "--scale", "nano"), "leave --scale out"),
        (("lfm2-like", "--to", "m", "--scale", "nanoo"), "unknown scale 'nanoo'"),
        (("lfm2-like", "--to", "full"), "full holds notes.txt, which no export wrote"),
        (("lfm2-like", "--to", "text.txt"), "text.txt"),
        (("deepseek-v3-671b", "--to", "m", "--weights", "random"), "leave them out by --weights none"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_sentence(place, refused, given, words):
    (place / "full").mkdir()
    (place / "full/notes.txt").write_text("mine")
    refused(["export", *given], words)
    assert not (place / "m").exists() and (place / "full/notes.txt").read_text() == "mine"


def test_a_model_of_a_family_leaves_as_a_checkpoint_of_it(place, star, refused):
    given = ("--scale", "nano", "--weights", "random", "--format", "native")
    code, out, err = star("export", "transformer-pp", *given, "--to", "llama", "--json")
    assert code == 0 and json.loads(out)["notes"][-1] == "llama is a checkpoint of llama"
    assert json.loads((place / "llama/config.json").read_text())["model_type"] == "llama"
    assert {one.name for one in (place / "llama").iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")
    }
    refused(["export", "mamba", *given, "--family", "llama", "--to", "m"], "the model does not lie in llama")
    refused(["export", "mamba", *given, "--family", "lama", "--to", "m"], "did you mean 'llama'")
    refused(["export", "mamba", "--family", "llama", "--to", "m"], "--family is for --format native")
