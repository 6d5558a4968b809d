"""What a configuration leaves out has the value that `transformers`' class gives it."""

import json
import re

import pytest
from support.checkpoints import CASES, IDS, SIZES
from transformers import AutoConfig

from star.errors import UserError
from star.families.config import Config
from star.families.facts import differing, model_facts, slot_facts
from star.families.table import FAMILIES

NEEDED = (
    "num_key_value_heads",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)
LEFT_OUT = ("tie_word_embeddings", "rope_theta", "hidden_act", "norm_topk_prob", "rope_interleave", "swiglu_limit")
LEFT_OUT += ("sliding_window", "logits_scaling", "residual_multiplier", "use_parallel_residual")
LEFT_OUT += ("q_lora_rank", "first_k_dense_replace", "time_step_rank", "mamba_dt_rank", "mamba_d_state", "expand")
OWN = {"gemma2": "gelu", "gemma3_text": "gelu", "recurrent_gemma": "gelu"}


@pytest.mark.parametrize("has_heads", [False, True])
@pytest.mark.parametrize(("name", "more"), CASES, ids=IDS)
def test_defaults(name, more, has_heads):
    """Of the keys that say more than sizes. What is left out may be missed; a default that is refused is refused where
    it is written out, too.
    """
    values = {key: SIZES[key] for key in NEEDED} | {"model_type": name} | more
    values = {key: value for key, value in values.items() if key not in LEFT_OUT}
    if not has_heads:
        values.pop("num_key_value_heads", None)
    if name in OWN:
        values["hidden_activation"] = OWN[name]
    if name == "gpt2":  # where it is another name of n_layer
        del values["num_hidden_layers"]
    full = json.loads(json.dumps(AutoConfig.for_model(**values).to_dict()))
    found = [outcome(FAMILIES[name], one) for one in (values, full)]
    if isinstance(found[0], str):
        assert found[0] == found[1] or re.fullmatch(r"the key '\w+' is missing", found[0])
        return
    assert differing(model_facts(found[0]), model_facts(found[1])) == []
    pairs = zip(slot_facts(found[0]), slot_facts(found[1]), strict=True)
    assert [differing(*pair) for pair in pairs] == [[]] * len(found[0].slots)


def outcome(family, values):
    """The model of a configuration, or why there is none."""
    try:
        return family.read(Config(values)).spec()
    except UserError as error:
        return str(error)
