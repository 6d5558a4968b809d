"""What rebuilds a trained model, as the text that an exported file of weights carries."""

import json
from dataclasses import asdict, dataclass, replace

from star.architecture.catalogue import read_scale
from star.architecture.genome import genome_hash, parse
from star.architecture.scales import SCALES, Scale
from star.architecture.toml_table import read_record
from star.errors import UserError, located, nearest

KEY = "star"  # in the metadata of a file of weights
LONGEST = 1 << 23  # characters of a text that describes a model
MOST_CONTEXT = 10**7  # tokens
HASH = "hash"  # of the genome, beside it in the text
NAMES = "names"  # how names of weights begin in the project -> how in the file, where these differ


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """A model without its weights.

    Attributes:
        genome: its text.
        scale, scale_toml: the scale that it was trained at; the text of its file, empty for a named scale.
        window: of banded attention in tokens; 0 for that of the scale.
        vocab_size: of the model, which may be larger than that of the tokenizer.
        context: the tokens of a training sequence.
        tokenizer, tokenizer_digest: name and digest of the tokenizer.

    Raises:
        UserError: a size that no model has.
    """

    genome: str
    scale: str
    scale_toml: str
    window: int
    vocab_size: int
    context: int
    tokenizer: str
    tokenizer_digest: str

    def __post_init__(self) -> None:
        if not 1 <= self.context <= MOST_CONTEXT:
            raise UserError(f"context must lie between 1 and {MOST_CONTEXT:,}, not {self.context}")
        if self.window < 0:
            raise UserError(f"window must be 0 or more, not {self.window}")

    def to_json(self) -> str:
        """Return the text that `read_description` reads."""
        return json.dumps(asdict(self) | {HASH: genome_hash(parse(self.genome))})

    def read_scale(self) -> Scale:
        """Return the scale, with the vocabulary and the window of the model.

        Raises:
            UserError: an unknown scale, or a text that describes none.
        """
        if not self.scale_toml and self.scale not in SCALES:
            raise UserError(f"unknown scale {self.scale!r:.60}{nearest(self.scale, SCALES)}")
        scale = read_scale(self.scale_toml, self.scale) if self.scale_toml else SCALES[self.scale]
        window = self.window or scale.dims.window
        return replace(scale, dims=replace(scale.dims, vocab_size=self.vocab_size, window=window))


def read_names(text: str | None) -> dict[str, str]:
    """Return how the project names weights by how an exported file does, from the text of its description: beginnings
    of names, where they differ. A text without names, or another text, has none.
    """
    try:
        table = json.loads(text) if text and len(text) <= LONGEST else {}
    except (ValueError, RecursionError):
        table = {}
    names = table.get(NAMES) if isinstance(table, dict) else None
    if not isinstance(names, dict):
        return {}
    return {theirs: ours for ours, theirs in names.items() if isinstance(theirs, str)}


def renamed(name: str, names: dict[str, str]) -> str:
    """Return the name of a weight with its beginning replaced: the longest that `names` has, up to a dot or the end."""
    end = len(name)
    while end > 0:
        if name[:end] in names:
            return names[name[:end]] + name[end:]
        end = name.rfind(".", 0, end)
    return name


def read_description(text: str, place: str) -> ModelDescription:
    """Return the description in a text that `ModelDescription.to_json` wrote.

    Raises:
        UserError: it is another text, or one that does not agree with itself; `place` names where it is from.
    """
    with located(place):
        try:
            table = json.loads(text) if len(text) <= LONGEST else None
        except (ValueError, RecursionError):
            table = None
        if not isinstance(table, dict) or "genome" not in table:
            raise UserError("it does not describe a model")
        if "scale" not in table:
            raise UserError("it does not tell the sizes of its model, which an earlier version wrote: export it again")
        hash = table.pop(HASH, None)
        table.pop(NAMES, None)
        found = read_record(ModelDescription, table)
        if genome_hash(parse(found.genome)) != hash:
            raise UserError("the genome that it tells has another hash than the one beside it")
        return found
