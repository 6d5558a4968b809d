"""Models as graphs: what onnxruntime and torch.export compute, from an empty cache on, and what cannot be expressed."""

import json
import subprocess
import sys

import onnx
import pytest
from support.paths import TESTS

from star.architecture.genome import decode, parse
from star.architecture.genome.deck import DECK
from star.export.formats import GRAPHS, ONNX, TORCH_EXPORT

PLAIN = [number for number, row in DECK.items() if "-Diff" not in row.name and "-Shift" not in row.name]
NUMBERS = {DECK[number].name: number for number in DECK}
HYBRID = "7.1.1.1.1-9.1.1.1.1-3.1.1.1.1-9.1.1.1.1"
SHARING = "3.1.1.1.4-9.1.1.1.1-3.1.1.1.4-9.1.1.1.1"
CLOSE = 1e-4  # of logits of about 1, in float32


def export(kind, genome, folder):
    """What the program of support/graphs.py says."""
    command = [sys.executable, "-m", "support.graphs", kind, genome, str(folder)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_hybrid_runs_in_onnxruntime_for_tokens_of_any_number_and_step_by_step(tmp_path):
    found = export(ONNX, HYBRID, tmp_path)
    assert found["notes"] == [] and found["forward"] < CLOSE and found["step"] < CLOSE
    text = (tmp_path / "forward.onnx").read_bytes() + (tmp_path / "step.onnx").read_bytes()
    assert b"site-packages" not in text and b"language_model.py" not in text, "no paths of this machine"
    onnx.checker.check_model(onnx.load(tmp_path / "step.onnx"))


def test_slots_that_share_features_have_one_cache(tmp_path):
    slots = decode(parse(SHARING))
    assert any(source != i for i, slot in enumerate(slots) for source in slot.features_from)
    found = export(ONNX, SHARING, tmp_path)
    assert found["notes"] == [] and found["step"] < CLOSE
    names = [one.name for one in onnx.load(tmp_path / "step.onnx").graph.input]
    assert names[0] == "tokens" and len(names) < 1 + 2 * 2, "the second attention has no history of its own"


def test_a_recurrence_takes_one_number_of_tokens_and_steps_of_one(tmp_path):
    found = export(TORCH_EXPORT, f"{NUMBERS['Rec-2']}.1.1.1.1-9.1.1.1.1", tmp_path)
    assert found["notes"] == ["forward.pt2 takes 16 tokens, no more and no fewer, because of Rec-2 (slot 1)"]
    assert found["forward"] < CLOSE and (tmp_path / "step.pt2").exists()


@pytest.mark.parametrize("kind", GRAPHS)
def test_experts_are_refused_by_name(kind, tmp_path):
    experts = f"{NUMBERS['MoE']}.1.1.1.1"
    found = export(kind, f"9.1.1.1.1-{experts}-9.1.1.1.1-{experts}", tmp_path)
    assert found == {"refused": f"{kind} cannot express MoE (slots 2, 4)"}
    assert not list(tmp_path.iterdir())


NO_FORWARD = {"MoE", "MoE-shared", "LinAttn", "GLA", "SSD", "Mamba-2", "GDN"}


@pytest.mark.slow
@pytest.mark.parametrize("number", PLAIN, ids=lambda number: DECK[number].name)
def test_every_class_in_onnx(number, tmp_path):
    name = DECK[number].name
    found = export(ONNX, f"{number}.1.1.1.1-9.1.1.1.1", tmp_path)
    assert ("refused" in found) == (name in NO_FORWARD)
    if "refused" in found:
        assert name in found["refused"]
        return
    assert found["forward"] < CLOSE and all(name in note for note in found["notes"])
    assert found["step"] < CLOSE


def test_a_graph_without_weights_is_refused(refused, tmp_path):
    refused(["export", "transformer-pp", "--format", "onnx", "--to", tmp_path / "m"], "give --weights random")
    refused(["export", "transformer-pp", "--format", "onxx", "--to", tmp_path / "m"], "did you mean 'onnx'")
