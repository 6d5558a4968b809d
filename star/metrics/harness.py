"""Tasks of lm-eval (https://github.com/EleutherAI/lm-evaluation-harness) on a model, in this process."""

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import datasets.config
import huggingface_hub.constants
import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
from lm_eval.evaluator import evaluate
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from star.architecture.catalogue import hint
from star.data.synthetic import IGNORED
from star.errors import UserError
from star.metrics.documents import start_token
from star.metrics.loss import count_rows, nats_of, predict
from star.metrics.samples import cut_at_end
from star.metrics.trained_model import TrainedModel
from star.metrics.windows import Window, gather

RESAMPLES = 1_000  # for standard errors that have no formula
Scored = tuple[float, bool]
LoadedTasks = Any  # what TaskManager.load returns


class HarnessModel(TemplateLM):
    """A trained model as lm-eval asks for one.

    Args:
        trained: the model.
        context: the tokens that a prediction sees at most.
    """

    def __init__(self, trained: TrainedModel, context: int) -> None:
        super().__init__()
        self._trained, self._context = trained, context
        self._start = start_token(trained.tokenizer)
        self._rows = count_rows(trained.model, context)

    @property
    def eot_token_id(self) -> int:
        """The token before the first one of a text, by which a text without context begins."""
        return self._start

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Return the tokens of a text."""
        return self._trained.tokenizer.encode([string])[0].tolist()

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[Scored]:
        """Return for each (context, continuation) the sum of ln p of the tokens of the continuation, and whether each
        is the most likely one."""
        return super().loglikelihood(requests, disable_tqdm=True)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = True, **kwargs: Any
    ) -> list[Scored]:
        found: list[Scored] = [(0.0, True)] * len(requests)
        for batch in gather(self._windows(requests), self._rows):
            logits = predict(self._trained.model, batch.inputs)
            sums = -nats_of(logits, batch.targets).sum(axis=1)
            hits = (logits.argmax(dim=2).cpu().numpy() == batch.targets) | (batch.targets == IGNORED)
            for number, total, is_greedy in zip(batch.documents, sums, hits.all(axis=1), strict=True):
                found[number] = float(total), bool(is_greedy)
        return found

    def _windows(self, requests: Sequence[tuple[Any, list[int], list[int]]]) -> Iterator[Window]:
        """Yield the last tokens of each request, as many as the context takes, of which those of the continuation
        count."""
        for number, (_, context, wanted) in enumerate(requests):
            if len(wanted) > self._context:
                raise UserError(
                    f"a continuation of {len(wanted):,} tokens is longer than the context of {self._context:,}"
                )
            if wanted:
                tokens = np.array([self._start, *context, *wanted] if not context else [*context, *wanted])
                tokens = tokens[-self._context - 1 :]
                yield Window(number, tokens[:-1], tokens[1:], tokens.size - 1 - len(wanted))

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Return for each text the sum of ln p of all its tokens, in windows that do not overlap but for the last,
        which is full."""
        owners, pairs = [], []
        for number, (text,) in enumerate(one.args for one in requests):
            windows = get_rolling_token_windows(self.tok_encode(text), self._start, self._context, context_len=1)
            pairs += [("", *make_disjoint_window(pair)) for pair in windows]
            owners += [number] * (len(pairs) - len(owners))
        totals = [total for total, _ in self._loglikelihood_tokens(pairs)]
        return np.bincount(owners, totals, minlength=len(requests)).tolist()

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Return for each (context, options) the text that the model adds, up to the first text of `until`, the end of
        a document, or `max_gen_toks` tokens. Texts of equal lengths and options are continued together."""
        groups: dict[tuple[int, str], list[int]] = {}
        asked: list[Any] = [one.args for one in requests]
        prompts = [self.tok_encode(context) or [self._start] for context, _ in asked]
        for number, (_, options) in enumerate(asked):
            groups.setdefault((len(prompts[number]), repr(options)), []).append(number)
        found = [""] * len(requests)
        for numbers in groups.values():
            for first in range(0, len(numbers), self._rows):
                part = numbers[first : first + self._rows]
                texts = self._continue([prompts[number] for number in part], asked[part[0]][1])
                for number, text in zip(part, texts, strict=True):
                    found[number] = text
        return found

    def _continue(self, prompts: list[list[int]], options: dict[str, Any]) -> list[str]:
        """Return the continuations of prompts of one length."""
        wanted: dict[str, Any] = dict(normalize_gen_kwargs(options))
        most, is_drawn = wanted["max_gen_toks"], wanted["do_sample"]
        if most >= self._context:
            raise UserError(
                f"a task adds {most:,} tokens to its prompts: the context of {self._context:,} must be longer than that"
            )
        model, tokenizer = self._trained.model, self._trained.tokenizer
        rows = torch.tensor(prompts, device=model.embedding.weight.device)[:, most - self._context :]
        chance = torch.Generator(rows.device).manual_seed(DEFAULT_OTHER_SEED)
        found = model.generate(rows, most, float(wanted.get("temperature", 0.0)) if is_drawn else 0.0, chance)
        added = found[:, rows.shape[1] :].cpu().numpy()
        texts = (tokenizer.decode(cut_at_end(one, tokenizer.end)) for one in added)
        return [postprocess_generated_text(text, wanted["until"], None) for text in texts]


def load_tasks(names: Sequence[str], folder: str) -> LoadedTasks:
    """Return tasks with their data.

    Nothing is downloaded: data sets are files on this machine. Files of tasks may name Python functions beside them,
    which are run.

    Args:
        names: of tasks, groups or tags.
        folder: of task files; empty for those of lm-eval.

    Raises:
        UserError: an unknown task, or one that cannot be loaded.
    """
    if folder and not Path(folder).is_dir():
        raise UserError(f"--harness-dir {folder} is not a folder")
    manager = TaskManager(include_path=folder or None, include_defaults=not folder)
    for name in names:
        if name not in manager.all_tasks:
            otherwise = f"{folder or 'lm-eval'} has none like it"
            raise UserError(f"unknown harness task {name!r:.60}{hint(name, manager.all_tasks, otherwise)}")
    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    with _offline(), _told(names):
        loaded = manager.load(list(names))
    for task in loaded["tasks"].values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
    return loaded


def run_tasks(trained: TrainedModel, context: int, tasks: LoadedTasks) -> dict[str, dict[str, float]]:
    """Return the metrics of each task, as lm-eval computes them, by the names that it gives them.

    Args:
        trained: the model.
        context: the tokens that a prediction sees at most.

    Raises:
        UserError: a text of a task does not fit into the context.
    """
    with _offline(), redirect_stdout(sys.stderr):  # on which lm-eval tells of its progress
        model = HarnessModel(trained, context)
        found: Any = evaluate(model, tasks, bootstrap_iters=RESAMPLES, log_samples=False)
    return {name: _numbers(metrics) for name, metrics in found["results"].items()}


@contextmanager
def _told(names: Sequence[str]) -> Iterator[None]:
    """Raise UserError in place of what the loading of tasks fails with."""
    called = f"harness task {', '.join(names)}"
    try:
        yield
    except ConnectionError as error:
        raise UserError(
            f"the data of {called} are not on this machine, and nothing is downloaded: name files in its "
            "dataset_kwargs, or load the data set by the library datasets first"
        ) from error
    except Exception as error:  # of the code of a task, of its files, or of the libraries that read them
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{called} cannot be loaded: {told:.300}") from error


@contextmanager
def _offline() -> Iterator[None]:
    """Let the libraries of Hugging Face reach no network."""
    places: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [place.HF_HUB_OFFLINE for place in places]
    for place in places:
        place.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Return the values that are numbers; a standard error that there is none of is left out."""
    return {key.removesuffix(",none"): value for key, value in metrics.items() if isinstance(value, int | float)}
