"""The catalogue: every named genome decodes and is priced at every scale, and agrees with published figures."""

import re
from dataclasses import fields

import pytest
import torch
from support.paths import ROOT

from star.architecture import catalogue
from star.architecture.genome import GENES_PER_SLOT, canonical, decode, parse, split
from star.architecture.scales import SCALES
from star.architecture.spec import BackboneConfig, OperatorOverrides
from star.architecture.structures import ALL, specify
from star.architecture.structures.structure import COMMON
from star.cost.cost import price
from star.errors import UserError
from star.model.language_model import LanguageModel

GUIDE = ROOT / "docs" / "guides" / "add-model.md"
PUBLISHED = [name for name in catalogue.names() if catalogue.load(name).published]
REQUIRED = """
    gpt-2-124m gpt-2-355m gpt-2-774m gpt-2-1.5b gpt-3-175b gopher-44m gopher-117m gopher-417m gopher-1.4b gopher-7.1b
    gopher-280b chinchilla-70b llama-2-7b llama-2-70b llama-3-8b llama-3-70b llama-3.1-405b llama-3.2-1b llama-3.2-3b
    mistral-7b mixtral-8x7b mixtral-8x22b mixtral-8x22b-v0.1 smollm2-135m smollm2-1.7b qwen3-0.6b qwen3-1.7b qwen3-8b
    qwen3-32b qwen3-next-80b-a3b olmo-2-1b olmo-2-7b olmo-2-32b phi-3-mini-4k phi-3-mini-128k phi-3-medium-128k
    gemma-3-270m gemma-3-4b gemma-3-12b gemma-3-27b pythia-14m pythia-31m pythia-70m pythia-160m pythia-1b pythia-1.4b
    pythia-2.8b pythia-6.9b pythia-12b deepseek-v2-236b deepseek-v3-671b mamba-130m mamba-370m mamba-790m mamba-1.4b
    mamba-2.8b mamba-2-130m mamba-2-370m mamba-2-1.3b mamba-2-2.7b mamba-codestral-7b jamba-v0.1 recurrentgemma-2b
    griffin-7b lfm2-350m lfm2-1.2b lfm2-2.6b nemotron-h-8b nemotron-h-47b nemotron-h-56b falcon-h1-0.5b falcon-h1-1.5b
    falcon-h1-1.5b-deep falcon-h1-3b falcon-h1-7b falcon-h1-34b
"""


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES.keys())
@pytest.mark.parametrize("name", catalogue.names())
def test_every_genome_is_priced_at_every_scale(name, scale):
    genome = catalogue.load(name).at(scale.num_slots)
    assert len(split(genome)[1]) == scale.num_slots * GENES_PER_SLOT
    assert canonical(genome) == genome
    cost = price(decode(genome), scale.dims)
    assert cost.params > cost.embedding_params > 0
    assert cost.cache_bytes > 0


def test_the_baselines_are_there():
    assert {"transformer-pp", "gqa-transformer", "striped-mamba", "lfm2-like"} <= set(catalogue.names())


def test_the_published_models_are_there():
    assert set(REQUIRED.split()) <= set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_is_priced_to_the_last_integer_and_byte(name):
    named = catalogue.load(name)
    slots = decode(named.at(named.scale.num_slots))
    short, long = (price(slots, named.scale.dims, context, 2) for context in (4_096, 131_072))
    assert named.published == {
        "params": short.params,
        "active_params": short.active_params,
        "embedding_params": short.embedding_params,
        "cache_bytes_4096": short.cache_bytes,
        "cache_bytes_131072": long.cache_bytes,
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_is_built_with_its_parameters(name):
    named = catalogue.load(name)
    with torch.device("meta"):
        model = LanguageModel(specify(decode(named.at(named.scale.num_slots)), named.scale.dims))
    assert sum(parameter.numel() for parameter in model.parameters()) == named.published["params"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_says_its_title_source_and_own_scale(name):
    named = catalogue.load(name)
    assert named.name == name and re.search(r"20[12]\d|EleutherAI", named.citation)
    scale = catalogue.find_scale(name)
    assert scale == named.scale and scale.recipe is None
    assert len(decode(named.at(scale.num_slots))) == scale.num_slots


def _cost(name, scale):
    return price(decode(catalogue.load(name).at(SCALES[scale].num_slots)), SCALES[scale].dims)


@pytest.mark.parametrize(("scale", "layers", "d", "d_ff"), [("125m", 12, 768, 2048), ("1b", 24, 2048, 5461)])
def test_transformer_pp_has_the_closed_form_size_and_the_published_cache(scale, layers, d, d_ff):
    cost = _cost("transformer-pp", scale)
    assert cost.params - cost.embedding_params == layers * (4 * d * d + 3 * d * d_ff + 2 * d) + d
    assert cost.cache_bytes == layers * 2 * d * 4096 * 2  # 805 MB at 1b, as Thomas et al. 2024 report
    assert _cost("gqa-transformer", scale).cache_bytes * 4 == cost.cache_bytes


def test_striped_mamba_agrees_with_the_cache_savings_that_the_paper_reports():
    """86 MB is said to be 37 % less than the hybrid baseline and 89 % less than the Transformer."""
    assert 86e6 / _cost("striped-mamba", "1b").cache_bytes == pytest.approx(1 - 0.37, abs=0.01)


def test_lfm2_like_has_ten_convolutions_and_six_attentions_where_lfm2_has_them():
    mixers = catalogue.load("lfm2-like").at(32)[:: 2 * GENES_PER_SLOT]
    assert [i for i, class_id in enumerate(mixers) if class_id == 3] == [2, 5, 8, 10, 12, 14]
    assert mixers.count(7) == 10 and len(mixers) == 16


def _file(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


GOOD = 'title = "T"\ncitation = "me"\ngenome = "11111-91111-11111"\n'


def test_a_period_is_repeated_and_cut(tmp_path):
    genome = catalogue.resolve(_file(tmp_path, GOOD), 7)
    assert genome[::GENES_PER_SLOT] == (1, 9, 1, 1, 9, 1, 1)
    assert catalogue.resolve(_file(tmp_path, GOOD), 2)[::GENES_PER_SLOT] == (1, 9)


def test_each_copy_of_a_period_shares_within_itself(tmp_path):
    text = GOOD.replace("11111-91111-11111", "11211-91111-11211")
    slots = decode(catalogue.resolve(_file(tmp_path, text), 6))
    assert [slot.weights_from[0] for slot in slots if slot.class_id == 1] == [0, 0, 3, 3]


def test_a_period_with_a_deck_of_its_own_keeps_it(tmp_path):
    deck = "12123,1311,1212,1212+13111,1211,1211,1411,3131"
    genome = catalogue.resolve(_file(tmp_path, GOOD.replace("11111-91111-11111", f"{deck}/11211-21111-11211")), 5)
    classes, backbone = split(genome)
    assert len(classes) == 2 and backbone[::GENES_PER_SLOT] == (1, 2, 1, 1, 2)
    assert [slot.weights_from[0] for slot in decode(genome)] == [0, 1, 0, 3, 4]


@pytest.mark.parametrize("text", ["21211-31112-21221-32112", "12123,1311,1211,1211/11111-11111"])
def test_a_text_is_taken_as_written(text):
    assert catalogue.resolve(text, 8) == parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = ", "not a TOML file"),
        (GOOD + 'genom = "11111"\n', "unknown key 'genom'; did you mean 'genome'?"),
        (GOOD.replace('"me"', "3"), "citation must be text, not 3"),
        ('title = "T"\ncitation = "me"\n', "the key 'genome' is missing"),
        (GOOD.replace("91111", "9111x"), "slot 2"),
        (GOOD.replace("11111-91111", "12123,1211,1211/11111-91111"), "class 1"),
    ],
)
def test_a_bad_file_is_one_sentence_that_names_it(tmp_path, text, words):
    with pytest.raises(UserError, match="mine.toml") as caught:
        catalogue.load(_file(tmp_path, text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_point_to_the_nearest(tmp_path):
    with pytest.raises(UserError, match="did you mean 'transformer-pp'"):
        catalogue.load("transformer-p")
    with pytest.raises(UserError, match="cannot read"):
        catalogue.load(tmp_path / "none.toml")


HEADS = "num_heads = 32\nhead_dim = 128"
WRONG = [  # a published model, what is changed in its file, what is said of that
    ("llama-3-8b", HEADS, "num_heads = 33", "num_heads 33 does not divide d_model 4096; give head_dim too"),
    ("llama-3-8b", HEADS, "head_dim = 129", "head_dim 129 does not divide d_model 4096"),
    ("llama-3-8b", HEADS, "", "[scale] needs head_dim, num_heads or both"),
    ("llama-3-8b", "num_heads = 32", "num_heads = -32", "num_heads must be an integer from 0 to 2,147,483,647"),
    ("llama-3-8b", "num_heads = 32", "num_heads = 3_000_000_000", "from 0 to 2,147,483,647, not 3000000000"),
    (
        "llama-3-8b",
        "head_dim = 128",
        "head_dim = 127",
        "127 of 127 channels of a head would be rotated, which are no pai",
    ),
    ("llama-3-8b", "num_kv_heads = 8", "num_kv_heads = 5", "SA-3: num_kv_heads 5 does not divide num_heads 32"),
    ("llama-3-8b", "num_kv_heads = 8", "num_kv_heads = 64", "SA-3: num_kv_heads 64 does not divide num_heads 32"),
    ("llama-3-8b", "num_kv_heads = 8", "num_kv_heads = -8", "num_kv_heads must be a number from 0 to 2,147,483,647"),
    ("llama-3-8b", "num_kv_heads = 8", "num_kv_heads = 8.0", "num_kv_heads in [operators.SA-3] must be a whole number"),
    ("llama-3-8b", "num_kv_heads = 8", "kv_heads = 8", "'kv_heads' in [operators.SA-3]; did you mean 'num_kv_heads'?"),
    ("llama-3-8b", "num_kv_heads = 8", "d_ff = 8", "d_ff means nothing to SA-3 (attention)"),
    ("llama-3-8b", "num_kv_heads = 8", "rank = 8", "rank means nothing to SA-3 (attention)"),
    (
        "llama-3-8b",
        "num_kv_heads = 8",
        "taps = 8",
        "taps and kept_taps mean nothing to SA-3, which has no short kernel",
    ),
    ("llama-3-8b", "num_kv_heads = 8", "kernel_bias = true", "kernel_bias means nothing to SA-3"),
    ("llama-3-8b", "num_kv_heads = 8", 'bias = "CBZ"', "bias names 'Z', but the maps of SA-3 are C, B, V"),
    ("llama-3-8b", "num_kv_heads = 8", 'bias = "CBC"', "bias names a map of SA-3 twice: 'CBC'"),
    ("pythia-1b", 'bias = "C"', 'bias = "CV"', "bias names 'V', but the maps of GEGLU are C"),
    (
        "mamba-1.4b",
        "chained = true",
        'chained = true\nbias = "VA"',
        "bias names 'A', which Mamba makes from V if chained",
    ),
    (
        "recurrentgemma-2b",
        'bias = "CV"\nkernel',
        'bias = "CVB"\nkernel',
        "bias names 'B', which RG-LRU makes from V if",
    ),
    (
        "llama-3-8b",
        "num_kv_heads = 8",
        'positions = "learned"',
        "positions of SA-3 cannot be learned: the model has one",
    ),
    ("llama-3-8b", "num_kv_heads = 8", 'bias = ["C"]', "bias in [operators.SA-3] must be a text"),
    ("llama-3-8b", "num_kv_heads = 8", "window = 8", "window means nothing to SA-3, which looks at all of the context"),
    ("llama-3-8b", "num_kv_heads = 8", "rotary = -1", "rotary must lie between 0 and 1, not -1"),
    ("llama-3-8b", "num_kv_heads = 8", "score_scale = nan", "score_scale must be a number from 0 to"),
    (
        "llama-3-8b",
        "[operators.SA-3]\nnum_kv_heads = 8",
        "[operators]\nSA-3 = 8",
        "[operators.SA-3] must be a table, not 8",
    ),
    ("llama-3-8b", "d_ff = 14_336", "d_ff = -1", "d_ff must be a number from 0 to"),
    ("llama-3-8b", "d_ff = 14_336", "d_ff = 4_294_967_296", "from 0 to 2,147,483,647, not 4294967296"),
    ("llama-3-8b", "d_ff = 14_336", "d_fff = 1", "unknown key 'd_fff' in [operators.GMemless]; did you mean 'd_ff'?"),
    ("llama-3-8b", "operators.GMemless", "operators.GMemles", "'GMemles' in [operators]; did you mean 'GMemless'?"),
    ("llama-3-8b", "operators.GMemless", "operators.GEGLU", "unknown key 'GEGLU' in [operators]"),
    ("llama-3-8b", "d_model = 4096", "d_model = 0", "d_model must be a positive integer"),
    ("llama-3-8b", "d_model = 4096", "d_model = -4096", "d_model must be a positive integer"),
    ("llama-3-8b", "d_model = 4096", "d_model = 4096.0", "d_model of [scale] must be a whole number, not 4096.0"),
    ("llama-3-8b", "d_model = 4096", "d_model = true", "d_model of [scale] must be a whole number, not True"),
    ("llama-3-8b", "d_model = 4096", 'd_model = "4096"', "d_model of [scale] must be a whole number, not '4096'"),
    ("llama-3-8b", "d_model = 4096", "", "the key 'd_model' is missing from [scale]"),
    ("llama-3-8b", "d_model = 4096", "dmodel = 4096", "unknown key 'dmodel' in [scale]; did you mean 'd_model'?"),
    ("llama-3-8b", "vocab_size = 128_256", "vocab_size = 3_000_000_000", "at most 2,147,483,647, not 3000000000"),
    ("llama-3-8b", "slots = 64", "slots = 0", "slots of [scale] must lie between 1 and 10,000, not 0"),
    ("llama-3-8b", "slots = 64", "slots = 20_000", "slots of [scale] must lie between 1 and 10,000, not 20000"),
    ("llama-3-8b", "[scale]", "[scales]", "unknown key 'scales'; did you mean 'scale'?"),
    ("llama-3-8b", "norm_eps", "norm_epsilon", "unknown key 'norm_epsilon' in [style]; did you mean 'norm_eps'?"),
    ("llama-3-8b", "norm_eps = 1e-5", "norm_eps = 0", "norm_eps must be positive, at most 2,147,483,647, not 0.0"),
    ("llama-3-8b", "tied = false", "tied = 0", "tied in [style] must be true or false, not 0"),
    ("llama-3-8b", "tied = false", 'norm = "batch"', "norm must be one of rms, layer, not 'batch'"),
    ("llama-3-8b", "tied = false", "parallel = 2", "parallel in [style] must be a list of whole numbers, not 2"),
    ("llama-3-8b", "tied = false", "parallel = [0]", "parallel must hold numbers of slots from 1 to 10,000, not [0]"),
    ("llama-3-8b", "tied = false", "rotary = 1.5", "rotary must lie between 0 and 1, not 1.5"),
    ("llama-3-8b", "tied = false", "logit_cap = nan", "logit_cap must be positive, or 0 for none, at most 2,147"),
    ("llama-3-8b", "tied = false", "logit_cap = inf", "logit_cap must be positive, or 0 for none, at most 2,147"),
    ("llama-3-8b", "tied = false", "logit_cap = 1e10", "logit_cap must be positive, or 0 for none, at most 2,147"),
    ("llama-3-8b", "tied = false", "embedding_scale = nan", "embedding_scale must be positive, at most 2,147"),
    ("llama-3-8b", "tied = false", "embedding_scale = 1e300", "embedding_scale must be positive, at most 2,147"),
    ("llama-3-8b", "norm_eps = 1e-5", "norm_eps = inf", "norm_eps must be positive, at most 2,147,483,647, not inf"),
    ("llama-3-8b", "rope_theta = 500_000", "rope_theta = 1e16", "rope_theta must be positive, at most 1,000,000,000,"),
    ("llama-3-8b", "num_kv_heads = 8", "rope_theta = 1e16", "rope_theta must be a number from 0 to 1,000,000,000,"),
    ("llama-3-8b", "tied = false", "parallel = []", "parallel must hold numbers of slots from 1 to 10,000, not []"),
    ("llama-3-8b", "tied = false", "parallel = [2_000_000_000]", "from 1 to 10,000, not [2000000000]"),
    ("llama-3-8b", "tied = false", f"parallel = {[2] * 10_001}", "slots from 1 to 10,000, not [2, 2, 2,"),
    ("llama-3-8b", "d_ff = 14_336", f"d_ff = 1{'0' * 19}", "holds a whole number that is too large: 64 bits are the"),
    ("llama-3-8b", "d_ff = 14_336", f"d_ff = -1{'0' * 3_000}", "a whole number that is too large"),
    ("llama-3-8b", "d_ff = 14_336", f"d_ff = 1{'0' * 5_000}", "a whole number that is too large"),
    ("llama-3-8b", "d_ff = 14_336", f"d_ff = 0x1{'0' * 5_000}", "a whole number that is too large"),
    ("llama-3-8b", "tied = false", f"parallel = [1{'0' * 3_000}]", "a whole number that is too large"),
    ("llama-3-8b", "tied = false", f"tied{'.a' * 1_000} = 1", "nested too deeply"),
    ("llama-3-8b", "\nparams", "\nparameters", "unknown key 'parameters' in [published]; did you mean 'params'?"),
    ("llama-3-8b", "\nparams = 8_030_261_248", "\nparams = 8.03e9", "params of [published] must be a whole number"),
    ("mixtral-8x7b", "experts_per_token = 2", "experts_per_token = 9", "a token cannot go through 9 of 8 experts"),
    ("mixtral-8x7b", "num_experts = 8", "num_experts = 1", "a token cannot go through 2 of 1 experts"),
    ("mixtral-8x7b", "num_experts = 8", "d_shared = 8", "d_shared means nothing to MoE (routed)"),
    ("mixtral-8x7b", '"softmax"', '"softmaks"', "scoring must be one of sigmoid, softmax, not 'softmaks'"),
    ("deepseek-v3-671b", "rope_head_dim = 64", "rope_head_dim = 63", "63 of 63 channels of a head would be rotated"),
    ("deepseek-v3-671b", "latent_dim = 512", "num_kv_heads = 8", "num_kv_heads means nothing to MLA"),
    ("gemma-3-4b", "window = 1024", "window = -1", "window of [scale] must be a positive integer, not -1"),
    ("gemma-3-4b", 'qk_norm = "head"', "window = -1", "window must be a number from 0 to 2,147,483,647, not -1"),
    ("gemma-3-4b", 'qk_norm = "head"', 'qk_norm = "heads"', "qk_norm must be one of head, all, not 'heads'"),
    ("mamba-2-2.7b", "d_state = 128", "num_groups = 7", "Mamba-2: num_groups 7 does not divide num_heads 80"),
    ("mamba-2-2.7b", "d_state = 128", "norm_groups = 7", "Mamba-2: norm_groups 7 does not divide d_inner 5,120"),
    ("mamba-2-2.7b", "d_state = 128", "d_inner = 100", "Mamba-2: head_dim 64 does not divide d_inner 100"),
    ("recurrentgemma-2b", "d_inner = 2560", "d_inner = 2561", "RG-LRU: num_heads 10 does not divide d_inner 2,561"),
    ("recurrentgemma-2b", "kept_taps = 3", "kept_taps = 2", "decoding keeps 3 or 4 columns for 4 taps"),
    ("qwen3-next-80b-a3b", "num_key_heads = 16", "num_key_heads = 5", "num_key_heads 5 does not divide num_heads 32"),
]


@pytest.mark.parametrize(("name", "old", "new", "words"), WRONG, ids=[f"{one[0]}: {one[2]}" for one in WRONG])
def test_a_wrong_size_is_one_clear_line(tmp_path, name, old, new, words):
    text = next((ROOT / "genomes").rglob(f"{name}.toml")).read_text()
    assert text.count(old) == 1
    with pytest.raises(UserError, match="mine.toml") as caught:
        catalogue.load(_file(tmp_path, text.replace(old, new)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    if "[published]" not in words:
        with pytest.raises(UserError, match="mine.toml"):
            catalogue.find_scale(_file(tmp_path, text.replace(old, new)))


@pytest.mark.parametrize("table", ["style", "operators.SA-1", "published"])
def test_tables_that_need_sizes_say_so(tmp_path, table):
    with pytest.raises(UserError, match=r"has no meaning without a table \[scale\]"):
        catalogue.load(_file(tmp_path, f"{GOOD}[{table}]\n"))
    with pytest.raises(UserError, match=r"has no table \[scale\]"):
        catalogue.find_scale(_file(tmp_path, GOOD))


SIZES = "[scale]\nslots = 3\nd_model = 64\nhead_dim = 16\nvocab_size = 100\nseq_len = 32\n"


def _at_its_scale(tmp_path, text, context=None):
    named = catalogue.load(_file(tmp_path, text))
    return price(decode(named.at(named.scale.num_slots)), named.scale.dims, context)


def test_a_scale_without_a_genome_may_name_any_class_of_the_table(tmp_path):
    path = _file(tmp_path, f"{SIZES}[operators.SA-3]\nnum_kv_heads = 2\n[operators.ReLU2]\nd_ff = 100\n")
    assert [name for name, _ in catalogue.find_scale(path).dims.operators] == ["SA-3", "ReLU2"]


@pytest.mark.parametrize(
    ("operators", "words"),
    [
        ("[operators.SA-3]\nnum_kv_heads = 3", "SA-3: num_kv_heads 3 does not divide num_heads 4"),
        ("[operators.SA-3]\nd_ff = 3", "[operators.SA-3]: d_ff means nothing to SA-3"),
        ("[operators.SA-33]\nnum_kv_heads = 3", "unknown key 'SA-33' in [operators]; did you mean 'SA-3'?"),
        (
            "[operators.softmax]\nnum_kv_heads = 3",
            "unknown key 'softmax' in [operators]; `star genes` lists the classes",
        ),
        ("[operators.3]\nnum_kv_heads = 2", "unknown key '3' in [operators]"),
        ("[operators.SA-1]\nhead_dim = 24", "SA-1: head_dim 24 does not divide d_model 64"),
        ("[operators.SA-1]\nhead_dim = 128", "SA-1: head_dim 128 does not divide d_model 64"),
    ],
)
def test_the_classes_of_a_scale_are_checked_as_it_is_read(tmp_path, operators, words):
    with pytest.raises(UserError, match="mine.toml") as caught:
        catalogue.find_scale(_file(tmp_path, f"{SIZES}{operators}\n"))
    assert words in str(caught.value)


def test_classes_without_a_variant_have_to_fit_too(tmp_path):
    with pytest.raises(UserError, match=r"mine.toml: SA-3 repeats B over 4 query heads"):
        catalogue.load(_file(tmp_path, GOOD.replace("11111-9", "31111-9") + SIZES.replace("= 16", "= 32")))


def test_heads_of_a_state_space_fill_its_own_width(tmp_path):
    text = GOOD.replace('"11111-', '"261111-') + SIZES + "[operators.Mamba-2]\nhead_dim = 24\nd_inner = 48\n"
    assert _at_its_scale(tmp_path, text).params > 0


DECK = "12123,1211,1211,1211+11132,1241,1241+11142,1231,1231"
OWN = f"{GOOD.replace('11111-91111-11111', f'{DECK}/11111-21111')}{SIZES.replace('slots = 3', 'slots = 2')}"


def test_a_number_names_a_class_of_the_deck_of_the_file(tmp_path):
    scale = catalogue.find_scale(_file(tmp_path, f"{OWN}[operators.2]\nd_ff = 100\n[operators.1]\nbias = 'C'\n"))
    (name, unit), (attention_name, _) = scale.dims.operators
    assert re.fullmatch(r"memoryless~[0-9a-f]{8}", name) and unit.d_ff == 100 and attention_name == "SA-1"
    by_name = catalogue.find_scale(
        _file(tmp_path, f"{OWN}[operators.'{name}']\nd_ff = 100\n[operators.SA-1]\nbias = 'C'")
    )
    assert by_name == scale
    plain = _at_its_scale(tmp_path, OWN).params
    assert plain - _at_its_scale(tmp_path, f"{OWN}[operators.2]\nd_ff = 100\n").params == 3 * 64 * (4 * 64 - 100)


@pytest.mark.parametrize(
    ("operators", "words"),
    [
        ("[operators.3]\nd_ff = 9", "unknown key '3' in [operators]; choose from SA-1, memoryless~"),  # in no slot
        ("[operators.0]\nd_ff = 9", "unknown key '0' in [operators]"),
        (f"[operators.{'9' * 5_000}]\nd_ff = 9", "unknown key '999"),
        ("[operators.1]\nd_ff = 9", "[operators.1]: d_ff means nothing to SA-1"),
        ("[operators.1]\n[operators.SA-1]", "[operators.SA-1] is of SA-1, of which another table is"),
    ],
)
def test_a_number_that_names_nothing_is_one_clear_line(tmp_path, operators, words):
    with pytest.raises(UserError, match="mine.toml") as caught:
        catalogue.load(_file(tmp_path, f"{OWN}{operators}\n"))
    assert words in str(caught.value) and len(str(caught.value)) < 500


def test_a_window_longer_than_the_context_is_all_of_it(tmp_path):
    text = GOOD.replace('"11111-', '"191111-') + SIZES
    whole = _at_its_scale(tmp_path, text + "window = 32\n", 64)
    assert _at_its_scale(tmp_path, text + "window = 2_000\n", 64) == whole
    assert _at_its_scale(tmp_path, text + "[operators.SWA]\nwindow = 2_000\n", 64) == whole
    assert _at_its_scale(tmp_path, text, 64).cache_bytes < whole.cache_bytes


def test_slots_beyond_the_last_read_nothing():
    assert BackboneConfig(parallel=(10_000,)).rounds(3) == [0, 0, 0]
    assert BackboneConfig(parallel=(2, 1)).rounds(5) == [0, 0, 2, 3, 3]
    assert BackboneConfig().rounds(0) == []


def test_whole_numbers_are_read_where_others_may_stand(tmp_path):
    style = catalogue.load(
        _file(tmp_path, f"{GOOD}{SIZES}[style]\nrope_theta = 500_000\nrotary = 1\n")
    ).scale.dims.style
    assert type(style.rope_theta) is type(style.rotary) is float
    with pytest.raises(UserError, match="must be a number, not True"):
        catalogue.load(_file(tmp_path, f"{GOOD}{SIZES}[style]\nrotary = true\n"))


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + SIZES, encoding="utf-8-sig")
    assert catalogue.load(path).scale == catalogue.find_scale(path)


@pytest.mark.parametrize("find", [catalogue.load, catalogue.find_scale])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("xyz", "unknown {kind} 'xyz'; "),
        ("xyz", "`star genomes` lists"),
        ("lama-3-8b", "unknown {kind} 'lama-3-8b'; did you mean 'llama-3-8b'?"),
        ("x" * 5_000, "unknown {kind} 'xxx"),
        ("no\0.toml", r"cannot read the genome file 'no\x00.toml': embedded null byte"),
        ("no\0", r"unknown {kind} 'no\x00'"),
        ("{tmp}", "{tmp} is a directory, and not a {kind}"),
        ("{tmp}/folder.toml", "folder.toml: Is a directory"),
        ("{tmp}/mine.txt", "mine.txt is not a genome file: the name of one ends in .toml"),
        ("{tmp}/latin.toml", "latin.toml is not a text in UTF-8"),
    ],
)
def test_what_is_no_genome_file_is_told_apart(tmp_path, find, name, words):
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "mine.txt").write_text(GOOD)
    (tmp_path / "latin.toml").write_bytes(b"title = '\xe4'")
    kind = "genome" if find is catalogue.load else "scale"
    with pytest.raises(UserError) as caught:
        find(name.replace("{tmp}", str(tmp_path)))
    assert words.replace("{tmp}", str(tmp_path)).replace("{kind}", kind) in str(caught.value)
    assert len(str(caught.value)) < 400 and "\0" not in str(caught.value)


def _rows(heading):
    """The rows of the table under a heading of the guide, as their cells."""
    section = GUIDE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_guide_shows_a_file_of_the_catalogue():
    shown = re.search(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
    assert shown == next((ROOT / "genomes").rglob("qwen3-0.6b.toml")).read_text()


def test_the_second_file_of_the_guide_has_the_price_that_it_says(tmp_path):
    shown = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
    cost = _at_its_scale(tmp_path, shown)
    published = catalogue.load(tmp_path / "mine.toml").published
    assert published == {"params": cost.params, "embedding_params": cost.embedding_params}
    assert cost.params == 125_239_296  # as counted of its released weights


def test_two_variants_of_one_class_are_those_of_siblings(tmp_path):
    shown = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[2]
    genome, variants = shown.split("\n", 1)
    texts = [GOOD.splitlines()[0], GOOD.splitlines()[1], genome, SIZES.replace("slots = 3", "slots = 8"), variants]
    cost = _at_its_scale(tmp_path, "\n".join(texts))
    texts[2:] = [genome.replace("-4", "-3"), texts[3], variants.split("[operators.SA-4]")[0]]
    assert cost == _at_its_scale(tmp_path, "\n".join(texts))


def test_a_class_without_a_variant_keeps_the_proportions_of_its_genes():
    dims = catalogue.find_scale("llama-3-8b").dims
    widths = [slot.liv.group("C").width(dims) for slot in specify(decode(parse("91111-371111")), dims).slots]
    assert widths == [14_336, 10_922]


def test_the_guide_lists_every_key():
    assert tuple(_rows("[scale]")) == catalogue._SIZES
    assert list(_rows("[style]")) == [field.name for field in fields(BackboneConfig)]
    assert list(_rows("[operators.NAME]")) == [field.name for field in fields(OperatorOverrides)]


def test_the_guide_says_which_structure_knows_which_key():
    for key, (_, known) in _rows("[operators.NAME]").items():
        structures = {str(rules.structure) for rules in ALL if key in rules.supported}
        assert known == "all" if key in COMMON else set(known.split(", ")) == structures, key


@pytest.mark.parametrize("key", ["tokens", "batch_size", "seq_len"])
def test_a_recipe_of_nothing_is_refused(key):
    recipe = {
        "tokens": 64,
        "batch_size": 2,
        "seq_len": 16,
        "valid_tokens": 64,
        "optimizer": "muon",
        "learning_rate": 0.02,
    }
    sizes = "[scale]\nslots = 3\nd_model = 16\nhead_dim = 4\nvocab_size = 256\nseq_len = 16\n\n[recipe]\n"
    lines = [f"{name} = {value!r}".replace("'", '"') for name, value in (recipe | {key: 0}).items()]
    with pytest.raises(UserError, match=f"{key} of a recipe must be at least 1, not 0"):
        catalogue.read_scale(sizes + "\n".join(lines), "mine")
