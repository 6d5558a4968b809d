"""star train, star corpus build and star resume of a training, as a person types them."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.tiny import TINY_TOML

from star.cli.command import run
from star.storage.training_directory import TrainingDirectory

TRAIN = ("train", "lfm2-like", "--scale", "tiny.toml", "--corpus", "text.txt", "--tokens", "640", "--peak-flops", "1G")


def star(capsys, *arguments):
    code = run(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_training_tells_its_quality_and_where_the_model_is(place, capsys):
    code, out, err = star(capsys, *TRAIN, "--out", "t")
    assert code == 0, err
    assert " bits/byte on " in out and "±" in out and "model: t/model" in out
    assert "training 8.32 k parameters: 20 steps, 2 sequences of 16 tokens, muon, float32" in err
    assert err.count("step ") == 20 and "step 20/20" in err
    assert sorted(one.name for one in Path("t").iterdir() if one.name[0] != ".") == [
        *("checkpoints", "curve.parquet", "model", "text", "train.toml")
    ]
    assert {one.name for one in Path("t/model").iterdir()} == {"README.md", "model.py", "model.safetensors", "train.py"}
    assert pq.read_table("t/curve.parquet").num_rows == 20


def test_the_same_command_continues_and_json_is_one_object(place, capsys):
    star(capsys, *TRAIN, "--out", "t")
    code, out, err = star(capsys, *TRAIN, "--out", "t", "--json")
    found = json.loads(out)
    assert code == 0 and found["tokens"] == 640 and len(found["curve"]) == 20
    assert found["bits_per_byte"] > 0 and found["standard_error"] > 0 and found["training"] == "t"
    assert "step 20 of 20" in err


def test_resume_adds_tokens(place, capsys):
    star(capsys, *TRAIN, "--out", "t")
    code, out, err = star(capsys, "resume", "t", "--tokens", "+320")
    assert code == 0, err
    assert "step 30/30" in err and TrainingDirectory("t").steps()[-1] == 30
    assert star(capsys, "resume", "t")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("resume", "t", "--tokens", "320"), "--tokens of resume adds to the training: write +N, such as +2M, not 320"),
        (("resume", "t", "--tokens", "+x"), "--tokens must be an amount above 0"),
        ((*TRAIN, "--out", "t", "--seed", "3"), "t holds a training with seed 0, not 3: choose another --out"),
        ((*TRAIN, "--tokens", "31"), "--tokens 31 is less than one training step of 32 tokens"),
        ((*TRAIN, "--optimizer", "adam"), "unknown optimizer 'adam'; did you mean 'adamw'?"),
        ((*TRAIN, "--tokenizer", "bpe:4"), "the vocabulary of tokenizer bpe:4 must lie between 257 and 1,048,576"),
        ((*TRAIN, "--tokenizer", "nothing.json"), "tokenizer nothing.json does not exist"),
        ((*TRAIN, "--tokenizer", "bpe:90000"), "the corpus is too small for tokenizer bpe:90000"),
        ((*TRAIN, "--init-from", "nowhere"), "nowhere holds no weights: neither an exported model nor a finished"),
        ((*TRAIN, "--init-from", "tiny.toml"), "tiny.toml is not a complete safetensors file"),
        ((*TRAIN, "--device", "cuda"), "device cuda: torch finds no GPU here"),
        ((*TRAIN, "--out", "."), "is no training and not empty (it holds"),
        (("resume", "t", "--generations", "+1"), "--generations is for runs, and this is a training"),
        (("resume", "t", "--workers", "2"), "--workers is for runs, and this is a training"),
        ((*TRAIN, "--seed", "18446744073709551616"), "--seed must be at most 9223372036854775807"),
        (("train", "lfm3-like"), "unknown genome 'lfm3-like'; did you mean 'lfm2-like'?"),
        (("train", "lfm2-like", "--scale", "125m", "--tokens", "1M"), "scale 125m has a vocabulary of 50,304: give a"),
    ],
)
def test_mistakes_get_one_sentence(place, capsys, arguments, sentence):
    if "t" in arguments:
        star(capsys, *TRAIN, "--out", "t")
    code, out, err = star(capsys, *arguments)
    assert code == 2 and not out
    assert sentence in err.splitlines()[-1] and err.splitlines()[-1].startswith("star: error: ")


def test_a_training_begins_with_the_weights_of_another(place, capsys):
    star(capsys, *TRAIN, "--out", "first")
    _, out, _ = star(capsys, *TRAIN, "--out", "second", "--init-from", "first", "--json")
    first, second = (TrainingDirectory(one).read_curve() for one in ("first", "second"))
    assert second[0]["valid_bpb"] < first[0]["valid_bpb"] - 1
    assert json.loads(out)["bits_per_byte"] < first[-1]["valid_bpb"]


def test_divergence_ends_with_one_line_and_code_1(place, capsys):
    rates = ("--optimizer", "adamw", "--learning-rate", "10", "--weight-decay", "10")
    code, out, err = star(capsys, *TRAIN, *rates, "--tokens", "12800")
    assert code == 1 and not out
    assert err.splitlines()[-1].startswith("star: the training diverged: ") and "--learning-rate" in err


def test_a_corpus_is_built_and_trained_on(place, capsys):
    code, out, err = star(capsys, "corpus", "build", "text.txt", "--tokenizer", "bpe:300", "--to", "tokens", "--json")
    built = json.loads(out)
    assert code == 0 and built["vocabulary"] == 300 and built["tokenizer"] == "bpe:300" and built["bytes_per_token"] > 1
    code, out, err = star(capsys, *TRAIN[:4], "--corpus", "tokens", *TRAIN[6:], "--out", "t", "--json")
    assert code == 0, err
    assert not Path("t/text").exists()
    for target in ("text.txt", "tiny.toml", "."):
        code, _, err = star(capsys, "corpus", "build", "text.txt", "--to", target)
        assert code == 2 and "choose a new folder" in err
    _, out, _ = star(capsys, "corpus", "build", "text.txt", "--to", "bytes")
    assert "training tokens" in out and "bytes per token    1.0" in out


def test_a_folder_of_tokens_may_move(place, capsys):
    star(capsys, "corpus", "build", "text.txt", "--tokenizer", "bpe:300", "--to", "tokens")
    star(capsys, *TRAIN[:4], "--corpus", "tokens", *TRAIN[6:], "--out", "t")
    Path("tokens").rename("elsewhere")
    code, _, err = star(capsys, "resume", "t")
    assert code == 2 and "tokens" in err.splitlines()[-1]
    code, _, err = star(capsys, "resume", "t", "--corpus", "elsewhere")
    assert code == 0, err
    star(capsys, "corpus", "build", "text.txt", "--tokenizer", "bpe:290", "--to", "other")
    code, _, err = star(capsys, "resume", "t", "--corpus", "other")
    assert code == 2 and "it holds another text" in err.splitlines()[-1]


def test_weights_to_begin_with_are_not_needed_once_there_is_a_checkpoint(place, capsys):
    star(capsys, *TRAIN, "--out", "first")
    star(capsys, *TRAIN, "--out", "second", "--init-from", "first")
    Path("first").rename("gone")
    assert star(capsys, "resume", "second")[0] == 0


def test_a_member_of_a_run_is_trained_as_in_the_run(place, capsys):
    """With the run's own scale, window and tokenizer, whatever a file of that name holds now."""
    config = (
        "--corpus",
        "text.txt",
        "--tokenizer",
        "bpe:300",
        "--window",
        "8",
        "--population",
        "4",
        "--generations",
        "0",
    )
    code, _, err = star(capsys, "evolve", "--scale", "tiny.toml", *config, "--serial", "--store", "", "--out", "run")
    assert code == 0, err
    front = json.loads(star(capsys, "front", "run", "--json")[1])
    Path("tiny.toml").unlink()
    member = f"run:{front[0]['id']}"
    code, out, err = star(capsys, "train", member, "--corpus", "text.txt", "--tokens", "128", "--out", "t", "--json")
    assert code == 0, err
    written = Path("t/train.toml").read_text()
    assert "window = 8" in written and 'tokenizer = "bpe:300"' in written and "d_model = 16" in written


def test_sizes_of_a_genome_file_are_its_own(place, capsys):
    Path("mine.toml").write_text(f'title = "Mine"\ngenome = "71111-91111-71111"\n{TINY_TOML.partition("[recipe]")[0]}')
    code, out, err = star(
        capsys, "train", "mine.toml", "--corpus", "text.txt", "--tokens", "20k", "--out", "t", "--json"
    )
    assert code == 0, err
    assert "d_model = 16" in Path("t/train.toml").read_text()


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set, but not all of"),
        ({"WORLD_SIZE": "x"}, "WORLD_SIZE is set, but not all of"),
        (
            {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
            "several processes train together: give the directory by --out",
        ),
    ],
)
def test_processes_without_torchrun_or_a_directory_are_told(place, capsys, monkeypatch, environment, sentence):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, _, err = star(capsys, *TRAIN)
    assert code == 2 and sentence in err.splitlines()[-1]


def test_the_group_of_commands_shows_its_help(capsys):
    code, out, _ = star(capsys, "corpus")
    assert code == 0 and "build" in out


def test_a_search_that_cannot_begin_leaves_no_text_behind(place, capsys):
    options = ("--scale", "tiny.toml", "--corpus", "text.txt", "--tokenizer", "bpe:300", "--serial", "--store", "")
    code, _, err = star(capsys, "evolve", *options, "--verify-tokens", "1000000", "--out", "run")
    assert code == 2 and "too few for a verification" in err.splitlines()[-1]
    assert not Path("run").exists()
