"""Random genomes for property tests, and scales to build them at."""

from dataclasses import replace

from hypothesis import assume
from hypothesis import strategies as st

from star.architecture.codes import FeatureTokenMixing, Nonlinearity
from star.architecture.genome import Space, decode
from star.architecture.genome.operator import GENES_PER_GROUP, GENES_PER_OPERATOR, MAX_GROUPS
from star.architecture.genome.space import CLASS_ALPHABET
from star.architecture.spec import NORM_PLACES, NORMS, POSITIONS, BackboneConfig, OperatorOverrides
from star.architecture.structures import fit, rules_of
from star.architecture.structures.structure import COMMON
from star.errors import UserError

# The values of each integer of a class, also those that no search draws.
CLASS_VALUES = list(CLASS_ALPHABET)
CLASS_VALUES[3] = tuple(map(int, Nonlinearity))
CLASS_VALUES[GENES_PER_OPERATOR::GENES_PER_GROUP] = [tuple(map(int, FeatureTokenMixing))] * MAX_GROUPS


def genomes(min_slots: int = 1, max_slots: int = 8, deck: str = "shifted"):
    """Any backbone over a named deck, shrinking towards slots that are empty or of class 1 and share nothing."""

    def of_depth(num_slots: int):
        return st.tuples(*_backbone(Space(num_slots, deck)))

    return st.integers(min_slots, max_slots).flatmap(of_depth)


def three_level_genomes(min_slots: int = 1, max_slots: int = 8):
    """Any genome with a deck of its own, half as many classes as slots: uniform integers, repaired."""

    def of_depth(num_slots: int):
        space = Space(num_slots, "shifted", levels="all")
        classes = [st.sampled_from(one) for one in CLASS_VALUES] * space.num_classes
        return st.tuples(st.just(-space.num_classes), *classes, *_backbone(space)).map(space.repair)

    return st.integers(min_slots, max_slots).flatmap(of_depth)


def any_genomes(min_slots: int = 1, max_slots: int = 8):
    """Genomes of either kind."""
    return genomes(min_slots, max_slots) | three_level_genomes(min_slots, max_slots)


def _backbone(space: Space) -> list:
    low, high = space.bounds()
    return [st.integers(int(a), int(b)) for a, b in zip(low, high, strict=True)]


SIZES = {  # values of what a variant may say in numbers, words and yes or no; most go together
    "num_heads": (2, 4, 6),
    "num_kv_heads": (1, 2),
    "num_key_heads": (1, 2),
    "head_dim": (4, 8),
    "value_head_dim": (3, 6),
    "rope_head_dim": (2, 4),
    "window": (1, 5),
    "d_ff": (5, 24),
    "d_shared": (3, 12),
    "d_inner": (24, 48),
    "d_state": (2, 5),
    "num_groups": (1, 2),
    "rank": (1, 3),
    "latent_dim": (3, 12),
    "taps": (2, 5),
    "kept_taps": (7, 8),
    "num_experts": (4, 6),
    "experts_per_token": (1, 2),
    "norm_place": NORM_PLACES,
    "out_bias": (True,),
    "kernel_bias": (True,),
    "gate": (False, True),
    "gate_dim": (1, 2, 3),
    "qk_norm": ("head", "all"),
    "qk_norm_gain": (False,),
    "qk_norm_place": ("before rotation", "after rotation"),
    "inner_norm": (True,),
    "out_norm": (False, True),
    "norm_groups": (1, 2),
    "chained": (True,),
    "positions": ("rotary", "learned", "alibi", "none", "relative"),
    "rotary": (0.0, 0.5),
    "rope_theta": (50.0,),
    "score_scale": (0.2,),
    "score_cap": (0.5,),
    "sinks": (True,),
    "scoring": ("sigmoid", "softmax"),
    "routed_scale": (2.5,),
    "normalised": (False, True),
    "shared_gate": (True,),
    "selection_bias": (True,),
    "clip_limit": (0.0, 0.5),
    "swish_slope": (1.0,),
    "value_shift": (0.0,),
}


def styles():
    """Any way to build a model around its operators."""
    return st.builds(
        BackboneConfig,
        norm=st.sampled_from(NORMS),
        norm_gain=st.booleans(),
        norm_bias=st.booleans(),
        norm_eps=st.sampled_from((1e-6, 1e-5)),
        norm_place=st.sampled_from(NORM_PLACES),
        parallel=st.sampled_from(((1,), (2,), (1, 2), (3,))),
        shared_norm=st.booleans(),
        shift=st.sampled_from((0, 1, 2, 4, 7)),
        positions=st.sampled_from(POSITIONS),
        rotary=st.sampled_from((1.0, 0.5, 0.0)),
        rope_theta=st.sampled_from((10_000.0, 100.0)),
        tied=st.booleans(),
        head_bias=st.booleans(),
        embedding_norm=st.booleans(),
        final_norm=st.booleans(),
        embedding_scale=st.sampled_from((1.0, 4.0)),
        residual_scale=st.sampled_from((1.0, 0.5)),
        logit_scale=st.sampled_from((1.0, 0.25)),
        logit_cap=st.sampled_from((0.0, 2.0)),
    )


@st.composite
def variants(draw, liv, dims):
    """What a scale may say of an operator: some of what its structure knows, nothing if it does not fit."""
    known = sorted({*rules_of(liv).supported, *COMMON} & set(SIZES))
    names = draw(st.lists(st.sampled_from(known), max_size=5, unique=True))
    roles = "".join(draw(st.lists(st.sampled_from([group.role for group in liv.groups]), unique=True)))
    overrides = OperatorOverrides(
        bias=roles.replace("K", ""), **{name: draw(st.sampled_from(SIZES[name])) for name in names}
    )
    return overrides if fits(liv, replace(dims, operators=((liv.name, overrides),))) else OperatorOverrides()


@st.composite
def scaled_genomes(draw, dims, max_slots=3):
    """A genome, and `dims` with a style and variants of some of its operators that can be built."""
    genome = draw(any_genomes(max_slots=max_slots))
    dims = replace(dims, style=draw(styles()), heads=draw(st.sampled_from((0, 2, 4))))
    livs = {slot.liv.name: slot.liv for slot in decode(genome)}
    found = tuple((name, draw(variants(liv, dims))) for name, liv in livs.items() if draw(st.booleans()))
    dims = replace(dims, operators=found)
    assume(all(fits(liv, dims) for liv in livs.values()))
    return genome, dims


def fits(liv, dims):
    """Whether an operator can be built at a scale."""
    try:
        fitted = fit(liv, dims)
        rules_of(liv).check_fits(fitted, dims.of(fitted))
    except UserError:
        return False
    return True
