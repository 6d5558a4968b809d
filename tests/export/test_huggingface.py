"""Exported models in transformers: the same logits, whatever is padded, cached, searched by beams, saved or adapted."""

import ast
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from support.tiny import TINY
from transformers import AutoModelForCausalLM, AutoTokenizer

from star.architecture.genome import DECKS, Space, decode, parse
from star.architecture.genome.deck import DECK
from star.architecture.spec import BackboneConfig
from star.architecture.structures import specify
from star.data.tokenizer import train_tokenizer
from star.export.huggingface import export_huggingface
from star.export.single_file import ExportHeader
from star.model.language_model import LanguageModel

NUMBERS = {row.name: number for number, row in DECK.items()}
GENOMES = {
    "hybrid": "7.1.1.1.1-9.1.1.1.1-3.1.1.1.1-9.1.1.1.1",
    "sharing": "3.1.1.1.4-9.1.1.1.1-3.1.1.1.4-9.1.1.1.1",
    "differential": f"{NUMBERS['Rec-1-Diff']}.1.1.1.1-9.1.1.1.1-{NUMBERS['SA-3-Diff']}.1.1.1.1",
    "experts": f"7.1.1.1.1-{NUMBERS['MoE']}.1.1.1.1-{NUMBERS['SWA']}.1.1.1.1-9.1.1.1.1",
    "recurrences": f"{NUMBERS['Mamba-2']}.1.1.1.1-{NUMBERS['GDN']}.1.1.1.1-8.1.1.1.1-{NUMBERS['MLA']}.1.1.1.1",
}
PLAIN = BackboneConfig()
TEXTS = ["In the beginning", "Hello", "A text longer than the others, and than the window"]


pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)  # used by PEFT


@pytest.fixture(autouse=True, scope="module")
def modules(tmp_path_factory):
    """A folder of its own for the code that transformers copies."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("modules"))
        for module in (transformers.dynamic_module_utils, transformers.utils.hub):
            patch.setattr(module, "HF_MODULES_CACHE", folder, raising=False)
        yield


def make(genome, style=PLAIN):
    """The specification and a model whose weights are all drawn at random."""
    torch.manual_seed(0)
    spec = specify(decode(parse(genome) if isinstance(genome, str) else genome), replace(TINY.dims, style=style))
    model = LanguageModel(spec).eval()
    with torch.no_grad():
        for param in model.parameters():
            if param.ndim > 1 and not param.any():
                torch.nn.init.normal_(param, std=0.1)
    return spec, model


def export(spec, model, folder, tokenizer=None, genome=(1,) * 5):
    header = ExportHeader(genome=genome, facts=(), context=16, dtype_bytes=2, tokenizer=tokenizer)
    export_huggingface(spec, {name: one.numpy() for name, one in model.weights().items()}, header, folder)
    return folder


def load(folder, **options):
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    return tokenizer, AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, **options).eval()


@pytest.fixture(params=GENOMES)
def loaded(request, tmp_path):
    """Our model, and the tokenizer and the model that transformers loaded."""
    spec, model = make(GENOMES[request.param])
    return model, *load(export(spec, model, tmp_path / "m"))


@torch.no_grad()
def check_padding_and_cache(ours, tokenizer, model):
    """Logits of a padded batch, at once and with a cache in two parts, are ours of each text alone."""
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    whole = model(**batch).logits
    half = batch.input_ids.shape[1] - 4
    first = model(batch.input_ids[:, :half], attention_mask=batch.attention_mask[:, :half], use_cache=True)
    rest = model(batch.input_ids[:, half:], attention_mask=batch.attention_mask, past_key_values=first.past_key_values)
    for row, text in enumerate(TEXTS):
        alone = ours(torch.tensor([list(text.encode())]))[0]
        torch.testing.assert_close(whole[row, -len(text) :], alone, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(rest.logits[row], alone[-4:], rtol=1e-4, atol=1e-4)


def test_logits_are_ours_whatever_is_padded_or_cached(loaded):
    check_padding_and_cache(*loaded)


@pytest.mark.parametrize(
    "style",
    [
        BackboneConfig(tied=False, norm="layer", norm_bias=True, parallel=(2,), head_bias=True),
        BackboneConfig(norm_place="both", logit_cap=5.0, embedding_scale=2.0, shift=3),
    ],
    ids=["untied and parallel", "capped and shifted"],
)
def test_other_styles(style, tmp_path):
    spec, ours = make(GENOMES["hybrid"], style)
    tokenizer, model = load(export(spec, ours, tmp_path / "m"))
    check_padding_and_cache(ours, tokenizer, model)
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    options = {"max_new_tokens": 9, "do_sample": False, "num_beams": 3}
    assert torch.equal(*(model.generate(**batch, use_cache=uses, **options) for uses in (True, False)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_random_genomes(seed, tmp_path):
    genome = Space(4, sorted(DECKS)[seed % 2]).sample(np.random.default_rng(seed))
    spec, ours = make(genome)
    check_padding_and_cache(ours, *load(export(spec, ours, tmp_path / "m", genome=genome)))


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_does_not_depend_on_the_cache_nor_on_who_is_beside(loaded, beams):
    options = {"do_sample": False, "num_beams": beams}
    ours, tokenizer, model = loaded
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    cached, plain = (model.generate(**batch, max_new_tokens=9, use_cache=uses, **options) for uses in (True, False))
    assert torch.equal(cached, plain)
    for row, text in enumerate(TEXTS):
        alone = model.generate(**tokenizer([text], return_tensors="pt"), max_new_tokens=9, **options)
        assert torch.equal(alone[0, -9:], cached[row, -9:])
    if beams == 1:
        tokens = torch.tensor([list(TEXTS[0].encode())])
        assert torch.equal(ours.generate(tokens, 9)[0, -9:], cached[0, -9:])


def test_a_cache_grows_with_the_text(loaded, monkeypatch):
    """With hardly any room for more tokens it is made anew again and again."""
    ours, tokenizer, model = loaded
    monkeypatch.setattr(sys.modules[type(model).__module__], "ROOM", -15)
    tokens = tokenizer(TEXTS[:1], return_tensors="pt")
    found = model.generate(**tokens, max_new_tokens=40, do_sample=False)
    assert torch.equal(found, ours.generate(tokens.input_ids, 40))


def test_samples_are_drawn_and_a_seed_repeats_them(loaded):
    _, tokenizer, model = loaded
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(model.generate(**batch, max_new_tokens=12))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_the_loss_is_the_cross_entropy_of_the_next_token_and_checkpoints_change_no_gradient(loaded):
    ours, tokenizer, model = loaded
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    gradients = []
    for checkpointed in (False, True):
        if checkpointed:
            model.activation_checkpointing_enable()
        model.train().zero_grad()
        output = model(**batch, labels=labels)
        output.loss.backward()
        gradients.append([param.grad.clone() for param in model.parameters() if param.requires_grad])
        assert output.past_key_values is None
    losses = [
        F.cross_entropy(ours(tokens[:, :-1])[0], tokens[0, 1:], reduction="sum")
        for tokens in (torch.tensor([list(text.encode())]) for text in TEXTS)
    ]
    count = sum(len(text) - 1 for text in TEXTS)
    torch.testing.assert_close(output.loss, sum(losses) / count, rtol=1e-5, atol=1e-5)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_saved_model_is_loaded_again_in_other_numbers_too(loaded, tmp_path):
    ours, tokenizer, model = loaded
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    batch = tokenizer(TEXTS[:1], return_tensors="pt")
    again, half = load(tmp_path / "saved")[1], load(tmp_path / "saved", dtype=torch.bfloat16)[1]
    assert torch.equal(again(**batch).logits, model(**batch).logits)
    assert half.dtype is torch.bfloat16 and half.generate(**batch, max_new_tokens=3).shape[1] == len(TEXTS[0]) + 3


def test_adapters_of_all_linear_maps_are_trained(loaded):
    from peft import LoraConfig, get_peft_model

    _, tokenizer, model = loaded
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW(adapted.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        loss = adapted(**batch, labels=batch.input_ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_bytes_are_the_tokens_of_a_model_of_bytes(loaded):
    _, tokenizer, _ = loaded
    for text in ("plain", "é\x00\n\t ", "日本", ""):
        assert tokenizer.encode(text) == list(text.encode())
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_tokenizer_of_byte_pairs_goes_along(tmp_path):
    made = train_tokenizer("bpe:262", ["one two three four five " * 20])
    spec, model = make(GENOMES["hybrid"])
    wide = replace(spec, dims=replace(spec.dims, vocab_size=320))
    tokenizer, loaded = load(export(wide, LanguageModel(wide), tmp_path / "m", made.file()))
    [expected] = made.encode(["two three"])
    assert tokenizer.encode("two three") == expected.tolist()
    assert tokenizer.eos_token_id == made.end == loaded.generation_config.eos_token_id


def test_the_folder_has_no_code_but_that_of_the_model(tmp_path):
    spec, model = make(GENOMES["recurrences"])
    folder = export(spec, model, tmp_path / "m")
    for name in ("modeling_star.py", "configuration_star.py"):
        tree = ast.parse((folder / name).read_text())
        imported = {
            alias.name.partition(".")[0] if isinstance(node, ast.Import) else (node.module or "").partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert imported <= {"torch", "transformers", "math", "collections", "contextlib", "dataclasses", "enum"} | {
            *("functools", "itertools", "typing", "configuration_star"),
        }
    config = json.loads((folder / "config.json").read_text())
    assert [one["operator"] for one in config["layers"]] == [slot.liv.name for slot in spec.slots]
    assert sum(one["params"] for one in config["layers"]) < sum(p.numel() for p in model.parameters())


def test_a_folder_without_weights_is_refused(refused, tmp_path):
    refused(["export", "lfm2-like", "--format", "hf", "--to", tmp_path / "m"], "give --weights random")
