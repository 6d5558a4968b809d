"""The backbone over random genomes: causal, trainable, and sharing what it says it shares."""

import pytest
import torch
from hypothesis import given, settings
from strategies import genomes, three_level_genomes

from star.cost import price
from star.genome import DECK, PAPER, decode, parse, to_text
from star.model import LanguageModel
from star.scales import SCALES
from star.spec import ModelSpec

NANO = SCALES["nano"].dims


def build(genome, seed=0, live=True):
    """A model of the genome; `live` gives its output maps, which start at zero, something to say."""
    torch.manual_seed(seed)
    model = LanguageModel(ModelSpec(decode(genome), NANO))
    if live:
        for name, parameter in model.named_parameters():
            if name.endswith("out.weight") and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    return model


def learning(model):
    """The parameters that gradients reach: all but the biases that select experts."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def assert_causal(model, num_tokens, cut):
    """Changing the tokens from `cut` on changes no logit before it, and some logit after it."""
    one = torch.randint(0, 256, (2, num_tokens))
    other = one.clone()
    other[:, cut:] = (one[:, cut:] + torch.randint(1, 256, (2, num_tokens - cut))) % 256
    with torch.no_grad():
        a, b = model(one), model(other)
    # An FFT spreads rounding over the whole sequence, hence not bit for bit.
    torch.testing.assert_close(a[:, :cut], b[:, :cut], rtol=0, atol=2e-5)
    assert not torch.allclose(a[:, cut:], b[:, cut:])


@pytest.mark.parametrize("class_id", DECK)
def test_every_class_is_causal(class_id):
    model = build((class_id, 1, 1, 1, 1) * 2)
    for num_tokens, cut in ((40, 1), (40, 23), (33, 32)):
        assert_causal(model, num_tokens, cut)


@given(genomes(max_slots=8))
def test_random_backbones_are_causal(genome):
    assert_causal(build(genome), 33, 17)


def assert_trains(genome):
    """Finite loss, a finite gradient for every parameter, and a smaller loss after a small step against it: so small
    that neither curvature matters nor a router changes its mind, hence in double precision."""
    model = build(genome).double()
    tokens = torch.randint(0, 256, (2, 33))
    parameters = learning(model).values()

    def loss():
        return torch.nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())

    before = loss()
    before.backward()
    gradients = {p: p.grad for p in parameters if p.grad is not None}
    norm = sum(gradient.square().sum() for gradient in gradients.values()).sqrt()
    assert torch.isfinite(before) and torch.isfinite(norm), to_text(genome)
    with torch.no_grad():
        for parameter, gradient in gradients.items():
            parameter -= 1e-8 / norm * gradient
        assert loss() < before, to_text(genome)


@settings(max_examples=60)
@given(genomes(max_slots=8))
def test_random_backbones_train_a_step(genome):
    assert_trains(genome)


def assert_sound(genome):
    """A genome builds, is priced as built, is causal and trains."""
    model = build(genome)
    cost = price(decode(genome), NANO)
    assert cost.params == sum(parameter.numel() for parameter in model.parameters()), to_text(genome)
    assert_causal(model, 33, 17)
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
    """The features that each mixer of a model of that genome is given in one forward pass."""
    model, seen = build(parse(text)), []
    for layer in model.layers:
        layer.mixer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    model(torch.randint(0, 256, (1, 9)))
    return seen


def test_shared_features_are_the_producers_tensors():
    """With keys and values shared, the second slot's output follows the first slot's input, not its own."""
    (_, b0, v0), (_, b1, v1) = features_seen("11114-11114")
    assert b1 is b0 and v1 is v0


def test_shared_weights_are_computed_from_each_slots_own_input():
    (_, b0, _), (_, b1, _) = features_seen("11211-11211")
    assert not torch.allclose(b0, b1)


@pytest.mark.parametrize("class_id", DECK)
def test_every_parameter_learns(class_id):
    """After one step has woken the output maps, no parameter of any class is without gradient."""
    model = build((class_id, 1, 1, 1, 1) * 2)
    model(torch.randint(0, 256, (2, 50))).square().mean().backward()
    for name, parameter in learning(model).items():
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
