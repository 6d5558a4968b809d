"""What every model must pass: it is priced as built, causal, and trains."""

import torch

from star.architecture.genome import decode, to_text
from star.architecture.scales import SCALES
from star.architecture.spec import ModelSpec
from star.cost.cost import price
from star.model.language_model import LanguageModel

NANO = SCALES["nano"].dims


def build(genome, seed=0, live=True):
    """Build a model of the genome; `live` gives its output maps, which start at zero, something to say."""
    torch.manual_seed(seed)
    model = LanguageModel(ModelSpec(decode(genome), NANO))
    if live:
        for name, parameter in model.named_parameters():
            if name.endswith("out.weight") and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    return model


def assert_causal(model, num_tokens, cut):
    """Check that changing the tokens from `cut` on changes no logit before it, and some logit after it."""
    one = torch.randint(0, 256, (2, num_tokens))
    other = one.clone()
    other[:, cut:] = (one[:, cut:] + torch.randint(1, 256, (2, num_tokens - cut))) % 256
    with torch.no_grad():
        a, b = model(one), model(other)
    # An FFT spreads rounding over the whole sequence, hence not bit for bit.
    torch.testing.assert_close(a[:, :cut], b[:, :cut], rtol=0, atol=2e-5)
    assert not torch.allclose(a[:, cut:], b[:, cut:])


def assert_trains(genome):
    """Check that the loss and every gradient are finite, and the loss smaller after a small step against them: so small
    that neither curvature matters nor a router changes its mind, hence in double precision."""
    model = build(genome).double()
    tokens = torch.randint(0, 256, (2, 33))
    parameters = list(model.parameters())

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


def assert_sound(genome):
    """Check that a genome builds, is priced as built, is causal and trains."""
    model = build(genome)
    cost = price(decode(genome), NANO)
    assert cost.params == sum(parameter.numel() for parameter in model.parameters()), to_text(genome)
    assert_causal(model, 33, 17)
    assert_trains(genome)
