"""Exported models: run without star, equal to the trained ones, and nothing in them that they do not use."""

import errno
import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.fake_run import write_run

from star.architecture import catalogue
from star.architecture.genome import Space, decode, parse, split, to_text
from star.architecture.scales import SCALES
from star.architecture.spec import BackboneConfig, Dimensions, ModelSpec, OperatorOverrides
from star.architecture.structures import specify
from star.errors import UserError
from star.export.front import export_front
from star.export.single_file import CODE_FILES, ExportHeader, export_model, model_source
from star.export.source import Reference, format_imports
from star.export.standalone import read_safetensors
from star.model.language_model import LanguageModel
from star.options import to_toml
from star.run.settings import Settings
from star.storage.run_directory import RunDirectory

DIMS = Dimensions(d_model=32, head_dim=8, vocab_size=256, seq_len=48)
SPACES = [Space(6), Space(6, "extended"), Space(6, "extended", "all")]

# Stands in for an interpreter that has torch and nothing of ours: these imports fail.
RUN_ALONE = """
import importlib.util, json, sys, warnings
absent = ("star", "jaxtyping", "safetensors", "numpy", "beartype")
sys.modules.update(dict.fromkeys(absent))
import torch  # warns that it found no numpy
warnings.simplefilter("error")
torch.set_num_threads(1)
torch.manual_seed(7)
tokens = torch.randint(0, 256, (2, 33))
for path in json.loads(sys.argv[1]):
    found = importlib.util.spec_from_file_location("model", path)
    module = sys.modules["model"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    model = module.load()
    with torch.no_grad():
        torch.save(model(tokens), path + ".logits")
    with open(path + ".text", "wb") as file:
        file.write(module.generate(model, b"star", 5, temperature=0.5, seed=1))
assert not any(name.split(".")[0] in absent and module for name, module in sys.modules.items())
"""


def header(genome):
    facts = (("lineage", "individual 3, born in generation 1"),)
    return ExportHeader(genome=genome, facts=facts, context=48, dtype_bytes=2)


def train_a_little(spec, seed):
    """A model whose weights are all different from what its constructor gives."""
    torch.manual_seed(seed)
    model = LanguageModel(spec).eval()
    for tensor in model.weights().values():
        tensor += 0.1 * torch.randn_like(tensor)
    return model


def stored(model):
    return {name: tensor.numpy() for name, tensor in model.weights().items()}


def evolved(space, rng):
    """A genome far from those that a search begins with."""
    genome = space.sample(rng)
    for _ in range(5):
        genome = space.repair(space.mutate(genome, rng))
    return genome


def some_genomes():
    """Pairs that share weights and features, random mixtures, and operators of no table."""
    pairs = [f"{number}1212-{number}1212-{number}1113-{number}1113" for number in (1, 5, 9, 17, 21, 23, 29, 33)]
    rng = np.random.default_rng(0)
    return [parse(pair) for pair in pairs] + [evolved(space, rng) for space in SPACES for _ in range(2)]


# Published ways to build a model, each with the genome that it is built from.
STYLES = {
    "11111-371111": Dimensions(
        **{"d_model": 32, "head_dim": 8, "vocab_size": 256, "seq_len": 64},
        style=BackboneConfig(
            norm="layer", norm_bias=True, positions="learned", parallel=(2,), tied=False, head_bias=True
        ),
        operators=(
            ("SA-1", OperatorOverrides(bias="CBV", out_bias=True)),
            ("GEGLU", OperatorOverrides(gate=False, bias="C")),
        ),
    ),
    "201111-91111-221111-91111": replace(
        DIMS,
        style=BackboneConfig(norm_place="both", embedding_scale=5.5, logit_cap=9.0, rotary=0.5),
        operators=(
            ("SWA-GQA", OperatorOverrides(num_kv_heads=2, rope_theta=100.0, window=5, value_head_dim=6)),
            ("QKNorm-GQA", OperatorOverrides(gate=True, score_scale=0.2, num_heads=2, num_kv_heads=1)),
        ),
    ),
    "521111-31112-91114-31112-91114": replace(DIMS, style=BackboneConfig(shift=4, parallel=(2, 1), shared_norm=True)),
    "11111-201111-91111": replace(
        DIMS,
        style=BackboneConfig(positions="alibi", embedding_norm=True, shared_norm=True, parallel=(1, 2)),
        operators=(("SA-1", OperatorOverrides(positions="relative")),),
    ),
    "211111-331111": replace(
        DIMS,
        style=BackboneConfig(norm_place="after", norm_gain=False),
        operators=(
            (
                "MLA",
                OperatorOverrides(num_heads=5, head_dim=6, rope_head_dim=4, latent_dim=12, rank=5, inner_norm=True),
            ),
            ("MoE", OperatorOverrides(num_experts=6, scoring="softmax")),
        ),
    ),
}


def some_models():
    """Genomes and specifications."""
    found = [(genome, ModelSpec(decode(genome), DIMS)) for genome in some_genomes()]
    return found + [(parse(text), specify(decode(parse(text)), dims)) for text, dims in STYLES.items()]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Folders of exported genomes, each with the trained model that it came from."""
    out = tmp_path_factory.mktemp("export")
    folders = {}
    for number, (genome, spec) in enumerate(some_models()):
        model = train_a_little(spec, number)
        folder = out / str(number)
        export_model(spec, stored(model), header(genome), folder)
        folders[folder] = model
    return folders


def test_logits_of_the_exported_file_equal_the_trained_models(exported):
    paths = [str(folder / "model.py") for folder in exported]
    command = [sys.executable, "-I", "-c", RUN_ALONE, json.dumps(paths)]
    subprocess.run(command, check=True, timeout=120)
    torch.manual_seed(7)
    tokens = torch.randint(0, 256, (2, 33))
    prompt = torch.tensor([list(b"star")])
    for folder, model in exported.items():
        with torch.no_grad():
            expected = model(tokens)
        logits = torch.load(folder / "model.py.logits", weights_only=True)
        assert expected.std() > 0.01
        assert torch.equal(logits, expected), folder
        text = model.generate(prompt, 5, 0.5, torch.Generator().manual_seed(1))
        assert list((folder / "model.py.text").read_bytes()) == text[0].tolist(), folder


def test_exported_files_have_no_undefined_unused_or_unsorted_name(exported):
    files = [str(folder / "model.py") for folder in exported]
    rules = ["--isolated", "--no-cache", "--select", "E4,E7,E9,F,I", "--target-version", "py311"]
    command = [sys.executable, "-m", "ruff", "check", *rules, *files]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-2000:]


def test_weights_that_slots_share_are_stored_once(exported):
    for folder, model in exported.items():
        size = sum(tensor.numel() for tensor in model.weights().values())
        assert sum(t.numel() for t in read_safetensors(folder / "model.safetensors").values()) == size
    assert any(len(stored(model)) < len(model.state_dict()) for model in exported.values())
    assert any("layers.1.selection_bias" in read_safetensors(folder / "model.safetensors") for folder in exported)


def source_of(text, dims=DIMS):
    return model_source(specify(decode(parse(text)), dims), header(parse(text)))


def test_only_what_a_genome_uses_is_in_its_file():
    """Each operator without the functions of the others, and without what its settings turn off."""
    marks = {"SelectiveScan": "5", "long_convolution": "8", "gated_delta_rule": "29", "KeyDecayChunks": "24"}
    marks |= {"HeadDecayChunks": "25", "LinearRecurrence": "30", "map_by_expert": "33", "def attend(": "1"}
    for mark, own in marks.items():
        for number in marks.values():
            assert (mark in source_of(f"{number}1111-91111")) == (number == own), (mark, number)
    plain = source_of("11111-91111")
    for absent in ("alibi", "relative", "sinks", "score_cap", "owners", "parts", "finish", "Spec"):
        assert absent not in plain.split('"""', 2)[2], absent
    assert "def alibi_scores" in source_of("11111-91111", replace(DIMS, style=BackboneConfig(positions="alibi")))


@pytest.mark.parametrize(
    ("genome", "lines"), [("transformer-pp", 360), ("lfm2-like", 400), ("striped-mamba", 540), ("gconv", 300)]
)
def test_files_are_short(genome, lines):
    found = catalogue.resolve(genome, 8)
    text = model_source(ModelSpec(decode(found), SCALES["nano"].dims), header(found))
    assert len(text.splitlines()) <= lines
    assert max(map(len, text.split('"""', 2)[2].splitlines())) <= 120


def test_sizes_and_layers_come_first():
    text = source_of("31111-91111-31112-91111-31112").split('"""', 2)[2]
    code = text[text.index("WIDTH = ") :]
    assert re.match(r"(\w+ = [\d_]+\n)+(FOCUS = 8\.0\n)?\n\ndef layers\(\):", code)
    assert "Attention(heads=4, kv_heads=1)" in code and "SwiGLU(width=85)" in code


def test_head_tells_genome_costs_and_lineage():
    genome = parse("31111-91111-31112-91111-31112")
    text = model_source(ModelSpec(decode(genome), DIMS), header(genome))
    head = text.split('"""')[1]
    model = LanguageModel(ModelSpec(decode(genome), DIMS))
    assert f"{sum(p.numel() for p in model.parameters()):,} in this file" in head
    assert to_text(genome) in head and "individual 3, born in generation 1" in head


def test_head_keeps_its_columns_and_tells_what_is_at_work():
    deck = "12123,1311,1211,1211+11144,1211,1211,1282/11111-21111"
    genome = parse(deck)
    head = model_source(ModelSpec(decode(genome), DIMS), header(genome)).split('"""')[1]
    assert deck in head and " of them at work on one token" in head
    top, *rows = [line for line in head.splitlines() if re.match(r" +(slot|\d) ", line)]
    assert len(rows) == 2 and "attention~" in rows[0] and "routed~" in rows[1]
    assert len({len(row) for row in rows}) == 1 and rows[0].index("attention") == top.index("class")


def test_head_counts_slots_from_one():
    genome = parse("11112-91111-11112")
    head = model_source(ModelSpec(decode(genome), DIMS), header(genome)).split('"""')[1]
    rows = [line.split() for line in head.splitlines() if re.match(r" +\d ", line)]
    assert [(row[0], row[4:]) for row in rows] == [("1", []), ("2", []), ("3", ["1"])]


def test_paths_cannot_break_the_head():
    genome = parse("91111")
    odd = ExportHeader(genome=genome, facts=(("corpus", 'C:\\new\\"""'),), context=1, dtype_bytes=2)
    compile(model_source(ModelSpec(decode(genome), DIMS), odd), "model.py", "exec")


def import_file(path):
    found = importlib.util.spec_from_file_location("exported_model", path)
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


def test_command_line_continues_a_text(exported, monkeypatch, capsys):
    module = import_file(next(iter(exported)) / "model.py")

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["model.py", "def ", "--bytes", "20", *options])
        module.main()
        return capsys.readouterr().out

    assert run().startswith("def ") and run() == run()
    assert run("--temperature", "2") != run("--temperature", "2", "--seed", "1")
    model, likeliest = module.load(), b"x" * 60  # longer than seq_len
    for _ in range(3):
        likeliest += bytes([int(model(torch.tensor([list(likeliest)]))[0, -1].argmax())])
    assert module.generate(model, b"x" * 60, 3, temperature=0) == likeliest
    assert len(module.generate(model, b"", 3, temperature=0)) == 4, "an empty prompt is a line's end"


def test_wrong_weights_are_refused_in_one_line(exported, tmp_path, monkeypatch, capsys):
    folders = list(exported)
    (tmp_path / "model.py").write_text((folders[0] / "model.py").read_text())
    module = import_file(tmp_path / "model.py")
    right, other = ((folder / "model.safetensors").read_bytes() for folder in (folders[0], folders[4]))
    monkeypatch.setattr(sys, "argv", ["model.py"])
    for content, words in (
        (None, "No such file"),
        (b"", "not a complete safetensors file"),
        (b"no weights at all, just text", "not a complete safetensors file"),
        (right[:-4], "not a complete safetensors file"),
        (other, "weights of another model"),
    ):
        if content is not None:
            (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(SystemExit, match="2"):
            module.main()
        assert words in capsys.readouterr().err


CONFIG = Settings(population=8, generations=2, slots=3, corpus=("stdlib",))


def front_of(run):
    return [one for one in run.latest_generation().individuals if one.rank == 0 and one.status == "ok"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "some run", CONFIG, weights=True)


def test_front_is_exported_whole_with_a_list_of_it(finished, tmp_path):
    assert export_front(finished, tmp_path / "out") == []
    readme = (tmp_path / "out" / "README.md").read_text()
    front = front_of(finished)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", *(str(one.id) for one in front)}
    for one in front:
        head = (tmp_path / "out" / str(one.id) / "model.py").read_text().split('"""')[1]
        parents = " and ".join(map(str, one.parents))
        assert f"of {parents}\n" in head if parents else "by sampling\n" in head
        for text in (to_text(one.genome), one.hash, f"individual {one.id} of some run", "c0ffee", "muon"):
            assert text in head
        assert f"`{to_text(one.genome)}`" in readme and f"[{one.id}]({one.id}/model.py)" in readme
        arrays = finished.load_weights(one.hash)
        read = read_safetensors(tmp_path / "out" / str(one.id) / "model.safetensors")
        assert sorted(one.numpy().tobytes() for one in read.values()) == sorted(
            one.tobytes() for one in arrays.values()
        )
    qualities = [one.objectives["quality_bpb"] for one in front]
    assert [line.split(" | ")[1] for line in readme.splitlines() if line.startswith("| [")] == [
        f"{quality:.4f}" for quality in sorted(qualities)
    ]


def test_exporting_again_replaces_old_models_and_spares_what_is_not_ours(finished, tmp_path):
    export_front(finished, tmp_path)
    for name in ("100001", "100002", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.py").write_text("")
    (tmp_path / "100002" / "mine.txt").write_text("")
    export_front(finished, tmp_path)
    assert not (tmp_path / "100001").exists()
    assert (tmp_path / "100002" / "mine.txt").exists() and (tmp_path / "notes").exists()


def test_a_front_of_own_decks_is_listed_briefly(tmp_path):
    run = write_run(tmp_path / "run", replace(CONFIG, deck="extended", levels="all"), weights=True)
    assert export_front(run, tmp_path / "out") == []
    readme = (tmp_path / "out" / "README.md").read_text()
    for one in front_of(run):
        classes, backbone = split(one.genome)
        assert f"`{to_text(backbone)}` over {len(classes)} classes of its own" in readme
        assert to_text(one.genome) in (tmp_path / "out" / str(one.id) / "model.py").read_text()


def test_missing_weights_are_named_and_the_code_is_exported(tmp_path):
    run = write_run(tmp_path / "run", CONFIG)
    notes = export_front(run, tmp_path / "out")
    front = front_of(run)
    assert len(notes) == len(front) > 0
    for one in front:
        assert any(one.hash in note and f"Model {one.id} " in note for note in notes)
        assert {path.name for path in (tmp_path / "out" / str(one.id)).iterdir()} == {*CODE_FILES}
    assert all(note in (tmp_path / "out" / "README.md").read_text() for note in notes)


def test_an_export_mends_what_an_earlier_one_left(tmp_path):
    run = write_run(tmp_path / "run", CONFIG)
    out = tmp_path / "out"
    folder = out / str(front_of(run)[0].id)
    folder.mkdir(parents=True)
    (out / "README.md").touch()
    (folder / "model.safetensors").write_bytes(b"of another run")
    export_front(run, out)
    assert (out / "README.md").read_text().startswith("# Pareto front of run")
    assert sorted(path.name for path in folder.iterdir()) == sorted(CODE_FILES)


def test_a_failed_export_leaves_the_earlier_one_whole(finished, tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError(errno.ENOSPC, "No space left on device")

    export_front(finished, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with monkeypatch.context() as full, pytest.raises(UserError, match="No space left"):
        full.setattr("os.replace", refuse)
        export_front(finished, tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_front_without_members_is_told(tmp_path):
    run = write_run(tmp_path / "run", CONFIG, failing=1.0)
    (note,) = export_front(run, tmp_path / "out")
    assert "empty" in note and note in (tmp_path / "out" / "README.md").read_text()


def test_exports_that_cannot_be_are_refused(finished, tmp_path):
    (tmp_path / "README.md").write_text("# My own project")
    with pytest.raises(UserError, match="no export wrote"):
        export_front(finished, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        export_front(finished, tmp_path / "file")
    with pytest.raises(UserError, match="no finished generation"):
        export_front(RunDirectory(tmp_path / "new").create(to_toml(CONFIG)), tmp_path / "out")


def test_costs_counted_elsewhere_are_said_to_be(tmp_path):
    run = write_run(tmp_path / "run", replace(CONFIG, target="1b", context=32_768))
    export_front(run, tmp_path / "out")
    head = (tmp_path / "out" / str(front_of(run)[0].id) / "model.py").read_text()
    assert "(costs counted at 1b)" in head and "at 32,768 tokens" in head


def test_imports_are_grouped_and_sorted():
    imports = {
        "F": Reference("torch.nn.functional", ""),
        "nn": Reference("torch", "nn"),
        "Tensor": Reference("torch", "Tensor"),
        "math": Reference("math", ""),
        "cache": Reference("functools", "cache"),
    }
    standard = "import math\nfrom functools import cache"
    torch_last = "import torch.nn.functional as F\nfrom torch import Tensor, nn"
    assert format_imports(imports) == f"{standard}\n\n{torch_last}"
