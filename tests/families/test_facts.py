"""Which models lie in a family: those whose exports `transformers` loads with equal logits, and no others."""

import tempfile
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.checkpoints import CASES, SIZES, load, own_logits, random_weights, reference_logits
from support.strategies import SIZES as SIZES_OF_OVERRIDES
from support.strategies import genomes, styles, variants

from star.architecture.catalogue import load as load_named
from star.architecture.genome import decode
from star.architecture.spec import BackboneConfig, Dimensions, OperatorOverrides
from star.architecture.structures import rules_of, specify
from star.errors import UserError
from star.export.native import export_native, own_shapes
from star.families.config import Config
from star.families.table import FAMILIES, find_family

DIMS = Dimensions(d_model=32, head_dim=8, vocab_size=23, seq_len=32)
ROTARY, WITHOUT = (
    replace(DIMS, style=BackboneConfig(tied=False, positions=positions)) for positions in ("rotary", "none")
)


def spec_of(genome, dims):
    """The model, if it can be built."""
    try:
        spec = specify(decode(genome), dims)
        own_shapes(spec)
        return spec
    except (UserError, RuntimeError):
        return None


@st.composite
def near_models(draw):
    """A family, and genome and sizes of a model of it with one thing changed: of the style, of a class, or a slot."""
    name, more = draw(st.sampled_from(CASES))
    blueprint = FAMILIES[name].read(Config(SIZES | {"model_type": name} | more))
    genome, dims = blueprint.genome, blueprint.scaled
    change = draw(st.sampled_from(("style", "operator", "slot", "none")))
    if change == "style":
        field = draw(st.sampled_from([field.name for field in fields(BackboneConfig)]))
        dims = replace(dims, style=replace(dims.style, **{field: getattr(draw(styles()), field)}))
    if change == "operator":
        liv = draw(st.sampled_from([slot.liv for slot in decode(genome)]))
        other, own = draw(variants(liv, dims)), dict(dims.operators)
        names = [field.name for field in fields(other) if getattr(other, field.name) != field.default]
        assume(names)
        field = draw(st.sampled_from(names))
        own[liv.name] = replace(own.get(liv.name, OperatorOverrides()), **{field: getattr(other, field)})
        dims = replace(dims, operators=tuple(own.items()))
    if change == "slot" and genome[0] >= 0:
        place = 5 * draw(st.integers(0, len(genome) // 5 - 1))
        genome = genome[:place] + draw(genomes(1, 1, "extended")) + genome[place + 5 :]
    return FAMILIES[name], genome, dims


def agrees(spec, family, monkeypatch):
    """Whether the export to a family is loaded with equal logits."""
    weights = random_weights(spec, has_bias=False)
    with tempfile.TemporaryDirectory() as folder:
        export_native(spec, weights, Path(folder) / "out", family)
        found = reference_logits(load(Path(folder) / "out"), monkeypatch)
    return torch.allclose(own_logits(spec, weights, monkeypatch), found, rtol=0, atol=1e-9)


@settings(max_examples=40)
@given(near_models())
def test_what_is_accepted_agrees(model):
    """In every family that accepts it."""
    family, *model = model
    spec = spec_of(*model)
    assume(spec is not None)
    others = [other for other in FAMILIES.values() if not other.obstacles(spec)]
    assert others or family.obstacles(spec)
    with pytest.MonkeyPatch.context() as monkeypatch:
        for one in others[:2]:
            assert agrees(spec, one.name, monkeypatch), (one.name, spec)


@st.composite
def changed_without_weights(draw):
    """A family, and a model of it in which something is changed that has no weights."""
    name, more = draw(st.sampled_from(CASES))
    blueprint = FAMILIES[name].read(Config(SIZES | {"model_type": name} | more))
    genome, dims = blueprint.genome, blueprint.scaled
    if draw(st.booleans()):
        field, values = draw(st.sampled_from(sorted(PLAIN_STYLES.items())))
        dims = replace(dims, style=replace(dims.style, **{field: draw(st.sampled_from(values))}))
    else:
        livs = {slot.liv.name: slot.liv for slot in decode(genome)}
        liv, own = livs[draw(st.sampled_from(sorted(livs)))], dict(dims.operators)
        known = sorted(PLAIN_OVERRIDES & {*rules_of(liv).supported})
        assume(known)
        field = draw(st.sampled_from(known))
        value = draw(st.sampled_from(CHANGES[field]))
        own[liv.name] = replace(own.get(liv.name, OperatorOverrides()), **{field: value})
        dims = replace(dims, operators=tuple(own.items()))
    return FAMILIES[name], genome, dims


PLAIN_STYLES = {
    "norm_eps": (1e-2,),
    "parallel": ((1,), (2,)),
    "rotary": (0.5, 1.0),
    "rope_theta": (77.0,),
    "positions": ("none", "alibi", "rotary"),
    "embedding_scale": (2.0,),
    "residual_scale": (0.5,),
    "logit_scale": (2.0,),
    "logit_cap": (1.0,),
}
PLAIN_OVERRIDES = {"window", "positions", "rotary", "rope_theta", "score_scale", "score_cap", "scoring", "routed_scale"}
PLAIN_OVERRIDES |= {
    "normalised",
    "clip_limit",
    "swish_slope",
    "value_shift",
    "num_groups",
    "norm_groups",
    "qk_norm_place",
}
CHANGES = SIZES_OF_OVERRIDES | {"window": (3, 7)}


def test_what_is_refused_is_another_function():
    """Where the nearest model of the family has the same weights, it has other logits; so no refusal is idle."""
    compared = Counter()

    @settings(max_examples=80)
    @given(changed_without_weights())
    def check(model):
        family, *model = model
        spec = spec_of(*model)
        assume(spec is not None and family.obstacles(spec))
        try:
            other = family.read(Config(family.config(spec))).spec()
        except UserError:
            return
        if own_shapes(other) == own_shapes(spec):
            compared[family.name] += 1
            weights = random_weights(spec, has_bias=True)
            with pytest.MonkeyPatch.context() as monkeypatch:
                a, b = (own_logits(one, weights, monkeypatch, tokens=32) for one in (spec, other))
            assert not torch.allclose(a, b, rtol=0, atol=1e-12), (family.name, family.obstacles(spec))

    check()
    assert len(compared) > 10, compared


def test_random_genomes_are_refused_with_a_reason_or_agree():
    """Most are refused; some short ones lie in a family."""
    found = Counter()

    @settings(max_examples=100)
    @given(genomes(max_slots=3, deck="extended"), st.sampled_from((ROTARY, WITHOUT)))
    def check(genome, dims):
        spec = spec_of(genome, dims)
        assume(spec is not None)
        try:
            family = find_family(spec)
        except UserError as error:
            assert "the nearest is" in str(error) and "in the way" in str(error)
            found["none"] += 1
            return
        found[family.name] += 1
        with pytest.MonkeyPatch.context() as monkeypatch:
            assert agrees(spec, family.name, monkeypatch)

    check()
    assert found["none"] > 50 and found.total() - found["none"] >= 3, found


def test_published_models_lie_in_their_families():
    """Those of the catalogue that `transformers` has a class for which star can tell as it is."""
    families = {
        "llama-3-8b": "llama",
        "mistral-7b": "mistral",
        "qwen3-0.6b": "qwen3",
        "gemma-3-27b": "gemma3_text",
        "olmo-2-7b": "olmo2",
        "olmo-3-7b": "olmo3",
        "smollm3-3b": "smollm3",
        "pythia-1.4b": "gpt_neox",
        "gpt-2-124m": "gpt2",
        "phi-3-mini-4k": "phi3",
        "mixtral-8x7b": "mixtral",
        "qwen3-30b-a3b": "qwen3_moe",
        "deepseek-v3-671b": "deepseek_v3",
        "gpt-oss-20b": "gpt_oss",
        "mamba-130m": "mamba",
        "mamba-2-130m": "mamba2",
        "recurrentgemma-2b": "recurrent_gemma",
        "jamba-v0.1": "jamba",
        "lfm2-1.2b": "lfm2",
        "nemotron-h-8b": "nemotron_h",
        "falcon-h1-0.5b": "falcon_h1",
        "qwen3-next-80b-a3b": "qwen3_next",
    }
    for name, family in families.items():
        named = load_named(name)
        spec = specify(decode(named.at(named.scale.num_slots)), named.scale.dims)
        assert FAMILIES[family].obstacles(spec) == [], name


def test_the_sentence_of_a_model_in_no_family():
    spec = specify(decode((1, 1, 1, 1, 1, 24, 1, 1, 1, 1)), DIMS)
    with pytest.raises(UserError) as error:
        find_family(spec)
    assert "slot 2" in str(error.value) and len(str(error.value)) < 400
    with pytest.raises(UserError, match="the model does not lie in mamba, where in the way are"):
        find_family(spec, "mamba")
    with pytest.raises(UserError, match="unknown family 'lama'; did you mean 'llama'"):
        find_family(spec, "lama")


def test_weights_of_another_model(tmp_path):
    spec = FAMILIES["mixtral"].read(Config(SIZES | dict(CASES[25][1]) | {"model_type": "mixtral"})).spec()
    weights = random_weights(spec, has_bias=True)
    with pytest.raises(UserError, match="selection_bias is not zero, and its checkpoint has no place for it"):
        export_native(spec, weights, tmp_path, "mixtral")
    weights = random_weights(spec, has_bias=False)
    with pytest.raises(UserError, match="those of another model"):
        export_native(spec, weights | {"more": np.zeros(1)}, tmp_path, "mixtral")
    assert not any(tmp_path.iterdir())
