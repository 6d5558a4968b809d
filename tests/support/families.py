"""Whole models against `transformers`' own classes: the same weights, the same logits, token by token too."""

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PretrainedConfig

from star.architecture.genome import decode, parse
from star.architecture.spec import Dimensions, ModelSpec
from star.architecture.structures import specify
from star.export.single_file import ExportHeader, model_source, specialise
from star.families.config import Config
from star.families.facts import differing, model_facts, slot_facts
from star.families.table import FAMILIES
from star.model.language_model import LanguageModel

TOKENS = 19
PROMPT = 7


@contextmanager
def double() -> Iterator[None]:
    """Float64 for every module made inside."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def build(genome: str, dims: Dimensions) -> LanguageModel:
    """Our model in float64, every parameter drawn at random, norms' gains and biases included."""
    spec = specify(decode(parse(genome)), dims)
    with double():
        model = LanguageModel(spec).eval()
    model.spec = spec
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
            else:
                nn.init.normal_(parameter, mean=1.0, std=0.2)
    return model


def copy_weights(reference: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Give a reference model all of its weights; none may be missing, none left over."""
    known = reference.state_dict()
    assert set(state) == set(known), (sorted(set(state) - set(known)), sorted(set(known) - set(state)))
    for name, tensor in state.items():
        assert tensor.shape == known[name].shape, (name, tensor.shape, known[name].shape)
    reference.load_state_dict(state)


def family_state(model: LanguageModel, spec: ModelSpec, reference: nn.Module) -> dict[str, torch.Tensor]:
    """Our weights by the names of a reference, as its family links them; its configuration must say the same model."""
    family, config = FAMILIES[reference.config.model_type], Config(reference.config.to_dict())
    blueprint = family.read(config)
    other = blueprint.spec()
    assert differing(model_facts(spec), model_facts(other)) == []
    assert [differing(*pair) for pair in zip(slot_facts(spec), slot_facts(other), strict=True)] == [[]] * len(
        spec.slots
    )
    weights = {name: tensor.numpy() for name, tensor in model.weights().items()}
    links = family.links(blueprint, config, {name: one.shape for name, one in weights.items()})
    found = in_modules({name: torch.from_numpy(one.copy()) for name, one in links.export(weights).items()})
    for theirs in set(reference.state_dict()) - set(found):  # tied, or called otherwise in files
        other = {"lm_head.weight": "embed_out.weight"}.get(theirs, theirs.replace("model.", "backbone.", 1))
        found[theirs] = found.pop(other) if other in found else model.embedding.weight.detach()
    return found


def in_modules(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors by their names in files as modules have them: experts in one tensor, and some names otherwise."""
    found, experts = {}, {}
    for name, tensor in state.items():
        name = name.replace(".block_sparse_moe.", ".mlp.").replace(".mlp.moe_statics.", ".mlp.gate.moe_statics.")
        if one := re.fullmatch(r"(.*\.experts)\.(\d+)\.(gate|up|down|w1|w3|w2)(_proj)?\.weight", name):
            experts.setdefault(one[1], {}).setdefault(one[3], []).append(tensor)
        elif one := re.fullmatch(r"(.*linear_attn)\.([qkv])_conv1d\.weight", name):
            joined = f"{one[1]}.conv1d.weight"
            found[joined] = torch.cat((found[joined], tensor)) if joined in found else tensor
        else:
            found[name] = tensor
    for name, maps in experts.items():
        gate, up, down = (torch.stack(one) for one in maps.values())
        found |= {f"{name}.gate_up_proj": torch.cat((gate, up), dim=1), f"{name}.down_proj": down}
    return found


def of_family(kind: Callable[..., nn.Module], config: PretrainedConfig, model: LanguageModel) -> nn.Module:
    """A reference of one of our families with the weights of a model that `build` made."""
    with double():
        reference = kind(config).eval()
    copy_weights(reference, family_state(model, model.spec, reference))
    return reference


@torch.no_grad()
def check_exported(genome: str, dims: Dimensions, model: LanguageModel, folder: Path) -> str:
    """The exported file of a genome computes what its model does. Returns its text."""
    header = ExportHeader(genome=parse(genome), facts=(), context=12, dtype_bytes=2)
    spec = specify(decode(parse(genome)), dims)
    code = specialise(spec, header)
    text = model_source(spec, header, code)
    path = folder / "exported.py"
    path.write_text(text)
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    found.loader.exec_module(module)
    del sys.modules[path.stem]
    exported = module.LanguageModel().double()
    own = exported.weights()
    for name, tensor in model.weights().items():
        own[code.name(name)].copy_(tensor)
    tokens = torch.arange(12).reshape(2, 6)
    assert torch.equal(exported.eval()(tokens), model(tokens))
    return text


@torch.no_grad()
def check_logits(model: LanguageModel, reference: Any, tolerance: float = 1e-6, cached: bool = True) -> None:
    """Equal logits of whole sequences, and of a prompt continued one token at a time by both, each with its cache."""
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(0, model.embedding.num_embeddings, (2, TOKENS), generator=generator)
    expected = reference(input_ids=tokens, use_cache=False).logits
    assert model(tokens) == pytest.approx(expected, abs=tolerance, rel=tolerance)
    cache = model.new_cache(TOKENS, 2)
    steps = [model(tokens[:, :PROMPT], cache)] + [model(tokens[:, i : i + 1], cache) for i in range(PROMPT, TOKENS)]
    assert torch.cat(steps, dim=1) == pytest.approx(expected, abs=tolerance, rel=tolerance)
    if cached:
        assert _decode(reference, tokens) == pytest.approx(expected, abs=tolerance, rel=tolerance)


def _decode(reference: Callable[..., Any], tokens: torch.Tensor) -> torch.Tensor:
    out = reference(input_ids=tokens[:, :PROMPT], use_cache=True)
    found = [out.logits]
    for i in range(PROMPT, TOKENS):
        out = reference(input_ids=tokens[:, i : i + 1], past_key_values=out.past_key_values, use_cache=True)
        found.append(out.logits)
    return torch.cat(found, dim=1)
