"""lm-eval on a model in this process, against its own run on the exported file, asked one token at a time."""

import importlib.util
import json
import string
import sys
from types import SimpleNamespace

import lm_eval.evaluator
import numpy as np
import pytest
import torch
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
from support.measured import PAIRS, UNTIED, export_small, naive_nats

from star.data.tokenizer import Bytes
from star.errors import UserError
from star.metrics.documents import Document, start_token
from star.metrics.harness import HarnessModel, load_tasks, run_tasks
from star.metrics.loss import measure_loss
from star.metrics.trained_model import read_model
from star.metrics.windows import Windowing

CHOICE = """\
task: small_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {cache}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - {{metric: acc}}
  - {{metric: acc_norm}}
"""
ROLLING = """\
task: small_rolling
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {cache}}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{question}}}}"
metric_list:
  - {{metric: word_perplexity}}
  - {{metric: byte_perplexity}}
  - {{metric: bits_per_byte}}
"""
ADDING = """\
task: small_adding
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {cache}}}
output_type: generate_until
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[0]}}}}"
generation_kwargs: {{until: ["e", "\\n"], max_gen_toks: 6}}
metric_list:
  - {{metric: exact_match}}
"""
NAMES = ["small_choice", "small_rolling", "small_adding"]
CONTEXT = 16


class Twin(LM):
    """The exported file as lm-eval asks for a model: each token by a pass of its own, nothing cached or batched."""

    def __init__(self, module, tokenizer):
        super().__init__()
        self.model, self.tokenizer = module.load().double(), tokenizer
        self.start = start_token(tokenizer)

    def encode(self, text):
        return self.tokenizer.encode([text])[0].tolist()

    def loglikelihood(self, requests):
        return [self._score(*one.args) for one in requests]

    @torch.no_grad()
    def _score(self, context, continuation):
        blanks = len(context) - len(context.rstrip())
        context, continuation = context[: len(context) - blanks], context[len(context) - blanks :] + continuation
        whole = [self.start, *self.encode(context + continuation)]
        total, is_greedy = 0.0, True
        for i in range(1 + len(self.encode(context)), len(whole)):
            first = max(len(whole) - 1 - CONTEXT, 0 if not context else 1)  # the start is there for an empty context
            logits = self.model(torch.tensor([whole[first:i]]))[0, -1]
            total += float(logits.log_softmax(0)[whole[i]])
            is_greedy &= int(logits.argmax()) == whole[i]
        return total, is_greedy

    @torch.no_grad()
    def loglikelihood_rolling(self, requests):
        """Windows do not overlap, but the last one that is not the first begins as early as it can."""
        sums = []
        for (text,) in (one.args for one in requests):
            tokens = self.encode(text)
            short = len(tokens) % CONTEXT if len(tokens) > CONTEXT else 0
            nats = naive_nats(self.model, tokens[: len(tokens) - short], self.start, CONTEXT, CONTEXT)
            for i in range(len(tokens) - short, len(tokens)):
                seen = tokens[len(tokens) - 1 - CONTEXT : i]
                logits = self.model(torch.tensor([seen]))[0, -1]
                nats.append((0, -float(logits.log_softmax(0)[tokens[i]])))
            sums.append(-sum(one for _, one in nats))
        return sums

    @torch.no_grad()
    def generate_until(self, requests):
        texts = []
        for context, options in (one.args for one in requests):
            tokens, added = self.encode(context)[-(CONTEXT - options["max_gen_toks"]) :], []
            for _ in range(options["max_gen_toks"]):
                added.append(int(self.model(torch.tensor([tokens + added]))[0, -1].argmax()))
            text = self.tokenizer.decode(np.array(added))
            texts.append(text.split("e")[0].split("\n")[0])
        return texts


@pytest.fixture(scope="module", params=["bytes", "pairs"])
def subject(request, tmp_path_factory):
    """An exported model, its tokenizer, and a folder of tasks with data."""
    place = tmp_path_factory.mktemp(request.param)
    tokenizer = PAIRS if request.param == "pairs" else Bytes()
    export_small(place / "model", tokenizer, scale_toml=UNTIED)
    rows = [
        {
            "question": f"{n} times {n} is" if n % 3 else "Straßen " * n + "is ",
            "choices": [f" {n * n}", f" {n}", " many"],
            "answer": n % 3,
        }
        for n in range(1, 13)
    ]
    (place / "tasks").mkdir()
    data = place / "rows.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in rows))
    for name, text in zip(NAMES, (CHOICE, ROLLING, ADDING), strict=True):
        (place / "tasks" / f"{name}.yaml").write_text(text.format(data=data, cache=place / "cache"))
    return place, tokenizer


@pytest.fixture
def trained(subject, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    found = read_model(subject[0] / "model")
    found.model.double()
    return found


def load_module(folder):
    """Return the exported file as a module."""
    found = importlib.util.spec_from_file_location("exported_model", folder / "model.py")
    module = sys.modules["exported_model"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_scores_are_those_of_the_harness_on_the_exported_file(subject, trained, monkeypatch):
    place, tokenizer = subject
    monkeypatch.setattr(lm_eval.evaluator, "add_env_info", lambda results: None)  # asks for the hardware
    twin = Twin(load_module(place / "model"), tokenizer)
    manager = TaskManager(include_path=place / "tasks", include_defaults=False)
    expected = lm_eval.simple_evaluate(model=twin, tasks=NAMES, task_manager=manager, log_samples=False)["results"]
    found = run_tasks(trained, CONTEXT, load_tasks(NAMES, str(place / "tasks")))
    assert list(found) == NAMES
    for metric in ("acc", "acc_norm", "acc_stderr"):
        assert found["small_choice"][metric] == expected["small_choice"][f"{metric},none"]
    assert 0 < found["small_choice"]["acc"] < 1
    for metric in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        assert found["small_rolling"][metric] == pytest.approx(expected["small_rolling"][f"{metric},none"], rel=1e-10)
    assert found["small_adding"]["exact_match"] == expected["small_adding"]["exact_match,none"]


def ask(*arguments):
    return [SimpleNamespace(args=one) for one in arguments]


def test_answers_are_those_of_the_twin(subject, trained):
    """Of long and short contexts in one batch, without context, and with blanks at its end."""
    place, tokenizer = subject
    twin, model = Twin(load_module(place / "model"), tokenizer), HarnessModel(trained, CONTEXT)
    likely = [(one, twin.generate_until(ask((one, {"max_gen_toks": 1})))[0]) for one in string.ascii_letters]
    pairs = [("ab", "c"), ("", "abc"), ("x" * 40, " yz"), ("is  ", "9"), ("3 times 3 is", " 9\n"), ("\n", "a")]
    pairs = ask(*pairs, *(pair for pair in likely if pair[1]))
    assert any(is_greedy for _, is_greedy in model.loglikelihood(pairs))
    for found, expected in zip(model.loglikelihood(pairs), twin.loglikelihood(pairs), strict=True):
        assert found == (pytest.approx(expected[0], rel=1e-10), expected[1])
    texts = ask(*((("ab c" * n)[: 5 * n],) for n in range(1, 13)))
    assert model.loglikelihood_rolling(texts) == pytest.approx(twin.loglikelihood_rolling(texts), rel=1e-10)
    options = {"until": ["e", "\n"], "max_gen_toks": 6}
    prompts = ask(*((string.ascii_letters[n : 3 * n], options) for n in range(1, 18)))
    assert model.generate_until(prompts) == twin.generate_until(prompts)


def test_prompts_leave_room_for_what_is_added(subject, trained, monkeypatch):
    """Their last tokens are read, those of one length together."""
    read, generate = [], trained.model.generate

    def watched(rows, *rest):
        read.append(rows.tolist())
        return generate(rows, *rest)

    monkeypatch.setattr(trained.model, "generate", watched)
    prompts = [string.ascii_letters[n : 3 * n] for n in (1, 14, 9, 14, 0)]
    HarnessModel(trained, CONTEXT).generate_until(ask(*((one, {"max_gen_toks": 10}) for one in prompts)))
    tokens = [subject[1].encode([one])[0].tolist() or [start_token(subject[1])] for one in prompts]
    first, second, third, _, last = (one[-6:] for one in tokens)
    assert read == [[first], [second, second], [third], [last]]


def test_bits_per_byte_of_the_harness_are_those_of_the_loss(subject, trained, tmp_path):
    """Of texts that fit into one window, which both cut alike."""
    place, tokenizer = subject
    texts = [f"{n} is {n}" for n in range(12)]
    documents = [Document(tokenizer.encode([one])[0], len(one.encode())) for one in texts]
    loss = measure_loss(trained.model, documents, start_token(tokenizer), Windowing(CONTEXT, CONTEXT))
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"question": one}) + "\n" for one in texts))
    (tmp_path / "one.yaml").write_text(ROLLING.format(data=data, cache=tmp_path / "cache"))
    found = run_tasks(trained, CONTEXT, load_tasks(["small_rolling"], str(tmp_path)))["small_rolling"]
    assert found["bits_per_byte"] == pytest.approx(loss.bits_per_byte, rel=1e-10)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ("task: small_choice", "task: small_chioce"),
            "unknown harness task 'small_choice'; did you mean 'small_chioce'",
        ),
        (
            ("dataset_path: json", "dataset_path: somebody/small_choice"),
            "are not on this machine, and nothing is downloaded",
        ),
        (("rows.jsonl", "nothing.jsonl"), "harness task small_choice cannot be loaded: FileNotFoundError"),
        (("test_split: test", "test_split: valid"), "harness task small_choice cannot be loaded: "),
    ],
)
def test_tasks_that_cannot_be_loaded_are_a_sentence(subject, tmp_path, change, sentence):
    text = (subject[0] / "tasks" / "small_choice.yaml").read_text()
    assert change[0] in text
    (tmp_path / "one.yaml").write_text(text.replace(*change))
    with pytest.raises(UserError) as caught:
        load_tasks(["small_choice"], str(tmp_path))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_what_does_not_fit_into_the_context_is_a_sentence(trained):
    model = HarnessModel(trained, CONTEXT)
    with pytest.raises(UserError, match="a continuation of .* tokens is longer than the context of 16"):
        model.loglikelihood(ask(("a", "xyz" * 40)))
    with pytest.raises(UserError, match="a task adds 16 tokens to its prompts: the context of 16 must be longer"):
        model.generate_until(ask(("a", {"max_gen_toks": 16})))
    with pytest.raises(UserError, match="--harness-dir nowhere is not a folder"):
        load_tasks(["small_choice"], "nowhere")
    assert model.loglikelihood(ask(("a", ""))) == [(0.0, True)]
