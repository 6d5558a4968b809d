"""The overrides that a scale sets for one class of operators, beyond its genes."""

from dataclasses import dataclass, fields

from star.errors import UserError

LARGEST = 2**31 - 1  # of any size or factor
LARGEST_BASE = 10**15  # of rotary frequencies: published ones go to 1e11
NORM_PLACES = ("before", "after", "both")
POSITIONS = ("rotary", "learned", "relative", "alibi", "none")
QK_NORMS = ("head", "all")
QK_NORM_PLACES = ("before rotation", "after rotation")
SCORINGS = ("sigmoid", "softmax")

WORDS = {  # field -> the words that it may hold
    "norm_place": NORM_PLACES,
    "qk_norm": QK_NORMS,
    "qk_norm_place": QK_NORM_PLACES,
    "scoring": SCORINGS,
    "positions": POSITIONS,
}


def largest(name: str) -> int:
    """Return the highest value of a number of a BackboneConfig or a OperatorOverrides."""
    return LARGEST_BASE if name == "rope_theta" else LARGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorOverrides:
    """The sizes and details of one class of operators that a scale sets beyond its genes, which give sizes only in
    proportion. 0, None and empty texts leave a value to the genes. Each structure supports some of the fields.
    """

    num_heads: int = 0
    num_kv_heads: int = 0
    num_key_heads: int = 0  # of a delta rule, each of which serves num_heads / num_key_heads heads of values
    head_dim: int = 0  # of queries and keys; channels of a head of a recurrence
    value_head_dim: int = 0
    rope_head_dim: int = 0  # of latent attention: the part of a query that is rotated, and the one key
    window: int = 0
    d_ff: int = 0  # width of a memoryless unit, or of one expert
    d_shared: int = 0  # width of the experts that serve every token, together
    d_inner: int = 0  # channels of a recurrence or a convolution
    d_state: int = 0
    num_groups: int = 0  # of heads that B and C of a state space serve
    rank: int = 0  # of latent maps
    latent_dim: int = 0  # of the latent that keys and values are read from
    taps: int = 0  # of short kernels
    kept_taps: int = 0  # columns that decoding keeps of them
    num_experts: int = 0
    experts_per_token: int = 0
    norm_place: str = ""  # as BackboneConfig.norm_place, of slots of this class
    bias: str = ""  # roles of the features whose maps have one
    out_bias: bool = False
    kernel_bias: bool = False
    gate: bool | None = None  # memoryless: whether there is a V; attention: y sigmoid(Z), with Z beside C
    gate_dim: int = 0  # numbers of attention's gate for each head; as many as a head of values has channels if 0
    qk_norm: str = ""  # of queries and keys: each "head" or "all" of them
    qk_norm_gain: bool = True
    qk_norm_place: str = ""  # "before rotation" if empty, or "after rotation"
    inner_norm: bool = False  # of what passes through a latent map, and of B and C of a selective scan
    out_norm: bool | None = None  # before the map back; None: in a state space that has an output gate alone
    norm_groups: int = 0  # groups of channels that it normalises apart
    chained: bool = False  # rates and gates of a recurrence are made from V, not from the input
    positions: str = ""  # as BackboneConfig.positions, of this operator
    rotary: float | None = None
    rope_theta: float = 0.0
    score_scale: float = 0.0  # of queries with keys; 1 / sqrt(head_dim) if 0
    score_cap: float = 0.0  # scaled products of queries and keys become cap tanh(product / cap); 0: they stay
    sinks: bool = False  # a learned logit of each head, which takes part in the softmax and has no value
    scoring: str = ""  # of experts: "sigmoid" if empty, normalised over those chosen; or "softmax" of all
    routed_scale: float = 1.0
    normalised: bool | None = None  # whether gates of the chosen experts sum to 1
    shared_gate: bool = False  # sigmoid of the input before what the shared experts add
    selection_bias: bool = False  # the bias that chooses experts counts as parameters
    clip_limit: float = 7.0  # of a clipped swish: the most that the gate may be, and V either way; 0: no limit
    swish_slope: float = 1.702  # of a clipped swish: c sigmoid(slope c)
    value_shift: float = 1.0  # of a clipped swish: added to V

    def __post_init__(self) -> None:
        for name, words in WORDS.items():
            if (word := getattr(self, name)) and word not in words:
                raise UserError(f"{name} must be one of {', '.join(words)}, not {word!r}")
        for field in fields(self):
            value, most = getattr(self, field.name), largest(field.name)
            if field.type in (int, float) and not 0 <= value <= most:
                raise UserError(f"{field.name} must be a number from 0 to {most:,}, not {value}")
        if self.rotary is not None and not 0 <= self.rotary <= 1:
            raise UserError(f"rotary must lie between 0 and 1, not {self.rotary}")
