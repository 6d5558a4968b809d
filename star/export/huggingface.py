"""A model as a folder that transformers loads with `trust_remote_code`: code, configuration, weights and tokenizer."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from star.architecture.spec import ModelSpec
from star.cost.cost import itemise
from star.data.fast_tokenizer import FILE as TOKENIZER
from star.data.fast_tokenizer import fast_tokenizer
from star.export.single_file import ExportHeader, describe_model
from star.export.specialise.assemble import TRANSFORMERS, specialise_model
from star.export.specialise.layout import escape
from star.records import Arrays
from star.storage.files import write_atomic
from star.storage.places import WEIGHTS_FILE

SOURCES = Path(__file__).parent / "hf"
CONFIGURATION, MODELING = "configuration_star.py", "modeling_star.py"
CLASSES = {
    "AutoConfig": "configuration_star.StarConfig",
    "AutoModelForCausalLM": "modeling_star.StarForCausalLM",
}
PREFIX = "model."  # of the names of weights
TEMPERATURE, NEW_TOKENS = 0.8, 128  # of generation, unless it is told otherwise
CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [star]
---

# A language model synthesised by star

```
{head}
```

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".", trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained(".", trust_remote_code=True)
inputs = tokenizer(["{prompt}"], return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs)[0]))
```

`modeling_star.py` is the code that was trained. Texts of different lengths are padded on the left.
"""


def export_huggingface(spec: ModelSpec, weights: Arrays, header: ExportHeader, out: Path) -> None:
    """Write the folder of a model.

    Raises:
        UserError: its tokenizer has no fast form, or a file cannot be written.
    """
    tokenizer = fast_tokenizer(header.tokenizer)
    ends = {f"{name}_id": number for name, (_, number) in tokenizer.special.items()}
    head = describe_model(spec, header)
    code = specialise_model(spec, TRANSFORMERS)
    modeling = f'"""{escape(head)}\n"""\n\n{code.text}'
    # transformers keeps one model class for each class of configuration: equal files would be taken for one class.
    configuration = (SOURCES / CONFIGURATION).read_text(encoding="utf-8")
    configuration += (
        f"\n\n# of {MODELING} with sha256 {sha256(modeling.encode(errors='backslashreplace')).hexdigest()}\n"
    )
    texts = {
        CONFIGURATION: configuration,
        MODELING: modeling,
        "config.json": _json(make_config(spec, header) | ends),
        "generation_config.json": _json(
            {"do_sample": True, "temperature": TEMPERATURE, "max_new_tokens": NEW_TOKENS} | ends
        ),
        TOKENIZER: tokenizer.text,
        "tokenizer_config.json": _json(
            {"tokenizer_class": "PreTrainedTokenizerFast", "padding_side": "left"}
            | {name: token for name, (token, _) in tokenizer.special.items()}
        ),
        "README.md": CARD.format(head=head.replace("```", "'''"), prompt="In the beginning"),
    }
    for name, text in texts.items():
        write_atomic(out / name, text.encode(errors="backslashreplace"))
    named = {f"{PREFIX}{code.name(name)}": one for name, one in weights.items()}
    write_atomic(out / WEIGHTS_FILE, save(named, {"format": "pt"}))


def make_config(spec: ModelSpec, header: ExportHeader) -> dict[str, Any]:
    """Return the configuration of a model: sizes, and of each slot its operator and what it costs and shares."""
    dims = spec.dims
    return {
        "architectures": ["StarForCausalLM"],
        "auto_map": CLASSES,
        "model_type": "star",
        "vocab_size": dims.vocab_size,
        "hidden_size": dims.d_model,
        "num_hidden_layers": len(spec.slots),
        "num_attention_heads": dims.num_heads,
        "max_position_embeddings": dims.seq_len,
        "tie_word_embeddings": dims.style.tied,
        "dtype": "float32",
        "layers": [
            {
                "operator": one.name,
                "params": one.params,
                "cache_bytes": one.cache_bytes,
                "shares_with": [slot + 1 for slot in one.shares_with],
            }
            for one in itemise(spec.slots, dims, header.context, header.dtype_bytes)
        ],
    }


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2) + "\n"
