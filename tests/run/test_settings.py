"""A configuration survives its own text, and refuses everything that cannot be run, each time in one sentence."""

from dataclasses import fields, replace
from string import printable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.settings import NAMES, any_settings

from star.architecture.genome import DECKS, LEVELS, Rates
from star.architecture.scales import BALANCES
from star.cost.cost import DTYPE_BYTES
from star.errors import UserError
from star.families.table import FAMILIES
from star.options import options_of, read_record, to_toml
from star.run.settings import Settings, from_toml
from star.search.algorithms import ALGORITHMS


@given(any_settings(), st.dictionaries(st.sampled_from(["torch", "corpus_digest"]), NAMES))
def test_text_and_back(config, record):
    text = to_toml(config, record)
    before = {"rungs": 1, "ranking": "loss", "early_loss": False, "tokenizer": "bytes", "vocab_size": -1}
    later = {name: value for name, value in before.items() if record and getattr(config, name) is None}
    assert from_toml(text) == replace(config, **later)
    assert read_record(text) == record


def test_settings_read_no_file():
    """Whatever scale, target, corpus or genome they name."""
    names = {"scale": "no-such-scale", "target": "no-such.toml", "corpus": ("nowhere",), "seed_genomes": ("nobody",)}
    assert Settings(**names).scale == "no-such-scale"


def test_choices_are_the_rows_of_the_tables_they_name():
    choices = {name: set(known.choices) for name, (_, known) in options_of(Settings).items() if known.choices}
    assert choices == {
        "algorithm": set(ALGORITHMS),
        "mode": {"generations", "steady"},
        "deck": set(DECKS),
        "constrain": {"", *FAMILIES},
        "levels": set(LEVELS),
        "balance": set(BALANCES),
        "dtype": set(DTYPE_BYTES),
        "device": {"cpu", "cuda"},
        "ranking": {"estimate", "loss"},
        "track": {"tensorboard", "wandb", "mlflow"},
    }
    assert {one.name: getattr(Settings(), one.name) for one in fields(Rates)} == {
        one.name: one.default for one in fields(Rates)
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("populaton = 3", "unknown key 'populaton' in the configuration; did you mean 'population'?"),
        ("[search]\nseed = 1", "unknown key 'search' in the configuration"),
        ("population = 'many'", "population must be a whole number, not 'many'"),
        ("population = 64.0", "population must be a whole number, not 64.0"),
        ("population = true", "population must be a whole number, not True"),
        ("serial = 1", "serial must be true or false, not 1"),
        ("timeout = 'long'", "timeout must be a number, not 'long'"),
        ("timeout = nan", "timeout must be at least 0, not nan"),
        ("timeout = inf", "timeout must be finite, not inf"),
        ("scale = 3", "scale must be a text, not 3"),
        ("objectives = 'quality'", "objectives must be a list of texts, not 'quality'"),
        ("corpus = ['a', 1]", "corpus must be a list of texts, not ['a', 1]"),
        ("corpus = []", "corpus must name at least one thing and none twice, not []"),
        ("objectives = ['params', 'params']", "objectives must name at least one thing and none twice"),
        ("population = 1", "population must be at least 2, not 1"),
        ("offspring = 0", "offspring must be at least 1, not 0"),
        ("generations = -1", "generations must be at least 0, not -1"),
        ("seed = -5", "seed must be at least 0, not -5"),
        ("slots = 0", "slots must be at least 1, not 0"),
        ("context = 0", "context must be at least 1, not 0"),
        ("population = 1_000_001", "population must be at most 1000000, not 1000001"),
        ("offspring = 1_000_001", "offspring must be at most 1000000, not 1000001"),
        ("generations = 1_000_001", "generations must be at most 1000000, not 1000001"),
        ("slots = 10_001", "slots must be at most 10000, not 10001"),
        (f"context = {10**9 + 1}", f"context must be at most {10**9}, not {10**9 + 1}"),
        ("max_memory = inf", "max_memory must be finite, not inf"),
        ("max_memory = -inf", "max_memory must be at least 0, not -inf"),
        ("max_flops = 1e25", "max_flops must be at most 1e+24, not 1e+25"),
        (f"max_params = {10**400}", f"max_params must be at most 1e+24, not 1{'0' * 39}"),
        (f"tokens = {10**15 + 1}", f"tokens must be at most {10**15}, not {10**15 + 1}"),
        (f"seed = {'9' * 5000}", "the configuration holds a whole number that is too large"),
        ("workers = -1", "workers must be at least 0, not -1"),
        ("dtype = 'bf61'", "unknown dtype 'bf61'; did you mean 'bf16'?"),
        ("deck = 'extnded'", "unknown deck 'extnded'; did you mean 'extended'?"),
        ("levels = 'every'", "unknown levels 'every'; choose from all, backbone"),
        ("balance = 'lost'", "unknown balance 'lost'; did you mean 'loss'?"),
        ("operator_mutation = 1.5", "operator_mutation must lie between 0 and 1, not 1.5"),
        ("backbone_mutation = nan", "backbone_mutation must lie between 0 and 1, not nan"),
        ("featurizer_crossover = -1", "featurizer_crossover must lie between 0 and 1, not -1"),
        ("featurizer_mutation = '5 %'", "featurizer_mutation must be a number, not '5 %'"),
        ("window = -1", "window must be at least 0, not -1"),
        ("serial = true\naddress = 'auto'", "give one of the two"),
        ("population 64", "the configuration is not a TOML file: "),
        ("seed = 1\nseed = 2", "the configuration is not a TOML file: "),
    ],
)
def test_refusals(text, sentence):
    with pytest.raises(UserError) as refusal:
        from_toml(text)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_record_is_a_table():
    with pytest.raises(UserError, match="record must be a table"):
        read_record("record = 3")


@given(st.text(printable))
@example("seed = " + 5000 * "[")
def test_no_text_does_worse_than_a_refusal(text):
    try:
        assert isinstance(from_toml(text), Settings)
    except UserError as error:
        assert "\n" not in str(error)
