"""A configuration survives its own text, and refuses everything that cannot be run, each time in one sentence."""

from dataclasses import fields, replace
from string import printable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from star.architecture.genome import DECKS, LEVELS, Rates
from star.architecture.scales import SCALES
from star.errors import UserError
from star.run import settings as room
from star.run.plan import plan_run
from star.run.settings import Settings, from_toml, read_record, to_toml
from star.training.loop import BALANCES

STEP = SCALES["nano"].recipe.batch_size * SCALES["nano"].recipe.seq_len
SCALE_NAMES = ("nano", "micro", "125m", "1b")
NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
LISTS = st.lists(NAMES, min_size=1, max_size=4, unique=True).map(tuple)
CONFIGS = st.builds(
    Settings,
    population=st.integers(2, 10**6),
    offspring=st.none() | st.integers(1, 10**6),
    generations=st.integers(0, 10**6),
    seed=st.integers(0, 2**80),
    slots=st.none() | st.integers(1, 100),
    deck=st.sampled_from(sorted(DECKS)),
    levels=st.sampled_from(LEVELS),
    backbone_mutation=st.floats(0, 1) | st.integers(0, 1),
    operator_mutation=st.floats(0, 1),
    featurizer_mutation=st.floats(0, 1),
    operator_crossover=st.floats(0, 1),
    featurizer_crossover=st.floats(0, 1),
    scale=st.sampled_from(SCALE_NAMES),
    target=st.none() | st.sampled_from(SCALE_NAMES),
    context=st.none() | st.integers(1, 10**7),
    dtype=st.sampled_from(["fp32", "bf16", "fp16", "fp8", "int8", "int4"]),
    batch=st.integers(1, 10**6),
    max_params=st.floats(0, 1e15) | st.integers(0, 10**13),
    max_memory=st.floats(0, 1e15),
    seed_genomes=st.just(()) | LISTS,
    window=st.integers(0, SCALES["nano"].dims.seq_len),
    objectives=LISTS,
    corpus=LISTS,
    tokens=st.none() | st.integers(10**7, 10**13),
    balance=st.sampled_from(BALANCES),
    rungs=st.none() | st.just(1),
    workers=st.integers(0, 1000),
    serial=st.booleans(),
    timeout=st.none() | st.floats(0, 1e12) | st.integers(0, 10**6),
)


@given(CONFIGS, st.dictionaries(st.sampled_from(["torch", "corpus_digest"]), NAMES))
def test_text_and_back(config, record):
    assert from_toml(to_toml(config)) == config
    text = to_toml(plan_run(config).settings, record)  # as a run writes it
    assert from_toml(text) == plan_run(config).settings
    assert read_record(text) == record


def test_a_race_is_the_default_where_it_was_measured():
    assert (plan_run(Settings()).settings.rungs, plan_run(Settings(rungs=1)).settings.rungs) == (3, 1)
    assert plan_run(Settings()).race.steps == (13, 39)
    for unfit in ({"objectives": ("params", "cache")}, {"objectives": ("quality", "mqar")}, {"tokens": 99 * 1024}):
        assert plan_run(Settings(**unfit)).settings.rungs == 1
    assert plan_run(Settings(tokens=100 * 1024)).settings.rungs == 3
    assert {name for name in SCALE_NAMES if plan_run(Settings(scale=name)).settings.rungs > 1} == {"nano"}
    assert from_toml("seed = 1\n[record]\ntorch = 'any'").rungs == 1, (
        "a run from before there were races goes on as it was"
    )
    with pytest.raises(UserError, match="need 400 training steps; a proxy has 117"):
        plan_run(Settings(eta=20)).settings


@given(CONFIGS)
def test_resolved_leaves_nothing_open(config):
    resolved = plan_run(config).settings
    assert all(getattr(resolved, field.name) is not None for field in fields(Settings))
    assert plan_run(resolved).settings == resolved == from_toml(to_toml(resolved))
    given = {field.name: getattr(config, field.name) for field in fields(Settings)}
    assert replace(resolved, **{name: value for name, value in given.items() if value is not None}) == resolved


def test_defaults_follow_the_scale():
    resolved = plan_run(Settings(scale="micro", target="1b", population=10)).settings
    micro, target = SCALES["micro"], SCALES["1b"]
    assert (resolved.offspring, resolved.slots, resolved.tokens) == (5, micro.num_slots, micro.recipe.tokens)
    assert resolved.context == target.dims.seq_len
    assert plan_run(resolved).trained == micro
    assert plan_run(resolved).target_scale == target, "a pattern is repeated to the target's own depth"
    assert plan_run(Settings(scale="micro", slots=3)).target_scale.num_slots == 3
    assert plan_run(Settings(slots=3, tokens=5000)).trained.num_slots == 3
    assert plan_run(Settings(slots=3, tokens=5000)).trained.recipe.tokens == 5000


def test_the_window_and_the_balance_reach_the_scales():
    plain = Settings(target="1b")
    assert (plan_run(plain).trained.dims.band, plan_run(plain).target_scale.dims.band) == (32, 1024)
    config = replace(plain, window=48, balance="loss")
    assert (plan_run(config).trained.dims.band, plan_run(config).target_scale.dims.band) == (48, 48)
    assert plan_run(config).trained.recipe == replace(SCALES["nano"].recipe, balance="loss")


def test_words_and_rates_are_those_of_the_rooms_that_know_their_meaning():
    assert (room._WORDS["deck"], room._WORDS["levels"], room._WORDS["balance"]) == (tuple(DECKS), LEVELS, BALANCES)
    assert {name: getattr(Settings(), name) for name in room._RATES} == {
        field.name: field.default for field in fields(Rates)
    }


def test_a_default_time_limit_never_ends_a_slow_scale():
    for name, scale in SCALES.items():
        assert plan_run(Settings(scale=name)).settings.timeout >= scale.recipe.tokens / 100


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
        (f"seed = {'9' * 5000}", "the configuration is not TOML: "),
        ("workers = -1", "workers must be at least 0, not -1"),
        (f"tokens = {STEP - 1}", f"tokens {STEP - 1} is less than one training step of scale nano, {STEP}"),
        ("scale = 'nanno'", "unknown scale 'nanno'; did you mean 'nano'?"),
        ("target = '125'", "unknown scale '125'; did you mean '125m'?"),
        ("dtype = 'bf61'", "unknown dtype 'bf61'; did you mean 'bf16'?"),
        ("deck = 'extnded'", "unknown deck 'extnded'; did you mean 'extended'?"),
        ("levels = 'every'", "unknown levels 'every'; choose from all, backbone"),
        ("balance = 'lost'", "unknown balance 'lost'; did you mean 'loss'?"),
        ("operator_mutation = 1.5", "operator_mutation must lie between 0 and 1, not 1.5"),
        ("backbone_mutation = nan", "backbone_mutation must lie between 0 and 1, not nan"),
        ("featurizer_crossover = -1", "featurizer_crossover must lie between 0 and 1, not -1"),
        ("featurizer_mutation = '5 %'", "featurizer_mutation must be a number, not '5 %'"),
        ("window = -1", "window must be at least 0, not -1"),
        ("window = 129", "window must be at most 128, the length of scale nano, not 129"),
        (
            "scale = '1b'\ntarget = 'micro'\nwindow = 257",
            "window must be at most 256, the length of scale micro, not 257",
        ),
        ("serial = true\naddress = 'auto'", "give one of the two"),
        ("population 64", "the configuration is not TOML: "),
        ("seed = 1\nseed = 2", "the configuration is not TOML: "),
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
