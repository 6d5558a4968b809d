"""The backbone over random genomes: causal, trainable, and sharing what it says it shares."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from support.naive import two_then_one
from support.soundness import NANO, assert_causal, assert_sound, assert_trains, build
from support.strategies import genomes, three_level_genomes

from star.architecture.genome import DECK, PAPER, decode, parse
from star.architecture.spec import BackboneConfig, ModelSpec
from star.architecture.structures import specify
from star.model.language_model import LanguageModel, Norm


@pytest.mark.parametrize("class_id", DECK)
def test_every_class_is_causal(class_id):
    model = build((class_id, 1, 1, 1, 1) * 2)
    for num_tokens, cut in ((40, 1), (40, 23), (33, 32)):
        assert_causal(model, num_tokens, cut)


@given(genomes(max_slots=8))
def test_random_backbones_are_causal(genome):
    assert_causal(build(genome), 33, 17)


@settings(max_examples=60)
@given(genomes(max_slots=8))
def test_random_backbones_train_a_step(genome):
    assert_trains(genome)


@settings(max_examples=500)
@given(three_level_genomes(max_slots=4))
def test_random_operators_are_sound(genome):
    assert_sound(genome)


@pytest.mark.slow
@settings(max_examples=10_000)
@given(three_level_genomes(max_slots=8))
def test_ten_thousand_random_operators_are_sound(genome):
    assert_sound(genome)


@given(genomes(max_slots=8))
def test_sharing_is_real(genome):
    """Slots that share weights hold one tensor; slots that share features have none to make them with."""
    model = build(genome)
    for i, slot in enumerate(decode(genome)):
        layers = (model.layers[i].a, model.layers[i].b) if slot.liv.differential else (model.layers[i],)
        for copy, layer in zip("ab", layers, strict=False):
            for group, owner, producer in zip(slot.liv.groups, slot.weights_from, slot.features_from, strict=True):
                if producer != i:
                    assert group.role not in layer.featurizer
                elif owner != i:
                    first = getattr(model.layers[owner], copy) if slot.liv.differential else model.layers[owner]
                    assert layer.featurizer[group.role] is first.featurizer[group.role]


def features_seen(text):
    """The features that each mixer of a model of that genome is given in one forward pass, by role in lower case."""
    model, seen = build(parse(text)), []
    for layer in model.layers:
        layer.mixer.register_forward_pre_hook(lambda _, inputs, given: seen.append(given), with_kwargs=True)
    model(torch.randint(0, 256, (1, 9)))
    return seen


def test_shared_features_are_the_producers_tensors():
    """With keys and values shared, the second slot's output follows the first slot's input, not its own."""
    first, second = features_seen("11114-11114")
    assert second["b"] is first["b"] and second["v"] is first["v"]


def test_shared_weights_are_computed_from_each_slots_own_input():
    first, second = features_seen("11211-11211")
    assert not torch.allclose(first["b"], second["b"])


@pytest.mark.parametrize("class_id", DECK)
def test_every_parameter_learns(class_id):
    """After one step has woken the output maps, no parameter of any class is without gradient."""
    model = build((class_id, 1, 1, 1, 1) * 2)
    model(torch.randint(0, 256, (2, 50))).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_a_slot_starts_as_the_identity():
    model = build(parse("11111-91111-51111-101111"), live=False)
    tokens = torch.randint(0, 256, (1, 9))
    x = model.final_norm(model.embedding(tokens))
    torch.testing.assert_close(model(tokens), x @ model.embedding.weight.T)


def test_empty_slots_are_not_there():
    """Depth shrinks: a backbone with empty slots is the one without them, and one of empty slots has a head only."""
    tokens = torch.randint(0, 256, (1, 9))
    torch.testing.assert_close(build(parse("11111-01111-91111"))(tokens), build(parse("11111-91111"))(tokens))
    model = build(parse("01111"))
    x = model.final_norm(model.embedding(tokens))
    torch.testing.assert_close(model(tokens), x @ model.embedding.weight.T)


def of_style(genome, **style):
    """A model of a style, whose output maps have something to say."""
    torch.manual_seed(0)
    model = LanguageModel(
        specify(decode(parse(genome)), replace(NANO, seq_len=16, style=BackboneConfig(**style)))
    ).eval()
    for layer in model.layers:
        torch.nn.init.normal_(layer.out.weight, std=0.1)
    return model


TOKENS = torch.arange(24).view(2, 12)


@torch.no_grad()
@pytest.mark.parametrize("place", ["before", "after", "both"])
def test_slots_of_a_round_read_the_same(place):
    """The second of two adds to the stream what it makes of what the first one read."""
    model = of_style("11111-91111-11111", parallel=(2, 1), norm_place=place)

    torch.testing.assert_close(model(TOKENS), two_then_one(model, TOKENS, place))


def test_slots_of_a_round_may_share_their_norm():
    model = of_style("11111-91111-11111", parallel=(2,), shared_norm=True)
    assert model.norms[0] is model.norms[1] is not model.norms[2]
    assert sum(name.startswith("norms.") for name in model.weights()) == 2


@torch.no_grad()
@pytest.mark.parametrize("norm_gain", [False, True])
@pytest.mark.parametrize("norm_bias", [False, True])
@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_norms_by_their_definition(norm, norm_gain, norm_bias):
    made = Norm(BackboneConfig(norm=norm, norm_gain=norm_gain, norm_bias=norm_bias, norm_eps=0.1), 6).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    y = x - x.mean(dim=2, keepdim=True) if norm == "layer" else x
    y = y / (y.square().mean(dim=2, keepdim=True) + 0.1).sqrt()
    y = y * made.weight if norm_gain else y
    torch.testing.assert_close(made(x), y + made.bias if norm_bias else y)


@torch.no_grad()
def test_what_surrounds_the_slots():
    style = {"tied": False, "head_bias": True, "embedding_norm": True, "embedding_scale": 3.0, "logit_cap": 2.0}
    model = of_style("01111", **style, positions="learned")
    torch.nn.init.normal_(model.head_bias)
    x = model.final_norm(model.embedding_norm(3 * model.embedding(TOKENS) + model.positions.weight[:12]))
    expected = 2 * torch.tanh((x @ model.head.weight.T + model.head_bias) / 2)
    torch.testing.assert_close(model(TOKENS), expected)


@torch.no_grad()
def test_learned_positions_end():
    """A cache continues them; there is none beyond the length of the scale."""
    model = of_style("11111", positions="learned")
    cache = model.new_cache(20, 2)
    model(TOKENS, cache)
    with pytest.raises(ValueError, match="17 tokens, but the model has 16 learned positions"):
        model(TOKENS[:, :5], cache)
    assert cache.position == 12
    model(TOKENS[:, :4], cache)


def test_weights_are_parameters_and_lasting_buffers_each_once():
    model = build(parse("331211-331211"))
    names = set(dict(model.named_parameters())) | {f"layers.{i}.mixer.selection_bias" for i in range(2)}
    assert set(model.weights()) == names < set(model.state_dict())
    assert not any(tensor.requires_grad for tensor in model.weights().values())
    model.weights()["layers.0.mixer.selection_bias"].fill_(3)
    assert model.layers[0].mixer.selection_bias.eq(3).all()


def test_names_of_default_models_stay():
    """Files of weights hold them."""
    attention = [f"layers.0.{name}.weight" for name in (*(f"featurizer.{role}.channels" for role in "CBV"), "out")]
    unit = [f"layers.1.{name}.weight" for name in (*(f"featurizer.{role}.channels" for role in "CV"), "out")]
    outside = ["embedding.weight", "norms.0.weight", "norms.1.weight", "final_norm.weight"]
    assert list(build(parse("11111-91111")).weights()) == [*outside, *attention, *unit]


# Sum of the absolute logits of two slots of one class, as they were before operators were composed from their codes.
GOLDEN = {
    1: 47887.408732,
    2: 106061.206825,
    3: 59850.330982,
    4: 51269.964813,
    5: 53350.640687,
    6: 145850.797144,
    7: 108616.618921,
    8: 168631.538814,
    9: 76068.884607,
    10: 112437.487083,
    11: 91350.749271,
    12: 82556.192745,
    13: 74194.595755,
    14: 110370.018522,
    15: 49981.533413,
    16: 92716.723779,
    17: 140808.655020,
}


@pytest.mark.parametrize("class_id", PAPER)
def test_named_classes_keep_their_values(class_id):
    torch.manual_seed(7)
    model = LanguageModel(ModelSpec(decode((class_id, 1, 1, 1, 1) * 2), NANO))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("out.weight"):
                parameter.normal_(std=0.1)
        logits = model(torch.randint(0, 256, (2, 100)))
    assert logits.double().abs().sum().item() == pytest.approx(GOLDEN[class_id], rel=1e-7)
