"""star eval, as a person types it."""

import json
import math
import sys
from pathlib import Path

import pytest
from support.fake_run import write_run
from support.measured import PAIRS, export_small
from support.tiny import CONFIG, TINY_TOML, write_text

import star.metrics as star_metrics
from star.cli.command import run
from star.cli.eval import finite
from star.data.split import open_split
from star.data.token_files import build_corpus
from star.metrics.documents import Reading, read_documents
from star.metrics.loss import measure_loss
from star.metrics.trained_model import read_model
from star.metrics.windows import Windowing
from star.storage.run_directory import RunDirectory

TRAIN = (
    "train",
    "lfm2-like",
    "--scale",
    "tiny.toml",
    "--corpus",
    "text.jsonl",
    "--tokens",
    "640",
    "--peak-flops",
    "1G",
)
TASK = """\
task: squares
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/rows.jsonl}}, cache_dir: {folder}/cache}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: [" yes", " no"]
doc_to_target: 0
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with a training, exported models, a run, text, tokens and a task of lm-eval."""
    path = tmp_path_factory.mktemp("place")
    (path / "tiny.toml").write_text(TINY_TOML)
    write_text(path)
    (path / "text.jsonl").write_text(
        "".join(json.dumps({"text": f"{n} times {n} is {n * n}.\n" * 3}) + "\n" for n in range(80))
    )
    (path / "rows.jsonl").write_text("".join(json.dumps({"question": f"Is {n} odd?"}) + "\n" for n in range(4)))
    (path / "squares.yaml").write_text(TASK.format(folder=path))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        assert run([*TRAIN, "--tokenizer", "bpe:300", "--out", "t"]) == 0
        write_run(Path("r"), CONFIG, weights=True, failing=0)
    export_small(path / "learned", scale_toml=TINY_TOML + '\n[style]\npositions = "learned"\n')
    build_corpus(open_split((str(path / "text.jsonl"),)), PAIRS, path / "tokens")
    return path


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)


def test_the_loss_of_a_training_is_that_on_its_validation_text(here, star):
    code, out, err = star("eval", "t", "--json", "--tokens", "400")
    assert code == 0, err
    found, trained = json.loads(out), read_model(Path("t"))
    documents = read_documents(Reading(source=trained.source, side="validation", tokens=400), trained)
    expected = measure_loss(trained.model, documents, trained.tokenizer.end, Windowing(16, 16))
    text = found["text"]
    assert set(found) == {"model", "text"} and found["model"]["tokenizer"] == "bpe:300"
    assert (text["tokens"], text["documents"]) == (expected.tokens, expected.documents)
    assert (text["bits_per_byte"], tuple(text["interval"])) == (expected.bits_per_byte, expected.interval)
    assert text["perplexity"] == math.exp(text["loss"]) and text["corpus"].endswith("text.jsonl")
    assert text["interval"][0] < text["bits_per_byte"] < text["interval"][1]


def test_the_exported_model_of_a_training_has_the_same_loss(here, star):
    names = {"README.md", "model.py", "model.safetensors", "tokenizer.json", "train.py"}
    assert {one.name for one in Path("t/model").iterdir()} == names
    found = [json.loads(star("eval", one, "--corpus", "text.jsonl", "--json")[1]) for one in ("t", "t/model")]
    assert found[0]["text"] == found[1]["text"]
    assert found[0]["model"] | {"name": ""} == found[1]["model"] | {"name": ""}


def test_a_person_reads_tables(here, star):
    code, out, err = star("eval", "t", "--contexts", "4,16", "--speed", "--corpus", "text.jsonl", "--stride", "8")
    assert code == 0, err
    assert "t: 9.34 k parameters at tiny, tokenizer bpe:300, float32 on cpu" in out
    assert (
        "bits/byte (95 % interval " in out and "8 documents" in out and "windows of 16 tokens that begin every 8" in out
    )
    lines = out.splitlines()
    assert any(line.split()[:3] == ["4", "3", "to"] for line in lines)
    assert sum(line.endswith("-") for line in lines) == 2, "no peak of memory on a CPU"
    assert "priced" in out and "prefill tokens/s" in out


def test_a_member_of_a_run_is_measured(here, star):
    one = RunDirectory("r").latest_generation().front[0]
    code, out, err = star("eval", f"r:{one.id}", "--corpus", "text.txt", "--side", "all", "--tokens", "500", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["text"]["tokens"] == 500 and found["text"]["interval"] is None and found["model"]["params"] > 0
    _, out, _ = star("eval", f"r:{one.id}", "--corpus", "text.txt", "--tokens", "50")
    assert "(no interval of one document)" in out and "1 document, 50 tokens, 50 bytes" in out


def test_only_what_is_asked_for_is_measured(here, star):
    arguments = ("--prompt", "3 times", "--prompt", "", "--samples", "2", "--max-tokens", "5", "--temperature", "0")
    found = json.loads(star("eval", "t", *arguments, "--json")[1])
    assert set(found) == {"model", "samples"} and [one["prompt"] for one in found["samples"]] == ["3 times", ""]
    assert all(len(one["texts"]) == 2 and len(set(one["texts"])) == 1 for one in found["samples"])
    code, out, _ = star("eval", "t", "--prompt", "\x1b[2J\n", "--max-tokens", "3")
    assert code == 0 and "\x1b" not in out and "after '\\x1b[2J\\n':" in out
    found = json.loads(star("eval", "t", "--speed", "--json", "--contexts", "4", "--dtype", "bfloat16")[1])
    (one,) = found["speed"]
    assert set(found) == {"model", "speed"} and found["model"]["dtype"] == "bfloat16"
    assert one["weight_bytes"] == one["priced_weight_bytes"] == 2 * found["model"]["params"]
    assert one["decode_tokens_per_second"] == pytest.approx(1 / one["decode_seconds"][0])
    found = json.loads(star("eval", "t", "--task", "mad/memorization", "--task-tokens", "64", "--json")[1])
    assert set(found) == {"model", "tasks"} and 0 <= found["tasks"][0]["error"] <= 1


def test_tasks_of_lm_eval(here, star, place):
    arguments = ("eval", "t", "--harness", "squares", "--harness-dir", place)
    found = json.loads(star(*arguments, "--json")[1])
    assert set(found) == {"model", "harness"} and 0 <= found["harness"]["squares"]["acc"] <= 1
    code, out, _ = star(*arguments)
    assert code == 0 and any(line.split()[:2] == ["squares", "acc"] for line in out.splitlines())


def test_without_lm_eval_one_sentence_names_the_extra(here, refused, monkeypatch):
    monkeypatch.delitem(sys.modules, "star.metrics.harness", raising=False)
    monkeypatch.delattr(star_metrics, "harness", raising=False)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    for name in [one for one in sys.modules if one.startswith("lm_eval.")]:
        monkeypatch.delitem(sys.modules, name)
    refused(("eval", "t", "--harness", "squares"), '--harness needs lm-eval: pip install lm-eval, or "star[eval]"')


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nothing",), "nothing is no model: neither the directory of a training, nor an exported folder"),
        (("r",), "r is a run of many models: name one as r:ID"),
        (("r:999999",), "r keeps no individual 999999"),
        (("text.txt",), "text.txt is not a complete safetensors file"),
        (("t", "--corpus", "tokens"), "tokens was built by tokenizer "),
        (("t", "--corpus", "text.txs"), "text.txs does not exist; did you mean"),
        (("t", "--corpus", "t/curve.parquet"), "t/curve.parquet"),
        (("learned", "--context", "17"), "--context must be at most 16, the learned positions of learned, not 17"),
        (("learned", "--speed", "--contexts", "17"), "--contexts must be at most 16, the learned positions of learned"),
        (
            ("learned", "--harness", "squares", "--harness-dir", ".", "--context", "99"),
            "--context must be at most 16, the",
        ),
        (("learned", "--prompt", "a", "--max-tokens", "16"), "--max-tokens must be at most 16, the learned positions"),
        (("t", "--stride", "17"), "--stride must be at most the 16 tokens of a window, not 17"),
        (("t", "--contexts", "4,x"), "--contexts must be whole numbers above 0, such as 128,256, not 'x'"),
        (("t", "--contexts", "1"), "--contexts must lie between 2 and 10,000,000, not 1"),
        (("t", "--contexts", "999"), "no document of the text has the 999 tokens of the longest of the contexts"),
        (("t", "--tokens", "0"), "--tokens must be an amount above 0"),
        (("t", "--side", "train"), "unknown side 'train'; "),
        (("t", "--task", "mqr"), "unknown task 'mqr'; did you mean 'mqar'?"),
        (("t", "--harness", "sqares", "--harness-dir", "."), "unknown harness task 'sqares'; did you mean 'squares'?"),
        (("t", "--harness", "squares", "--harness-dir", "no"), "--harness-dir no is not a folder"),
        (("t", "--harness-dir", "."), "--harness-dir is for tasks of lm-eval: name one by --harness"),
        (("t", "--prompt", "\udcff"), "--prompt must be text in UTF-8"),
        (("t", "--device", "cuda"), "device cuda: torch finds no GPU here"),
        (("t", "--dtype", "fp8"), "unknown dtype 'fp8'; "),
    ],
)
def test_mistakes_get_one_sentence(here, star, arguments, sentence):
    code, out, err = star("eval", *arguments, "--json")
    assert code == 2 and not out
    assert sentence in err.splitlines()[-1] and err.splitlines()[-1].startswith("star: error: ")


def test_numbers_that_json_lacks_are_null():
    assert finite({"a": [1.5, math.inf, (math.nan, "x", None)], "b": True}) == {
        "a": [1.5, None, [None, "x", None]],
        "b": True,
    }
