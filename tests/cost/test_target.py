"""What a genome costs where it will be used, which ones a run turns away, and how people write limits."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.targets import SMALL

from star.architecture import catalogue
from star.architecture.genome import Space, decode, genome_hash, parse, tile
from star.architecture.scales import SCALES
from star.cost.cost import price
from star.cost.limits import LIMITS, describe_limits, write_limit
from star.cost.target import Screen, Target
from star.errors import UserError
from star.options import options_of, to_toml
from star.run.plan import plan_run
from star.run.settings import Settings, from_toml
from star.units import read_amount, write_amount

READERS = {name: options_of(Settings)[name][1].read for name in LIMITS}
SPACES = {
    "paper": Space(4),
    "extended": Space(4, "extended"),
    "own decks": Space(4, "extended", "all"),
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_a_pattern_is_repeated_to_the_depth_of_the_target(file):
    config = Settings(target=str(file), context=100, dtype="int8", batch=3)
    target, scale = plan_run(config).target, catalogue.find_scale(file)
    genome = parse("11111-91111-91212-52111")
    cost = price(decode(tile(genome, 11)), scale.dims, 100, 1)
    assert target.count(genome)[:3] == (cost.params, cost.cache_bytes, cost.flops_per_token)
    assert target.count(genome).memory_bytes == cost.params + 3 * cost.cache_bytes
    assert plan_run(config).target_scale.num_slots == scale.num_slots == 11


def test_where_the_target_is_the_scale_itself_a_backbone_stays_as_it_is():
    genome = parse("11111-91111")
    for config in (Settings(), Settings(target="nano"), Settings(slots=2)):
        cost = price(decode(genome), SCALES["nano"].dims)
        assert plan_run(config).target.count(genome)[:3] == (cost.params, cost.cache_bytes, cost.flops_per_token)
    deep = price(decode(tile(genome, 12)), SCALES["micro"].dims)
    assert plan_run(Settings(target="micro")).target.count(genome).params == deep.params


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_equal_architectures_cost_the_same(file, space):
    target, rng = plan_run(Settings(target=str(file))).target, np.random.default_rng(0)
    for _ in range(20):
        genome = space.sample(rng)
        spelled = tile(genome, space.num_slots)
        assert genome_hash(spelled) == genome_hash(genome) and target.count(spelled) == target.count(genome)
    assert target.count(parse("01111-11111")) == target.count(parse("11111-01111")) == target.count(parse("11111"))


def test_half_bytes_are_counted_and_rounded_up():
    dims = SCALES["nano"].dims
    whole, half = (Target(dims=dims, context=5, dtype_bytes=size).count(parse("11111")) for size in (1, 0.5))
    assert half.params == whole.params
    assert half.memory_bytes == math.ceil(whole.params / 2) + math.ceil(whole.cache_bytes / 2)
    costs = {
        dtype: plan_run(Settings(dtype=dtype)).target.count(parse("11111")).memory_bytes for dtype in ("int4", "fp8")
    }
    assert (
        costs["fp8"] == 2 * costs["int4"] == plan_run(Settings(dtype="int8")).target.count(parse("11111")).memory_bytes
    )


def test_a_screen_tells_how_far_beyond_a_genome_is():
    genome, target = parse("11111"), plan_run(Settings()).target
    cost = target.count(genome)
    screen = Screen(SCALES["nano"].dims, target, {"max_params": cost.params / 2, "max_cache": cost.cache_bytes * 2.0})
    assert screen.violations(genome) == (1.0, -0.5) and screen.cost(genome) == cost
    assert screen.refusal(genome) == f"params {cost.params:,} > max_params {cost.params // 2:,}"
    exact = Screen(SCALES["nano"].dims, target, {"max_params": float(cost.params)})
    assert exact.violations(genome) == (0.0,) and exact.refusal(genome) == ""


def test_reasons_name_no_single_genome():
    target = plan_run(Settings()).target
    screen = Screen(SCALES["nano"].dims, target, {"max_params": 1500.0, "max_flops": 2e3, "max_cache": 1e9})
    for genome in (parse("11111"), parse("21111-91111")):
        assert screen.reasons(genome) == ("params > max_params 1.5k", "flops_per_token > max_flops 2k")
    odd = Screen(replace(SCALES["nano"].dims, head_dim=32), target, {})
    assert odd.reasons(parse("31111")) == (odd.refusal(parse("31111")),) and odd.reasons(parse("11111")) == ()


def test_learned_positions_end_with_their_table():
    assert plan_run(Settings(target="gpt-2-124m", context=1024)).settings.context == 1024
    assert plan_run(Settings(target="gpt-2-124m")).settings.context == 1024
    with pytest.raises(UserError, match="^context must be at most 1024, the learned positions of target gpt-2-124m, "):
        plan_run(Settings(target="gpt-2-124m", context=32_768))


def test_what_cannot_be_built_at_the_scale_or_the_target_is_refused():
    one_head = replace(SCALES["nano"].dims, head_dim=32)
    for scale, dims in ((one_head, SCALES["nano"].dims), (SCALES["nano"].dims, one_head)):
        screen = Screen(scale, Target(dims=dims, context=9, dtype_bytes=1), {})
        assert screen.violations(parse("31111")) is None and screen.cost(parse("31111")) is None
        assert screen.refusal(parse("31111")).startswith("SA-3 repeats B over 4 query heads")
        assert screen.violations(parse("11111")) == () and screen.refusal(parse("11111")) == ""


@pytest.mark.parametrize("deck", ["paper", "extended"])
@pytest.mark.parametrize("levels", ["backbone", "all"])
@pytest.mark.parametrize("limit", LIMITS)
def test_only_limits_that_nothing_meets_are_refused_at_once(file, deck, levels, limit):
    config = Settings(target=str(file), slots=4, deck=deck, levels=levels, dtype="int4", batch=2)
    rng, target = np.random.default_rng(1), plan_run(config).target
    space = Space(4, deck, levels)
    least = min(getattr(target.count(space.sample(rng)), LIMITS[limit]) for _ in range(300))
    plan_run(replace(config, **{limit: float(least) or 1.0})).check()
    if limit == "max_cache":  # which operators without memory meet, whatever it is
        plan_run(replace(config, max_cache=1e-9)).check()
        return
    sentence = f"^{limit} 1e-09 is less than any .* the least {LIMITS[limit]} found is"
    with pytest.raises(UserError, match=sentence) as told:
        plan_run(replace(config, **{limit: 1e-9, "deck": "paper", "levels": "backbone"})).check()
    found = float(str(told.value).rsplit(" ", 1)[1].replace(",", ""))
    assert deck == "extended" or levels == "all" or found <= least
    assert found > 0


def test_a_limit_below_the_embedding_alone_is_refused():
    config = Settings(target="125m", deck="extended", max_params=30e6)
    embedding = price((), SCALES["125m"].dims).params
    with pytest.raises(UserError, match=f"at 125m: the least params found is {embedding:,}$"):
        plan_run(config).check()


def test_a_target_that_holds_none_of_the_operators_is_refused(monkeypatch):
    monkeypatch.setattr(Screen, "cost", lambda self, genome: None)
    with pytest.raises(UserError, match="no operator of deck paper can be built at nano and micro"):
        plan_run(Settings(target="micro")).check()


def test_the_text_of_a_targets_file_is_kept(file):
    config = plan_run(Settings(target=str(file))).settings
    assert (config.target_toml, config.context) == (SMALL, 64)
    file.write_text(SMALL.replace("d_model = 64", "d_model = 96"))
    assert plan_run(config).target.dims.d_model == 64 and plan_run(Settings(target=str(file))).target.dims.d_model == 96
    file.unlink()
    assert from_toml(to_toml(config)) == config == plan_run(config).settings
    assert plan_run(from_toml(to_toml(config))).target.dims.d_model == 64
    assert SMALL in to_toml(config), "for people to read"
    with pytest.raises(UserError, match="small.toml"):
        plan_run(Settings(target=str(file)))


def test_a_model_of_the_catalogue_is_a_target():
    config = Settings(target="llama-3.2-1b", context=32_768, dtype="int4")
    assert plan_run(config).settings.target_toml == catalogue.scale_text("llama-3.2-1b")
    llama = catalogue.load("llama-3.2-1b")
    assert plan_run(config).target.count(llama.genome).params == llama.published["params"]


@pytest.mark.parametrize(
    ("text", "of_bytes", "value"),
    [
        ("1e9", False, 1e9),
        ("8B", False, 8e9),
        ("350M", False, 350e6),
        ("1.5T", False, 1.5e12),
        ("2G", False, 2e9),
        ("10k", False, 1e4),
        ("7_000", False, 7000),
        ("2GB", True, 2e9),
        (" 64 mb ", True, 64e6),
        ("1.5kB", True, 1500),
        ("2TB", True, 2e12),
        ("1KiB", True, 1024),
        ("64MiB", True, 64 * 2**20),
        ("0.5GiB", True, 2**29),
        ("3TiB", True, 3 * 2**40),
        ("4096", True, 4096),
        ("4096B", True, 4096),
        ("2e9", True, 2e9),
        ("2G", True, 2e9),
        ("64M", True, 64e6),
        ("10 k", True, 1e4),
        ("1T", True, 1e12),
        ("1E-3", False, 1e-3),
    ],
)
def test_amounts(text, of_bytes, value):
    assert read_amount("amount", text, of_bytes) == value


@pytest.mark.parametrize("of_bytes", [False, True])
@pytest.mark.parametrize(
    "text", ["", "0", "-1", "two", "2XB", "2GiBB", "nan", "-inf", "1e999", "-2e9", "1.", "G", "1e", "٣", "9" * 400]
)
def test_what_is_no_amount(text, of_bytes):
    with pytest.raises(UserError, match="max must be an amount above 0, such as") as told:
        read_amount("max", text, of_bytes)
    assert len(str(told.value)) < 150


@given(st.text(max_size=9), st.sampled_from(sorted(LIMITS)))
def test_any_text_is_an_amount_or_refused(text, name):
    try:
        assert READERS[name](name, text) > 0
    except UserError as error:
        assert str(error).startswith(f"{name} must be an amount")


def test_bytes_and_counts_have_suffixes_of_their_own():
    assert READERS["max_memory"]("max_memory", "8B") == 8 and READERS["max_params"]("max_params", "8B") == 8e9
    for name, text in (("max_params", "8GB"), ("max_memory", "8Gi"), ("max_cache", "8P"), ("max_flops", "2GiB")):
        with pytest.raises(UserError, match=name):
            READERS[name](name, text)


@pytest.mark.parametrize("of_bytes", [False, True])
@pytest.mark.parametrize("text", ["1e9B", "2e3 k", "1e9T", "1.5E0b", "1e999B"])
def test_an_exponent_and_a_suffix_are_refused(text, of_bytes):
    with pytest.raises(UserError, match=f"{text}': an exponent and a suffix exclude each other$"):
        read_amount("max", text, of_bytes)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("max_params", 8e9, "8B"),
        ("max_params", 350e6, "350M"),
        ("max_flops", 2e9, "2G"),
        ("max_flops", 1.5e12, "1.5T"),
        ("max_memory", 2e9, "2 GB"),
        ("max_memory", 2_049_000_000, "2.049 GB"),
        ("max_cache", 999_999.0, "1 MB"),
        ("max_cache", 9, "9 B"),
        ("max_params", 1e-9, "1e-09"),
        ("max_params", 1e15, "1e+15"),
        ("max_memory", 1e24, "1e+24 B"),
    ],
)
def test_a_limit_is_told_in_its_own_unit(name, value, text):
    assert write_limit(name, value) == text
    assert describe_limits({name: value}) == f"{name.removeprefix('max_')} {text}"


@given(st.floats(1, 1e24), st.sampled_from(["params", "flops_per_token", "bytes"]))
def test_what_is_written_is_read_again(value, kind):
    text = write_amount(value, kind)
    assert len(text) < 12
    text = text.removesuffix(" B") if "e" in text else text
    assert read_amount("max", text, kind == "bytes") == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(("name", "text", "value"), [("max_memory", "2GB", 2e9), ("max_flops", "1.5G", 1.5e9)])
def test_a_file_says_limits_in_words_or_numbers(name, text, value):
    for written in (f'"{text}"', str(value), str(int(value))):
        config = from_toml(f"{name} = {written}")
        assert plan_run(config).limits == {name: value} and from_toml(to_toml(config)) == config


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("max_memory = '2 elephants'", "max_memory must be an amount above 0, such as 2GB"),
        ("max_memory = -1", "max_memory must be at least 0, not -1"),
        ("max_params = nan", "max_params must be at least 0, not nan"),
        ("max_flops = true", "max_flops must be a number, not True"),
        ("batch = 0", "batch must be at least 1, not 0"),
        ("scale = 'llama-3.2-1b'", "scale 'llama-3.2-1b' has no recipe: "),
        ("target = 'llama-3.2-1bb'", "did you mean 'llama-3.2-1b'?"),
        ("target = 'mamba'", "mamba has no table [scale]"),
        ("target = 'no/such.toml'", "no/such.toml"),
        ("target_toml = '[scale]'", "target_toml is the text of a target's file, but target is not given"),
        ("target_toml = '[scale]'\ntarget = 'nano'", "but target is nano"),
        ("target_toml = 'x'\ntarget = 'y'", "y is not a TOML file"),
        ("target_toml = '[scale]'\ntarget = 'y'", "y: the key 'slots' is missing from [scale]"),
        ("seed_genomes = 'mamba'", "seed_genomes must be a list of texts"),
    ],
)
def test_refusals(text, sentence):
    with pytest.raises(UserError) as refusal:
        plan_run(from_toml(text))
    assert sentence in str(refusal.value) and "\n" not in str(refusal.value)
