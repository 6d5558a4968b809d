"""The configuration of an exported model. Its sizes are facts of the code beside it: changing them changes no model."""

from typing import Any

from transformers import PretrainedConfig


class StarConfig(PretrainedConfig):
    """The configuration of an exported model.

    Args:
        vocab_size: tokens that the model knows.
        hidden_size: width of the residual stream.
        num_hidden_layers: slots.
        max_position_embeddings: tokens of a training sequence.
        layers: of each slot its operator, parameters, bytes of cache, and the slots that it shares with.
    """

    model_type = "star"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self,
        vocab_size: int = 256,
        hidden_size: int = 1,
        num_hidden_layers: int = 0,
        num_attention_heads: int = 1,
        max_position_embeddings: int = 1,
        layers: list[dict[str, Any]] | None = None,
        use_cache: bool = True,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.layers = layers or []
        self.use_cache = use_cache
        super().__init__(**kwargs)
