"""Construction of a linear input-varying operator from its codes, and its differential variant.

    y = W mix(C(x), B(x), V(x), ...)

The featurizer makes the features, the token-mixing structure assembles them, W is the channel map back to the
residual stream.
C, B and V take the roles of query, key and value in attention.
"""

from typing import Any

from torch import nn

from star.architecture.codes import Nonlinearity, Structure
from star.architecture.spec import Dimensions, LivSpec
from star.model.operators.attention import Attention
from star.model.operators.cache import CacheTensor, OperatorCache, allocate
from star.model.operators.convolution import GatedConvolution
from star.model.operators.delta import DeltaRule
from star.model.operators.featurizer import make_feature
from star.model.operators.gated_linear_attention import GatedLinearAttention
from star.model.operators.gated_recurrence import GatedRecurrence
from star.model.operators.late_norm import LateNormAttention
from star.model.operators.latent_attention import LatentAttention
from star.model.operators.linear_attention import LinearAttention
from star.model.operators.memoryless import Memoryless, TunedMemoryless
from star.model.operators.recurrence import Recurrence
from star.model.operators.routed import Routed, TunedRouted
from star.model.operators.state_space import StateSpace
from star.model.ops.shapes import BTD

MIXERS = {  # of a structure; of a structure with a nonlinearity; of attention with norms of queries and keys
    Structure.MEMORYLESS: Memoryless,
    Structure.ROUTED: Routed,
    (Structure.MEMORYLESS, Nonlinearity.XIELU): TunedMemoryless,
    (Structure.MEMORYLESS, Nonlinearity.CLIPPED_SWISH): TunedMemoryless,
    (Structure.ROUTED, Nonlinearity.CLIPPED_SWISH): TunedRouted,
    Structure.ATTENTION: Attention,
    "after rotation": LateNormAttention,
    Structure.LATENT_ATTENTION: LatentAttention,
    Structure.CONVOLUTION: GatedConvolution,
    Structure.LINEAR_ATTENTION: LinearAttention,
    Structure.SELECTIVE_SCAN: Recurrence,
    Structure.STATE_SPACE: StateSpace,
    Structure.GATED_LINEAR: GatedLinearAttention,
    Structure.DELTA_RULE: DeltaRule,
    Structure.GATED_RECURRENCE: GatedRecurrence,
}


class Liv(nn.Module):
    """Linear input-varying operator.

    Args:
        liv: its codes.
        dims: its sizes.
        owners: per feature group, the operator whose weights make it (featurizer sharing), itself if None.
        reused: per feature group, whether the feature comes ready-new_features from an earlier slot (feature sharing).
    """

    def __init__(
        self, liv: LivSpec, dims: Dimensions, owners: tuple["Liv | None", ...], reused: tuple[bool, ...]
    ) -> None:
        super().__init__()
        dims = dims.of(liv)
        self.sources = {group.role: group.source for group in liv.groups if group.source}
        # A feature computed from another one comes after it.
        self.order = sorted((group.role for group in liv.groups), key=lambda role: role in self.sources)
        self.featurizer = nn.ModuleDict()
        new_features = {}
        for group, owner, ready in zip(liv.groups, owners, reused, strict=True):
            if owner and not ready:
                self.featurizer[group.role] = owner.featurizer[group.role]
            elif not ready:
                self.featurizer[group.role] = new_features[group.role] = make_feature(group, dims, liv)
        keys = (liv.structure, liv.nonlinearity), liv.overrides.qk_norm_place, liv.structure
        self.mixer = next(MIXERS[key] for key in keys if key in MIXERS)(liv, dims)
        self.mixer.start(new_features)
        self.out = self.mixer.make_out(dims, liv.overrides.out_bias)

    def forward(self, x: BTD, shared: dict[str, Any], cache: OperatorCache | None = None) -> tuple[BTD, dict[str, Any]]:
        """Return the output, and the features that later slots may reuse. `shared` holds the features that this
        operator reuses. With a cache, x continues the cached tokens.
        """
        features: dict[str, Any] = {}
        for role in self.order:
            features[role] = shared[role] if role in shared else self._make(role, x, features, cache)
        return self.out(self.mixer(**{role.lower(): one for role, one in features.items()}, cache=cache)), features

    def _make(self, role: str, x: BTD, features: dict[str, Any], cache: OperatorCache | None) -> Any:
        source = self.sources.get(role)
        feature = self.featurizer[role](features[source] if source else x, cache)
        return self.mixer.prepare(role, feature, cache.position if cache else 0)

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        """Return the cache tensors, by name, for decoding up to `context` tokens."""
        kept = self.mixer.cache_spec(context)
        for feature in self.featurizer.values():
            kept |= feature.cache_spec()
        return kept

    def new_cache(self, batch_size: int, context: int, owners: dict[str, OperatorCache]) -> OperatorCache:
        """Return an empty cache without the tensors that earlier slots store: `owners` has the
        caches of these slots.
        """
        shapes = {name: one.shape for name, one in self.cache_spec(context).items()}
        return allocate(shapes, batch_size, owners, next(self.parameters()))


class Differential(nn.Module):
    """Difference of two copies of an operator with weights of their own: y = a(x) - b(x)."""

    def __init__(
        self,
        liv: LivSpec,
        dims: Dimensions,
        owners: tuple["Differential | None", ...],
        reused: tuple[bool, ...],
    ) -> None:
        super().__init__()
        self.a = Liv(liv, dims, tuple(owner and owner.a for owner in owners), reused)
        self.b = Liv(liv, dims, tuple(owner and owner.b for owner in owners), reused)

    def forward(self, x: BTD, shared: dict[str, Any], cache: OperatorCache | None = None) -> tuple[BTD, dict[str, Any]]:
        """Return the output and the features of both copies; every shared feature is a pair."""
        first, second = cache.parts if cache else (None, None)
        y_a, features_a = self.a(x, {role: pair[0] for role, pair in shared.items()}, first)
        y_b, features_b = self.b(x, {role: pair[1] for role, pair in shared.items()}, second)
        return y_a - y_b, {role: (features_a[role], features_b[role]) for role in features_a}

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        """Return the cache tensors of each copy, by name."""
        return self.a.cache_spec(context)

    def new_cache(self, batch_size: int, context: int, owners: dict[str, OperatorCache]) -> OperatorCache:
        """Return an empty cache whose parts are those of the copies."""
        first, second = ({name: cache.parts[i] for name, cache in owners.items()} for i in (0, 1))
        parts = self.a.new_cache(batch_size, context, first), self.b.new_cache(batch_size, context, second)
        return OperatorCache({}, {}, parts)
