"""A probe is a training on a task's questions, by the recipe for text, and the task's own score of the answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.tiny import SETTINGS, TINY, make_corpus, make_task
from torch import nn

from star.architecture.genome import Space, decode, parse
from star.architecture.scales import SCALES
from star.architecture.spec import ModelSpec
from star.data.synthetic import MAD, TASKS, proxy_setting
from star.evaluation.evaluate import evaluate
from star.evaluation.objectives import OBJECTIVES
from star.model.language_model import LanguageModel
from star.records import Job, Status
from star.training import probe as room
from star.training.loop import Training
from star.training.optimizers import make_optimizers
from star.training.probe import Pooled, Questions, probe

LONG = replace(TINY, dims=replace(TINY.dims, seq_len=64), recipe=replace(TINY.recipe, seq_len=64, tokens=1_024))
MIXED = parse("11111-91111-151111")


def build(seed: int = 0, genome=MIXED, scale=LONG) -> LanguageModel:
    torch.manual_seed(seed)
    return LanguageModel(ModelSpec(slots=decode(genome), dims=scale.dims))


@pytest.mark.parametrize("name", TASKS)
def test_a_probe_is_training_then_the_tasks_score(name):
    task, recipe = TASKS[name], replace(LONG.recipe, tokens=512, valid_tokens=256)
    found = probe(build(), task, recipe, seed=3)
    again = probe(build(), task, recipe, seed=3)
    assert (found.error, found.loss_curve) == (again.error, again.loss_curve)
    assert found.tokens == recipe.steps * recipe.batch_size * recipe.seq_len and found.seconds > 0

    questions = Questions(task, recipe, 256)
    setting = questions.setting
    model = build()
    asked = Pooled(model, setting.seq_len) if task.pools else model
    training = Training(asked, questions, recipe, 3)
    training.advance(recipe.steps)
    asked.eval()
    examples = task.test(setting, np.random.default_rng(room.TEST_SEED), 256 // setting.seq_len)
    with torch.no_grad():
        predicted = asked(torch.from_numpy(examples.inputs)).argmax(dim=2).numpy()
    assert found.error == 1 - task.accuracy(setting, predicted, examples.targets, 256)


class Knowing(nn.Module):
    """A model with the test's answers, or with those of nobody."""

    def __init__(self, answers: np.ndarray) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 4)
        self.layers = nn.ModuleList()
        self.final_norm = nn.Identity()
        self.answers = torch.from_numpy(answers)
        self.asked = 0

    def forward(self, tokens):
        if self.training:
            return self.embedding(tokens) @ self.embedding.weight.T
        answers = self.answers[self.asked : self.asked + len(tokens)]
        self.asked += len(tokens)
        return nn.functional.one_hot(answers.clamp(min=0), 256).float()


@pytest.mark.parametrize("name", [name for name in TASKS if not TASKS[name].pools])
def test_who_knows_all_has_no_error_and_who_knows_nothing_has_all(name):
    task, recipe = TASKS[name], replace(LONG.recipe, optimizer="adamw", tokens=256, valid_tokens=2_048)
    setting = proxy_setting(task, 256, recipe.seq_len)
    targets = task.test(setting, np.random.default_rng(room.TEST_SEED), 2_048 // setting.seq_len).targets
    assert probe(Knowing(targets), task, recipe, 0).error == 0
    never = np.full_like(targets, 255)  # the last token of the vocabulary answers no question of a small setting
    never[:] = np.where(targets == 255, 254, never)
    assert probe(Knowing(never), task, recipe, 0).error == 1


def test_batches_have_about_as_many_tokens_as_the_recipe():
    for scale in (LONG, SCALES["nano"]):
        for task in TASKS.values():
            questions = Questions(task, scale.recipe, 256)
            inputs, targets = questions.batch(np.random.default_rng(0))
            assert inputs.shape == targets.shape and inputs.shape[0] == questions.size
            wanted = scale.recipe.batch_size * scale.recipe.seq_len
            assert wanted / 2 < questions.size * questions.setting.seq_len <= wanted
            assert inputs.min() >= 0 and inputs.max() < 256 and (targets != -100).any()


def test_an_auto_encoder_reads_the_last_position_alone():
    """Its logits are those computed by hand from the last activation; the optimizers find the same matrices."""
    model = build()
    pooled = Pooled(model, 16).eval()
    tokens = torch.randint(0, 256, (2, 16))
    held = []
    handle = model.final_norm.register_forward_hook(lambda module, inputs, output: held.append(output))
    model(tokens)
    handle.remove()
    steps = torch.arange(16)[:, None] / 10_000 ** (torch.arange(0, 16, 2) / 16)
    codes = torch.stack((steps.sin(), steps.cos()), dim=2).reshape(16, 16)
    by_hand = pooled.decoder(held[0][:, 15:] + codes) @ model.embedding.weight.T
    torch.testing.assert_close(pooled(tokens), by_hand, rtol=1e-5, atol=1e-5)
    alone, wrapped = (make_optimizers(one, TINY.recipe)[1].param_groups for one in (model, pooled))
    assert [len(group["params"]) for group in alone] == [len(group["params"]) for group in wrapped]


def test_only_a_model_that_sees_the_token_before_can_learn_to_name_its_value():
    nano, task = SCALES["nano"], TASKS["mad/memorization"]
    recipe = replace(nano.recipe, tokens=60_000)
    seeing = probe(build(0, parse("151111-91111"), nano), task, recipe, 0)
    blind = probe(build(0, parse("91111-91111"), nano), task, recipe, 0)
    assert seeing.error < 0.1 and blind.error > 0.9


def test_an_evaluation_has_the_errors_that_it_was_asked_for(tmp_path):
    corpus = make_corpus(tmp_path)
    settings = replace(SETTINGS, scale=LONG)
    task = make_task(Space(3).sample(np.random.default_rng(1)))
    plain = evaluate(Job(task=task), settings, corpus).evaluation
    both = evaluate(Job(task=task), replace(settings, tasks=MAD), corpus).evaluation
    alone = evaluate(Job(task=task), replace(settings, tasks=("mqar",), trains_on_text=False), corpus)
    assert plain.status is both.status is alone.evaluation.status is Status.OK
    errors = {name: both.objectives[OBJECTIVES[name].column] for name in MAD}
    assert both.objectives["error_mad"] == pytest.approx(sum(errors.values()) / 6)
    assert both.objectives.keys() - plain.objectives.keys() == {OBJECTIVES[n].column for n in ("mad", *MAD)}
    assert both.objectives["quality_bpb"] == plain.objectives["quality_bpb"]
    assert both.tokens == 7 * plain.tokens and both.loss_curve == plain.loss_curve
    by_itself = probe(build(task.seed, task.genome), TASKS["mqar"], LONG.recipe, task.seed)
    assert alone.evaluation.objectives["error_mqar"] == by_itself.error and alone.weights
    assert "quality_bpb" not in alone.evaluation.objectives
