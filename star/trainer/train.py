"""A training from its settings to its end: begin one, or continue one from its directory."""

import hashlib
import json
import platform
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.metadata import version
from typing import NamedTuple

from star import __version__
from star.data.corpus import Corpus
from star.data.prepare import build, prepare
from star.data.text_source import TextSource
from star.data.vocabulary import default_tokenizer, model_vocabulary
from star.errors import UserError
from star.options import read_record, to_toml
from star.records import Arrays
from star.storage.places import TEXT
from star.storage.training_directory import TrainingDirectory
from star.trainer.plan import TrainPlan, plan_training
from star.trainer.processes import joined
from star.trainer.settings import COMPUTED, CONSTANT, TrainSettings, from_toml
from star.trainer.trainer import Outcome, Trainer, Watcher

LIBRARIES = ("torch", "numpy", "safetensors")  # whose versions can change a result
CORPUS, INITIAL = "corpus_digest", "initial_digest"  # in the record of train.toml
LEAST_TEXT, BYTES_READ = 32 << 20, 8  # bytes that are read at least, and for each token of the training
LENGTH = ("tokens",)  # what a longer training changes


class Trained(NamedTuple):
    """A finished training: its plan, what came out, and whether this process is the one that tells of it."""

    plan: TrainPlan
    outcome: Outcome
    is_first: bool


def no_weights() -> Arrays:
    """Return no weights, so that a training begins with random ones."""
    return {}


def train(
    settings: TrainSettings,
    directory: TrainingDirectory,
    watcher: Watcher,
    initial: Callable[[], Arrays] = no_weights,
) -> Trained:
    """Train, or go on with a training of the same settings in the directory.

    Args:
        settings: what to train.
        directory: where to record it.
        watcher: is told what happens.
        initial: returns the weights to begin with; it is not called if there is a checkpoint.

    Raises:
        UserError: settings or a corpus that cannot be used, or a directory that holds another training.
        Stopped: SIGINT or SIGTERM came; the same call goes on from there.
        Diverged: a loss or a gradient is not finite.
    """
    with joined(settings.device) as processes:
        plan = plan_training(settings, processes.device)
        try:
            step = int(processes.first("begin", lambda: _begin(plan, directory, watcher)))
            corpus = prepare(text_source(plan), directory.path / TEXT)
            plan = replace(plan, dims=replace(plan.dims, vocab_size=_vocabulary(plan, corpus)))
            weights = {} if step else initial()
            origin = processes.first("record", lambda: _record(directory, plan, corpus, weights, watcher))
            trainer = Trainer(plan, corpus, directory, processes, watcher, weights, origin)
            if step:
                trainer.restore(step)
            outcome = trainer.run()
        finally:
            directory.close()
        return Trained(plan, outcome, processes.is_first)


def extend(directory: TrainingDirectory, tokens: float) -> TrainSettings:
    """Return the settings of a training for so many tokens more, which then goes on from where its rate was constant.

    Raises:
        UserError: its schedule is a cosine, or another process trains there.
    """
    settings = from_toml(directory.config_toml)
    if settings.schedule != CONSTANT:
        raise UserError("a training with a cosine schedule cannot be extended: its learning rate has come to its end")
    if settings.tokens is None:
        raise UserError(f"{directory.path} has no tokens in its train.toml")
    with directory.write():
        # First the checkpoints: if this process is killed in between, the shorter training makes them again.
        directory.drop_after(plan_training(settings).decay_start)
        longer = replace(settings, tokens=settings.tokens + tokens)
        directory.write_config(to_toml(longer, read_record(directory.config_toml)))
    return longer


def _begin(plan: TrainPlan, directory: TrainingDirectory, watcher: Watcher) -> str:
    """Lock the directory and make the tokens that are not there yet. Return the step of the latest checkpoint that is
    sound, 0 if there is none."""
    directory.write()
    source, folder = text_source(plan), directory.path / TEXT
    if directory.is_begun:
        _refuse_other(directory, plan.settings, {"corpus"} if source.folder else set())
    elif not source.folder:
        # Tokens that are there before the training has begun may be those of another one.
        for sentence in build(source, folder).report.lines():
            watcher.noted(sentence)
    prepare(source, folder)
    found = next((step for step in reversed(directory.steps()) if directory.read_checkpoint(step)), 0)
    for sentence in directory.new_warnings():
        watcher.noted(sentence)
    return str(found)


def text_source(plan: TrainPlan) -> TextSource:
    """Return where the tokens of a training come from.

    Raises:
        UserError: the scale needs a tokenizer, and none is given.
    """
    settings = plan.settings
    source = TextSource(
        sources=settings.corpus,
        tokenizer=settings.tokenizer,
        text_field=settings.text_field,
        limit=max(LEAST_TEXT, BYTES_READ * plan.recipe.tokens),
    )
    if not settings.tokenizer and not source.folder:
        default_tokenizer(settings.scale, plan.dims.vocab_size)
    return source


def _vocabulary(plan: TrainPlan, corpus: Corpus) -> int:
    """Return the vocabulary of the model for the tokens of a corpus."""
    return model_vocabulary(plan.settings.scale, plan.dims.vocab_size, corpus.tokenizer, corpus.vocab_size)


def _record(directory: TrainingDirectory, plan: TrainPlan, corpus: Corpus, initial: Arrays, watcher: Watcher) -> str:
    """Write the configuration of a new training; of one that goes on compare the corpus and the libraries. Return a
    digest of what decides the result."""
    versions = {"star": __version__, "python": platform.python_version()} | {one: version(one) for one in LIBRARIES}
    now = versions | {CORPUS: corpus.digest, INITIAL: _digest(initial)}
    if not directory.is_begun:
        directory.write_config(to_toml(plan.settings, now))
    then = read_record(directory.config_toml)
    if then.get(CORPUS) != corpus.digest:
        raise UserError("the corpus is not the one that this training began with: it holds another text")
    if initial and then.get(INITIAL) != now[INITIAL]:
        raise UserError("the weights to begin with are not those that this training began with")
    if from_toml(directory.config_toml) != plan.settings:
        directory.write_config(to_toml(plan.settings, then))  # where its folder of tokens lies now, and how it goes on
    for name, one in versions.items():
        if then.get(name) != one:
            watcher.noted(f"begun with {name} {then.get(name)}, going on with {one}: the last digits may differ")
    passes = plan.recipe.tokens / max(1, corpus.train.size)
    if passes > 1:
        watcher.noted(f"the text has {corpus.train.size:,} tokens, each of which is trained on {passes:.1f} times")
    fixed = [getattr(plan.settings, name) for name in _decisive() if name not in ("corpus", *LENGTH)]
    return hashlib.sha256(json.dumps([fixed, corpus.digest, then.get(INITIAL)]).encode()).hexdigest()


def _refuse_other(directory: TrainingDirectory, settings: TrainSettings, free: set[str]) -> None:
    """Raise UserError if the directory holds a training of other settings, but for those that are free."""
    recorded = from_toml(directory.config_toml)
    for name in (one for one in _decisive() if one not in free):
        then, now = getattr(recorded, name), getattr(settings, name)
        if then != now:
            raise UserError(
                f"{directory.path} holds a training with {name} {then!r:.60}, not {now!r:.60}: choose another --out"
            )


def _decisive() -> list[str]:
    """Return the names of the settings that decide the result."""
    return [one.name for one in fields(TrainSettings) if one.name not in COMPUTED]


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape} ".encode() + arrays[name].tobytes())
    return digest.hexdigest()
