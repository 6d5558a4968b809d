"""What every model must pass that decodes with a cache: token by token it gives what it gives at once."""

import torch

from star.architecture.genome import decode, to_text
from star.architecture.spec import Dimensions, ModelSpec
from star.model.language_model import LanguageModel

DIMS = Dimensions(d_model=16, head_dim=4, vocab_size=32, seq_len=32, window=6)


def build(genome, dims=DIMS, seed=0):
    """Build a model whose output maps, which start at zero, have something to say."""
    torch.manual_seed(seed)
    model = LanguageModel(ModelSpec(decode(genome), dims))
    for name, parameter in model.named_parameters():
        if name.endswith("out.weight"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@torch.no_grad()
def assert_decodes(genome, pieces, batch_size=1):
    """Check that tokens in pieces of these lengths, each continuing the last, give the logits of all at once."""
    model = build(genome)
    tokens = torch.randint(0, DIMS.vocab_size, (batch_size, sum(pieces)))
    cache = model.new_cache(tokens.shape[1], batch_size)
    parts = [model(part, cache) for part in tokens.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens), rtol=0, atol=1e-9, msg=to_text(genome))
