"""What follows from settings: defaults that depend on the scale, and what no run can be made of."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from support.settings import SCALE_NAMES, any_settings

from star.architecture import catalogue
from star.architecture.scales import SCALES
from star.errors import UserError
from star.options import to_toml
from star.run.plan import plan_run
from star.run.settings import Settings, from_toml

STEP = SCALES["nano"].recipe.batch_size * SCALES["nano"].recipe.seq_len


def test_a_race_is_the_default_where_it_was_measured():
    def rungs(**changes):
        return plan_run(Settings(**{"ranking": "loss"} | changes)).settings.rungs

    assert (rungs(), rungs(rungs=1), rungs(ranking="estimate")) == (3, 1, 1)
    assert plan_run(Settings(ranking="loss")).race.steps == (13, 39)
    for unfit in ({"objectives": ("params", "cache")}, {"objectives": ("quality", "mqar")}, {"tokens": 99 * 1024}):
        assert rungs(**unfit) == 1
    assert rungs(tokens=100 * 1024) == 3
    assert {name for name in SCALE_NAMES if rungs(scale=name, tokenizer="bytes") > 1} == {"nano"}
    assert from_toml("seed = 1\n[record]\ntorch = 'any'").rungs == 1, (
        "a run from before there were races goes on as it was"
    )
    with pytest.raises(UserError, match="need 400 training steps; a proxy has 117"):
        plan_run(Settings(ranking="loss", eta=20))


def test_an_estimate_is_the_default_where_a_prior_fits_and_costs_are_known():
    plan = plan_run(Settings())
    found = plan.settings
    assert (found.ranking, found.rungs, found.verify_tokens, found.verify_seeds) == ("estimate", 1, 479_232, 1)
    assert (found.offspring, found.screening) == (256, 64) and not plan.why_no_prior
    fits = [{"objectives": ("quality", one)} for one in ("memory", "latency", "prefill")]
    fits += [{"target": "1b"}, {"rungs": 3}, {"deck": "extended"}]
    unfit = (
        {"scale": "micro"},
        {"slots": 6},
        {"tokens": 60_000},
        {"budget": 600.0},
        {"proxy_seconds": 5.0},
        {"rungs": 2, "eta": 2},
        {"objectives": ("quality", "mqar")},
        {"objectives": ("params", "cache")},
        {"mode": "steady"},
        {"warm_weights": True},
    )
    assert [plan_run(Settings(**one)).settings.ranking for one in fits] == ["estimate"] * len(fits)
    assert [plan_run(Settings(**one)).settings.ranking for one in unfit] == ["loss"] * len(unfit)
    assert from_toml("seed = 1\n[record]\ntorch = 'any'").ranking == "loss", "a run from before there were estimates"
    other = plan_run(Settings(slots=6, ranking="estimate")).settings
    assert (other.offspring, other.screening) == (32, 8), "most are trained until there is a fit"


def test_a_prior_tells_the_noise_between_seeds():
    assert plan_run(Settings(ranking="loss")).settings.verify_seeds == 3
    assert plan_run(Settings(ranking="estimate")).settings.verify_seeds == 1
    assert plan_run(Settings(ranking="estimate", slots=6)).settings.verify_seeds == 3
    assert plan_run(Settings(ranking="estimate", verify_seeds=2)).settings.verify_seeds == 2


@given(any_settings())
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
    assert plan_run(Settings(scale="micro", ranking="estimate")).trained.recipe == micro.recipe.open_ended()
    assert plan_run(resolved).target_scale == target, "a pattern is repeated to the target's own depth"
    assert plan_run(Settings(scale="micro", slots=3)).target_scale.num_slots == 3
    assert plan_run(Settings(slots=3, tokens=5000)).trained.num_slots == 3
    assert plan_run(Settings(slots=3, tokens=5000)).trained.recipe.tokens == 5000


def test_the_window_and_the_balance_reach_the_scales():
    plain = Settings(target="1b", ranking="loss")
    assert (plan_run(plain).trained.dims.band, plan_run(plain).target_scale.dims.band) == (32, 1024)
    config = replace(plain, window=48, balance="loss")
    assert (plan_run(config).trained.dims.band, plan_run(config).target_scale.dims.band) == (48, 48)
    recipe = plan_run(config).trained.recipe
    assert recipe == replace(SCALES["nano"].recipe, balance="loss")
    assert plan_run(replace(config, ranking="estimate")).trained.recipe == recipe.open_ended()


def test_a_default_time_limit_never_ends_a_slow_scale():
    for name, scale in SCALES.items():
        assert plan_run(Settings(scale=name, tokenizer="bytes")).settings.timeout >= scale.recipe.tokens / 100


def test_the_vocabulary_is_that_of_the_tokenizer():
    """In what is trained, and in the costs where these are those of what is trained."""
    bytes, pairs = plan_run(Settings()), plan_run(Settings(tokenizer="bpe:1000"))
    assert (bytes.settings.tokenizer, bytes.settings.vocab_size) == ("bytes", 256)
    assert (pairs.settings.vocab_size, pairs.trained.dims.vocab_size, pairs.target.dims.vocab_size) == (1024,) * 3
    genome = catalogue.load("lfm2-like").at(8)
    assert pairs.target.count(genome).params - bytes.target.count(genome).params == (1024 - 256) * 32
    elsewhere = plan_run(Settings(tokenizer="bpe:1000", target="1b"))
    assert (elsewhere.trained.dims.vocab_size, elsewhere.target.dims.vocab_size) == (1024, 50_304)
    assert plan_run(pairs.settings).trained == pairs.trained
    large = plan_run(Settings(scale="125m", tokenizer="bpe:32768"))
    assert large.trained.dims.vocab_size == 32_768
    assert pairs.settings.ranking == "loss", "the prior knows bytes alone"
    old = from_toml("scale = '125m'\n[record]\ntorch = 'any'")
    assert plan_run(old).trained.dims.vocab_size == 50_304, "a run from before there were tokenizers"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"tokens = {STEP - 1}", f"tokens {STEP - 1} is less than one training step of scale nano, {STEP}"),
        ("scale = 'nanno'", "unknown scale 'nanno'; did you mean 'nano'?"),
        ("target = '125'", "unknown scale '125'; did you mean '125m'?"),
        ("window = 129", "window must be at most 128, the length of scale nano, not 129"),
        (
            "scale = '1b'\ntokenizer = 'bytes'\ntarget = 'micro'\nwindow = 257",
            "window must be at most 256, the length of scale micro, not 257",
        ),
        ("device = 'cuda'", "device cuda is where latency and prefill are measured, which are no objectives here"),
        ("objectives = ['qualty']", "unknown objective 'qualty'; did you mean 'quality'?"),
        ("scale = '125m'", "scale 125m has a vocabulary of 50,304: give a tokenizer, such as bpe:32768"),
        ("scale = '125m'\ntokenizer = 'bpe:60000'", "tokenizer bpe:60000 has 60,000 tokens, and scale 125m a vocab"),
        ("tokenizer = 'bpe'", "tokenizer 'bpe' must be bpe: and the size of its vocabulary, such as bpe:4096"),
        ("tokenizer = 'byte'", "tokenizer byte does not exist; did you mean 'bytes'?"),
        ("target_toml = 'x'", "target_toml is the text of a target's file, but target is not given"),
        ("scale_toml = 'x'", "scale_toml is the text of a scale's file, but scale is nano"),
        ("rungs = 2\nobjectives = ['params', 'cache', 'mqar']", "rungs needs quality among the objectives"),
    ],
)
def test_refusals(text, sentence):
    settings = from_toml(text)
    with pytest.raises(UserError) as refusal:
        plan_run(settings)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
