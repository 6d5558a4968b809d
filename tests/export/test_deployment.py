"""Memory and work of decoding published models, against counts by hand."""

import pytest

from star.architecture import catalogue
from star.architecture.genome import decode
from star.cost.cost import deploy, price


def model(name):
    named = catalogue.load(name)
    return decode(named.at(named.scale.num_slots)), named.scale.dims


def test_a_dense_model_reads_every_weight_once_a_step():
    """Llama-3.2 1B: two FLOPs for every weight but the gains of 33 norms, and 4 H K for every token looked at."""
    slots, dims = model("llama-3.2-1b")
    for batch in (1, 7):
        served = deploy(slots, dims, 4096, batch, 2)
        flops = 2 * (1_235_814_400 - 33 * 2048) + 16 * 4 * 2048 * 4097
        assert served.decode_flops == batch * flops
        assert served.memory_bytes == 2 * 1_235_814_400 + batch * 134_217_728
        assert served.intensity == batch * flops / served.memory_bytes


def test_a_step_reads_the_experts_that_its_tokens_need():
    """Mixtral 8x7B: of the six experts that one token leaves out, two tokens leave out three quarters."""
    slots, dims = model("mixtral-8x7b")
    total, active, lookups = 46_702_792_704, 12_879_925_248, 32_000 * 4096
    for batch, unread in ((1, total - active), (2, (total - active) * 3 / 4), (9, (total - active) * 0.75**8)):
        served = deploy(slots, dims, 4096, batch, 1)
        read = total - lookups - unread + batch * 536_870_912 // 2
        assert served.decode_flops / served.intensity == pytest.approx(read, rel=1e-12)


def test_a_latent_serves_all_heads_as_it_is():
    """DeepSeek-V3: a token looked at costs every head a product with latent and rotary key, and one with the latent."""
    slots, dims = model("deepseek-v3-671b")
    near, far = (deploy(slots, dims, tokens, 1, 2).decode_flops for tokens in (1000, 1001))
    assert far - near == 61 * 128 * 2 * (512 + 64 + 512)


def test_a_long_convolution_is_one_product_a_token():
    named = catalogue.load("hyena-like")
    dims = catalogue.find_scale("125m").dims
    near, far = (deploy(decode(named.at(2)), dims, tokens, 1, 2).decode_flops for tokens in (1000, 1001))
    assert far - near == 2 * dims.d_model


@pytest.mark.parametrize("name", ["mamba-2.8b", "lfm2-1.2b", "gemma-3-4b", "qwen3-next-80b-a3b", "gopher-280b"])
def test_half_a_byte_a_number_is_a_quarter_of_two(name):
    slots, dims = model(name)
    full, quarter = (deploy(slots, dims, 32_768, 3, width) for width in (2, 0.5))
    assert quarter.memory_bytes == pytest.approx(full.memory_bytes / 4, abs=2)
    assert quarter.decode_flops == full.decode_flops
    assert quarter.intensity == pytest.approx(4 * full.intensity)
    assert full.cache_bytes == 3 * price(slots, dims, 32_768).cache_bytes
