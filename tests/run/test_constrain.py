"""A search inside a family: nothing outside of it is trained, and what keeps a genome out is told."""

from collections import Counter
from dataclasses import replace

import pytest
from support.runs import Driver
from support.tiny import CONFIG, invent, write_text

from star.architecture.genome import canonical, decode, parse
from star.architecture.structures import specify
from star.errors import SettingError, UserError
from star.families.table import FAMILIES
from star.records import Status
from star.run.plan import plan_run
from star.run.seeds import choose_seeds
from star.run.settings import from_toml

HYBRID = """\
genome = "261111-381111-31111"

[scale]
slots = 3
d_model = 16
head_dim = 4
vocab_size = 256
seq_len = 16

[style]
positions = "none"
tied = false

[operators.Mamba-2]
num_heads = 8
head_dim = 4
d_inner = 32
d_state = 4
norm_groups = 1
kernel_bias = true

[recipe]
tokens = 64
batch_size = 2
seq_len = 16
valid_tokens = 64
optimizer = "adamw"
learning_rate = 2e-2
"""


@pytest.fixture
def config(tmp_path):
    return replace(
        CONFIG,
        corpus=(write_text(tmp_path),),
        scale="hybrid.toml",
        scale_toml=HYBRID,
        deck="extended",
        constrain="nemotron_h",
        seed_genomes=("261111-381111-31111",),
        population=8,
        offspring=8,
    )


def test_nothing_outside_is_trained(config, tmp_path):
    trained = Counter()

    def count(job, settings, corpus):
        trained[job.task.genome] += 1
        return invent(job, settings, corpus)

    run = Driver(count).run_in(tmp_path / "run", config)
    dims = plan_run(config).trained.dims
    assert len(trained) > 5
    for genome in trained:
        assert FAMILIES["nemotron_h"].obstacles(specify(decode(genome), dims)) == []
    assert from_toml(run.config_toml).constrain == "nemotron_h"
    generation = run.latest_generation()
    assert generation.front and all(trained[canonical(one.genome)] for one in generation.front)
    refused = [one for one in run.evaluations().values() if one.status is Status.INFEASIBLE]
    assert all("outside of nemotron_h: " in one.error for one in refused)
    assert generation.turned_away > 0


def test_the_share_of_slots_that_keep_a_genome_out(config):
    screen = plan_run(config).screen()
    inside, half, all_out = (parse(text) for text in ("261111-381111", "261111-91111", "71111-91111"))
    assert screen.violations(inside) == (0.0,) and screen.refusal(inside) == "" and screen.reasons(inside) == ()
    assert 0 < screen.violations(half)[0] < screen.violations(all_out)[0] <= 1
    assert screen.reasons(half) == ("outside of nemotron_h",)
    assert screen.refusal(half).startswith("outside of nemotron_h: ") and "slot 2" in screen.refusal(half)


def test_a_family_that_has_no_model_of_the_style(config):
    with pytest.raises(SettingError, match="constrain gemma2 has no model of these sizes: embedding_scale is 1, not 4"):
        plan_run(replace(config, constrain="gemma2")).check()
    with pytest.raises(UserError, match="unknown constrain 'lama'; did you mean 'llama'"):
        replace(config, constrain="lama")


def test_a_seed_outside_is_left_out(config):
    notes, seeds = [], ("71111-91111-71111", "31111-381111-381111")
    chosen = choose_seeds(plan_run(replace(config, seed_genomes=seeds)), notes.append)
    assert list(chosen.values()) == ["31111-381111-381111"]
    (note,) = notes
    assert (
        "71111-91111-71111 is left out: outside of nemotron_h: it is convolution, not memoryless (slots 1, 3)" in note
    )
