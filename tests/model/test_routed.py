"""Routed experts against their naive twin and two public implementations; who gets which token; how load is evened."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.fitting import fit
from support.naive import routed_naive
from torch import nn
from transformers import DeepseekV3Config, MixtralConfig
from transformers.models.deepseek_v3 import modeling_deepseek_v3
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock, load_balancing_loss_func

from star.architecture.codes import Nonlinearity
from star.architecture.genome import decode
from star.architecture.genome.operator import build_liv
from star.architecture.scales import BALANCES, Recipe
from star.architecture.spec import Dimensions, ModelSpec, OperatorOverrides, Slot
from star.architecture.structures import fit as fit_operator
from star.architecture.structures import specify
from star.cost.cost import price
from star.data.corpus import Corpus
from star.errors import UserError
from star.model.language_model import LanguageModel
from star.model.operators.featurizer import make_feature
from star.model.operators.routed import Routed, count_choices, find_balance_loss, route
from star.training.loss import measure
from star.training.optimizers import make_optimizers

pytestmark = pytest.mark.usefixtures("double_precision")

DIMS = Dimensions(d_model=16, head_dim=4, vocab_size=256, seq_len=32)
MOE, MOE_SHARED = 33, 34
RECIPE = Recipe(
    tokens=5 * 4 * 16, batch_size=4, seq_len=16, optimizer="muon", learning_rate=1e-2, matrix_learning_rate=1e-2
)
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}


def make_liv(experts=4, chosen=2, nonlinearity=Nonlinearity.SWISH, shared=False, **overrides):
    """A routed operator whose experts have width 2 d, beside one of width 8/3 d / 2."""
    roles = 1 if nonlinearity is Nonlinearity.SQUARED_RELU else 2
    rows = [*[(1, 2, 2, 1)] * roles, (1, 2, experts, chosen), *([(1, 2, 3, 2)] * roles if shared else [])]
    liv = build_liv("MoE-test", (1, 1, nonlinearity, 5 if shared else 4), rows)
    return (
        fit_operator(liv, replace(DIMS, operators=((liv.name, OperatorOverrides(**overrides)),))) if overrides else liv
    )


def make_mixer(liv):
    """The mixer with maps back and a bias that say something."""
    mixer = Routed(liv, DIMS)
    for tensor in (*mixer.parameters(), mixer.selection_bias):
        nn.init.normal_(tensor, std=0.3)
    return mixer


def make_features(liv, num_tokens, batch=2):
    """The features of a random input, by role, and the leaves that they are made of: first the input."""
    x = torch.randn(batch, num_tokens, DIMS.d_model, requires_grad=True)
    modules = {group.role: make_feature(group, DIMS, liv) for group in liv.groups}
    features = {role: module(x, None) for role, module in modules.items()}
    return features, [x, *(parameter for module in modules.values() for parameter in module.parameters())]


def run(mixer, features):
    """The mixer's output for features by role."""
    return mixer(**{role.lower(): feature for role, feature in features.items()})


def assert_same(one, other, tensors, atol=1e-10):
    """Equal values, and equal gradients of a projection with respect to every tensor."""
    torch.testing.assert_close(one, other, rtol=0, atol=atol)
    weight = torch.randn_like(one)
    gradients = [torch.autograd.grad((y * weight).sum(), tensors, retain_graph=True) for y in (one, other)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol * 20)


# What it computes


@pytest.mark.parametrize("num_tokens", [1, 2, 63, 64, 65])
@pytest.mark.parametrize("shared", [False, True])
def test_twins(shared, num_tokens):
    liv = make_liv(shared=shared)
    mixer = make_mixer(liv)
    features, tensors = make_features(liv, num_tokens)
    naive = routed_naive(mixer, *(features.get(role) for role in "CVRSU"))
    assert_same(run(mixer, features), naive, [*tensors, *mixer.parameters()])


@pytest.mark.parametrize("nonlinearity", [1, 3, 4, 5, 6])
@pytest.mark.parametrize("experts, chosen", [(2, 1), (8, 8), (16, 4)])
def test_twins_of_every_kind(nonlinearity, experts, chosen):
    liv = make_liv(experts, chosen, Nonlinearity(nonlinearity), shared=True)
    mixer = make_mixer(liv)
    features, tensors = make_features(liv, 20)
    naive = routed_naive(mixer, *(features.get(role) for role in "CVRSU"))
    assert_same(run(mixer, features), naive, [*tensors, *mixer.parameters()])


@pytest.mark.parametrize("scoring", ["sigmoid", "softmax"])
@pytest.mark.parametrize("normalised", [None, True, False])
@pytest.mark.parametrize("chosen", [1, 4])
def test_twins_of_gates(chosen, normalised, scoring):
    liv = make_liv(8, chosen, shared=True, scoring=scoring, normalised=normalised, routed_scale=2.5)
    mixer = make_mixer(liv)
    features, tensors = make_features(liv, 20)
    naive = routed_naive(mixer, *(features.get(role) for role in "CVRSU"))
    assert_same(run(mixer, features), naive, [*tensors, *mixer.parameters()])


VARIANTS = [
    {"d_ff": 5, "d_shared": 7, "num_experts": 6, "experts_per_token": 3},
    {"gate": False, "bias": "CR", "out_bias": True},
    {"bias": "CVRSU", "out_bias": True, "shared_gate": True},
]


@pytest.mark.parametrize("overrides", VARIANTS)
def test_twins_of_variants(overrides):
    liv = make_liv(shared=True, **overrides)
    mixer = make_mixer(liv)
    features, tensors = make_features(liv, 20)
    naive = routed_naive(mixer, *(features.get(role) for role in "CVRSU"))
    assert_same(run(mixer, features), naive, [*tensors, *mixer.parameters()])


def test_shared_features_come_with_the_input_they_were_made_from():
    """Feature sharing hands on a pair, so that C may be of one input and V of another."""
    liv = make_liv()
    mixer = make_mixer(liv)
    (earlier, tensors), (features, more) = make_features(liv, 9), make_features(liv, 9)
    mixed = features | {"C": earlier["C"]}
    used = [tensors[0], tensors[1], more[0], *more[2:]]
    naive = routed_naive(mixer, *(mixed.get(role) for role in "CVRSU"))
    assert_same(run(mixer, mixed), naive, [*used, *mixer.parameters()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("experts, chosen", [(4, 2), (16, 4)])
def test_is_deepseek_v3s(experts, chosen, dtype, monkeypatch):
    """Sigmoid affinities, a bias that chooses only, gates normalised over the chosen, and a shared expert."""
    if dtype is torch.float64:
        monkeypatch.setattr(modeling_deepseek_v3, "torch", Double())  # its router computes in single precision
    torch.set_default_dtype(dtype)
    liv = make_liv(experts, chosen, shared=True)
    width, width_shared = liv.group("C").width(DIMS), liv.group("S").width(DIMS)
    oracle = DeepseekV3MoE(
        DeepseekV3Config(
            hidden_size=DIMS.d_model,
            moe_intermediate_size=width,
            n_routed_experts=experts,
            num_experts_per_tok=chosen,
            n_group=1,
            topk_group=1,
            routed_scaling_factor=1.0,
            experts_implementation="eager",
        )
    )
    oracle.shared_experts = modeling_deepseek_v3.DeepseekV3MLP(oracle.config, width_shared)
    mixer = make_mixer(liv)
    features, tensors = make_features(liv, 50)
    x, c, v, r, s, u = tensors
    theirs = {
        "gate.weight": r,
        "experts.gate_up_proj": torch.cat((c, v), dim=1),
        "experts.down_proj": mixer.out.weight,
        "shared_experts.gate_proj.weight": s,
        "shared_experts.up_proj.weight": u,
        "shared_experts.down_proj.weight": mixer.shared_out.weight,
        "gate.e_score_correction_bias": mixer.selection_bias,
    }
    expected = torch.func.functional_call(oracle, theirs, (x,), strict=True)
    assert_same(run(mixer, features), expected, [*tensors, *mixer.parameters()], atol=TOLERANCE[dtype])


class Double:
    """The library with double precision wherever single is asked for."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("experts, chosen", [(4, 2), (16, 4)])
def test_computes_as_mixtral_does_if_routed_alike(experts, chosen, dtype, monkeypatch):
    """Mixtral's gates are a softmax, normalised over the chosen. Logits of those probabilities make them affinities."""
    if dtype is torch.float64:
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # its router computes in single precision
    torch.set_default_dtype(dtype)
    liv = make_liv(experts, chosen)
    config = MixtralConfig(
        hidden_size=DIMS.d_model,
        intermediate_size=liv.group("C").width(DIMS),
        num_local_experts=experts,
        num_experts_per_tok=chosen,
        experts_implementation="eager",
    )
    mixer = make_mixer(liv)
    nn.init.zeros_(mixer.selection_bias)
    features, tensors = make_features(liv, 50)
    x, c, v, r = tensors
    theirs = {
        "gate.weight": r,
        "experts.gate_up_proj": torch.cat((c, v), dim=1),
        "experts.down_proj": mixer.out.weight,
    }
    expected = torch.func.functional_call(MixtralSparseMoeBlock(config), theirs, (x,), strict=True)
    features["R"] = features["R"].softmax(dim=-1).logit()
    assert_same(run(mixer, features), expected, [*tensors, *mixer.parameters()], atol=TOLERANCE[dtype])


def test_half_precision_around_it():
    """The router's choice and the sum over experts are in the precision of the parameters."""
    torch.set_default_dtype(torch.float32)
    liv = make_liv(shared=True)
    mixer, x = make_mixer(liv), torch.randn(2, 30, DIMS.d_model)
    modules = {group.role: make_feature(group, DIMS, liv) for group in liv.groups}
    with torch.autocast("cpu", torch.bfloat16):
        y = run(mixer, {role: module(x, None) for role, module in modules.items()})
    y.sum().backward()
    assert y.dtype == torch.float32
    exact = run(mixer, {role: module(x, None) for role, module in modules.items()})
    torch.testing.assert_close(y, exact, rtol=0, atol=0.3)


# Who gets which token


@pytest.mark.parametrize("experts, chosen", [(2, 2), (8, 2), (32, 8)])
def test_every_token_gets_exactly_k_experts_whatever_the_load(experts, chosen):
    logits = torch.randn(100, experts) + torch.linspace(9, -9, experts)
    gates, found = route(logits, torch.randn(experts), chosen, "sigmoid", True)
    assert all(len(set(row)) == chosen for row in found.tolist())
    assert (gates > 0).all()
    torch.testing.assert_close(gates.sum(dim=1), torch.ones(100))
    assert count_choices(found, experts).sum() == 100 * chosen


def test_the_bias_chooses_and_does_not_weigh():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    gates, found = route(logits, torch.tensor([0.0, 0.0, 0.0, 9.0]), 2, "sigmoid", True)
    assert found.tolist() == [[3, 0]]
    affinities = logits.sigmoid()[0, [3, 0]]
    torch.testing.assert_close(gates[0], affinities / affinities.sum())


def test_gates_hold_where_affinities_underflow():
    logits = torch.tensor([[-1000.0, -1001.0, -2000.0]], requires_grad=True)
    gates, _ = route(logits, torch.tensor([2.0, 1.0, 0.0]), 2, "sigmoid", True)
    torch.testing.assert_close(gates, torch.tensor([[1.0, 0.0]]).softmax(dim=1))
    gates[0, 0].backward()
    assert logits.grad.isfinite().all()


def test_one_chosen_expert_still_teaches_the_router():
    """A gate normalised over one expert would be 1 whatever the router says."""
    liv = make_liv(chosen=1)
    mixer = make_mixer(liv)
    features, tensors = make_features(liv, 9)
    assert torch.autograd.grad(run(mixer, features).sum(), tensors[3])[0].any()


def test_an_expert_without_tokens_has_a_gradient_of_zero():
    liv = make_liv()
    mixer = make_mixer(liv)
    mixer.selection_bias[3] = -9
    features, tensors = make_features(liv, 9)
    weights = [mixer.out.weight, *tensors[1:3]]
    for gradient in torch.autograd.grad(run(mixer, features).sum(), weights):
        assert gradient[:3].any() and not gradient[3].any()


# Balance


def test_bias_evens_the_load_of_a_skewed_router():
    liv = make_liv(experts=8)
    mixer = make_mixer(liv)
    nn.init.zeros_(mixer.selection_bias)
    features, _ = make_features(liv, 250)
    excess = []
    for _ in range(400):
        features["R"] = torch.randn(2, 250, 8) + torch.linspace(-1, 1, 8)
        with torch.no_grad():
            run(mixer, features)
        assert mixer.load.sum() == 1000
        excess.append((mixer.load.max() * 8 / 1000).item())
        mixer.rebalance(1e-2)
        assert not mixer.load.any()
    assert np.mean(excess[:5]) > 1.6
    assert np.mean(excess[-50:]) < 1.2


def test_rebalancing_by_hand():
    mixer = Routed(make_liv(), DIMS)
    mixer.load += torch.tensor([5, 1, 3, 3])
    mixer.rebalance(0.25)
    assert mixer.selection_bias.tolist() == [-0.25, 0.25, 0.0, 0.0]


@pytest.mark.parametrize("chosen", [1, 2, 4])
def test_loss_of_a_uniform_router_is_one(chosen):
    logits = torch.zeros(60, 8)
    _, found = route(logits, torch.randn(8), chosen, "sigmoid", chosen > 1)
    assert find_balance_loss(logits, count_choices(found, 8), "sigmoid").item() == pytest.approx(1)


def test_loss_of_a_collapsed_router_is_the_number_of_experts():
    logits = torch.full((60, 8), -60.0).index_fill(1, torch.tensor([2]), 60.0)
    _, found = route(logits, torch.zeros(8), 1, "sigmoid", False)
    assert find_balance_loss(logits, count_choices(found, 8), "sigmoid").item() == pytest.approx(8)


@pytest.mark.parametrize("chosen", [1, 2, 4])
def test_loss_is_mixtrals(chosen):
    """Which is a softmax's, and counts each of a token's choices as one token's."""
    logits = torch.randn(60, 8)
    _, found = route(logits, torch.zeros(8), chosen, "sigmoid", chosen > 1)
    ours = find_balance_loss(logits, count_choices(found, 8), "sigmoid")
    theirs = load_balancing_loss_func((F.logsigmoid(logits),), 8, chosen)
    assert ours.item() == pytest.approx(theirs.item() / chosen, rel=1e-5)


def test_only_training_counts():
    liv = make_liv(shared=True)
    mixer = make_mixer(liv)
    features, _ = make_features(liv, 6)
    run(mixer, features)
    run(mixer, features)
    assert mixer.load.sum() == 2 * 12 * 2 and mixer.balance_loss.requires_grad
    mixer.eval()
    run(mixer, features)
    assert mixer.load.sum() == 2 * 12 * 2 and mixer.balance_loss is None
    assert "load" not in mixer.state_dict()


# Within a model


def build(class_id, sharing=(1, 1, 1, 1), num_slots=2):
    """A model whose maps back say something, and its slots."""
    slots = decode((class_id, *sharing) * num_slots)
    model = LanguageModel(ModelSpec(slots, DIMS))
    for name, parameter in model.named_parameters():
        if name.endswith("out.weight"):
            assert not parameter.any()
            nn.init.normal_(parameter, std=0.3)
    return model, slots


@pytest.mark.parametrize("sharing", [(1, 1, 1, 1), (1, 2, 1, 1), (1, 1, 1, 2), (1, 1, 1, 4), (1, 2, 1, 4)])
@pytest.mark.parametrize("class_id", [MOE, MOE_SHARED])
def test_parameters_are_as_priced(class_id, sharing):
    model, slots = build(class_id, sharing)
    assert sum(parameter.numel() for parameter in model.parameters()) == price(slots, DIMS).params


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("nonlinearity", [4, 6])
def test_parameters_of_other_genes_are_as_priced(nonlinearity, shared):
    liv = make_liv(16, 8, Nonlinearity(nonlinearity), shared)
    slots = tuple(Slot(-1, liv, (i,) * len(liv.groups), (i,) * len(liv.groups)) for i in range(2))
    model = LanguageModel(ModelSpec(slots, DIMS))
    assert sum(parameter.numel() for parameter in model.parameters()) == price(slots, DIMS).params


@pytest.mark.parametrize("sharing", [(1, 1, 1, 1), (1, 2, 1, 3)])
@pytest.mark.parametrize("class_id", [MOE, MOE_SHARED])
def test_decoding_equals_the_parallel_form_and_keeps_nothing(class_id, sharing):
    model, _ = build(class_id, sharing)
    tokens = torch.randint(0, 256, (2, 20))
    expected = model.eval()(tokens)
    for cuts in ([20], [1] * 20, [7, 1, 12]):
        cache = model.new_cache(20, 2)
        found = torch.cat([model(part, cache) for part in tokens.split(cuts, dim=1)], dim=1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
        assert cache.num_bytes == 0


def test_a_model_begins_as_the_identity_and_experts_wake():
    model = LanguageModel(ModelSpec(decode((MOE_SHARED, 1, 1, 1, 1)), DIMS))
    tokens = torch.randint(0, 256, (1, 9))
    x = model.final_norm(model.embedding(tokens))
    torch.testing.assert_close(model(tokens), x @ model.embedding.weight.T)
    for parameter in model.layers[0].mixer.parameters():
        nn.init.normal_(parameter)
    model(tokens).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.any(), name


# Training


def make_corpus():
    text = np.random.default_rng(0).integers(0, 256, 2000).astype(np.uint8)
    return Corpus("test", text[:1500], text[1500:], "")


def test_matrices_of_experts_are_matrices_and_the_bias_is_kept_without_an_optimizer():
    model, _ = build(MOE)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    adamw, muon = make_optimizers(model, RECIPE)
    orthogonal = {names.pop(id(parameter)) for group in muon.param_groups for parameter in group["params"]}
    rest = {names.pop(id(parameter)) for group in adamw.param_groups for parameter in group["params"]}
    suffixes = ("featurizer.C.weight", "featurizer.V.weight", "featurizer.R.channels.weight", "mixer.out.weight")
    assert orthogonal == {f"layers.{i}.{suffix}" for i in range(2) for suffix in suffixes}
    assert rest == {"embedding.weight", "norms.0.weight", "norms.1.weight", "final_norm.weight"}
    assert not names
    kept = set(model.state_dict()) - {name for name, _ in model.named_parameters()}
    assert kept == {"layers.0.mixer.selection_bias", "layers.1.mixer.selection_bias"}


def test_biases_move_once_a_step_by_the_load_of_that_step(monkeypatch):
    seen, rebalance = [], Routed.rebalance

    def note(module, rate):
        seen.append((module.load.sum().item(), rate))
        rebalance(module, rate)

    monkeypatch.setattr(Routed, "rebalance", note)
    model, _ = build(MOE)
    result = fit(model, make_corpus(), RECIPE, seed=0)
    assert seen == [(4 * 16 * 2, RECIPE.balance_rate)] * (5 * 2)
    for layer in model.layers:
        assert layer.mixer.selection_bias.any()
        assert not layer.mixer.load.any() and layer.mixer.balance_loss is None
    assert measure(model, make_corpus().valid, RECIPE) == result.quality_bpb


@pytest.mark.parametrize("balance", BALANCES)
def test_a_bias_that_is_counted_trains_like_one_that_is_not(balance):
    """Bit for bit; it has one number for each expert, and the weights are stored under the same names."""
    found = []
    for is_counted in (False, True):
        dims = replace(DIMS, operators=(("MoE", OperatorOverrides(selection_bias=is_counted)),))
        slots = decode((MOE, 1, 1, 1, 1) * 2)
        torch.manual_seed(0)
        model = LanguageModel(specify(slots, dims))
        assert price(slots, dims).params == sum(parameter.numel() for parameter in model.parameters())
        result = fit(model, make_corpus(), replace(RECIPE, balance=balance), seed=0)
        found.append((result.loss_curve, result.quality_bpb, price(slots, dims).params, model.weights()))
    (*plain, params, weights), (*counted, more, others) = found
    assert plain == counted and more == params + 2 * 4
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_the_auxiliary_loss_trains_the_router_and_is_not_in_the_curve():
    """While the maps back are zero nothing else moves a router; and at a rate of zero nothing moves the curve."""
    moved, curves = {}, {}
    for balance in BALANCES:
        recipe = replace(RECIPE, balance=balance, weight_decay=0.0, tokens=4 * 16, optimizer="adamw")
        torch.manual_seed(0)
        model = LanguageModel(ModelSpec(decode((MOE, 1, 1, 1, 1)), DIMS))
        curves[balance] = fit(model, make_corpus(), replace(recipe, learning_rate=0.0), seed=0).loss_curve
        before = model.layers[0].featurizer["R"].channels.weight.clone()
        fit(model, make_corpus(), recipe, seed=0)
        moved[balance] = not torch.equal(model.layers[0].featurizer["R"].channels.weight, before)
        assert model.layers[0].mixer.selection_bias.any() == (balance == "bias")
    assert moved == {"bias": False, "loss": True}
    assert curves["bias"] == curves["loss"]


def test_unknown_balance_names_the_nearest():
    with pytest.raises(UserError, match="unknown balance 'lose'; did you mean 'loss'?"):
        make_optimizers(build(MOE)[0], replace(RECIPE, balance="lose"))
