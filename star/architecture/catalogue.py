"""Named architectures, read from the TOML files of genomes/. A file holds one period of a backbone, its title and its
source. That of a published model also holds the sizes it was built at and the figures that are known of it:

    title    = "Llama-3 8B"         # required in genomes/ alone, as is the citation
    citation = "Grattafiori et al. 2024, arXiv:2407.21783"
    genome   = "31111-91111"
    note     = "..."                # optional

    [scale]                         # optional: slots, and the sizes of architecture.spec.Dimensions
    slots = 64
    d_model = 4096
    head_dim = 128
    vocab_size = 128256
    seq_len = 8192

    [style]                         # optional: architecture.spec.BackboneConfig
    tied = false

    [operators.GMemless]            # optional, by class or its number in an own deck: overrides.OperatorOverrides
    d_ff = 14336

    [recipe]                        # optional: how a proxy of these sizes is trained; see architecture.scales.Recipe
    tokens = 100000

    [published]                     # optional: figures to check a price against
    params = 8030261248

The slots of a file are a multiple of its period. At the depth of another scale the period is repeated, or a
backbone cut. docs/guides/add-model.md describes a model step by step.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from star.architecture.genome import DECK, GENES_PER_SLOT, decode, join, parse, split, tile
from star.architecture.scales import SCALES, Recipe, Scale
from star.architecture.spec import MOST_SLOTS, BackboneConfig, Dimensions, LivSpec, OperatorOverrides
from star.architecture.structures import check_overrides, check_size
from star.architecture.toml_table import check_key, parse_table, read_record
from star.errors import UserError, located
from star.records import Genome

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE / "_genomes", _PACKAGE.parent / "genomes")  # in a wheel; in a checkout
_TEXTS = ("title", "citation", "genome", "note")
_TABLES = ("scale", "style", "operators", "recipe", "published")
_FIGURES = ("params", "active_params", "embedding_params", "cache_bytes_4096", "cache_bytes_131072")
_SIZES = ("slots", "d_model", "num_heads", "head_dim", "vocab_size", "seq_len", "window")
_OPTIONAL = ("num_heads", "head_dim", "window")
_MEANT = ("rotary", "score_cap")  # of a class, where 0 is a value: no channel is rotated, nothing is capped


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedGenome:
    """An architecture with a name. `genome` is one period of it; `at` gives a backbone of a chosen depth. `scale` are
    the sizes it was published at and `published` figures that are known of it."""

    name: str
    title: str
    citation: str
    genome: Genome
    note: str = ""
    scale: Scale | None = None
    published: Mapping[str, int] = field(default_factory=dict)

    @property
    def period(self) -> int:
        """The number of slots of one period, empty ones included."""
        return len(split(self.genome)[1]) // GENES_PER_SLOT

    def at(self, num_slots: int) -> Genome:
        """Return the period repeated to `num_slots` slots, in canonical form. Each copy shares only within itself."""
        return tile(self.genome, num_slots)


def names() -> list[str]:
    """Return the names in the catalogue, sorted."""
    return sorted(_files())


def load(name_or_path: str | Path) -> NamedGenome:
    """Return the named architecture of the catalogue, or that of a .toml file; UserError if none can be read."""
    return _parse(_find(name_or_path))


def resolve(text: str, num_slots: int) -> Genome:
    """Return the genome that a name, a .toml file or a genome text stands for. The period of a name or a file is
    repeated to `num_slots` slots; a text is read as it is written.
    """
    return parse(text) if is_text(text) else load(text).at(num_slots)


def is_text(text: str) -> bool:
    """Return whether a text is a genome written out, rather than a name or the path of a file."""
    return (text[:1].isdigit() or text[:1] == "(") and not text.endswith(".toml")


def find_scale(name_or_path: str | Path) -> Scale:
    """Return the named scale, or that of a named architecture or a .toml file, which then needs no genome."""
    name = str(name_or_path)
    return SCALES[name] if name in SCALES else read_scale(scale_text(name), name)


def scale_text(name: str) -> str:
    """Return the TOML text with the sizes of a named architecture or a .toml file. Raise UserError if a size is 0."""
    text = _text(_find(name, "scale"))
    table = _table(text, name)
    with located(name):
        _refuse_zeros(table)
    return text


def read_scale(text: str, name: str) -> Scale:
    """Return the scale of a TOML text; `name` is the name of the architecture or the file."""
    table = _table(text, name)
    with located(name):
        scale = _read_scale(name, table, parse(table["genome"]) if "genome" in table else None)
    if scale is None:
        raise UserError(f"{name} has no table [scale], so that no sizes are known of it")
    return scale


def _files() -> dict[str, Path]:
    folder = next(folder for folder in _FOLDERS if folder.is_dir())
    return {path.stem: path for path in folder.rglob("*.toml")}


def _find(name_or_path: str | Path, kind: str = "genome") -> Path:
    name, path, files = str(name_or_path), Path(name_or_path), _files()
    if path.suffix == ".toml":
        return path
    if name in files:
        return files[name]
    if os.path.isdir(name):
        raise UserError(f"{name} is a directory, and not a {kind}")
    if os.path.exists(name):
        raise UserError(f"{name} is not a genome file: the name of one ends in .toml")
    known = [*files, *(SCALES if kind == "scale" else ())]
    others = f"those with a recipe are {', '.join(SCALES)}, and `star genomes` lists more"
    raise UserError(
        f"unknown {kind} {name!r:.200}{hint(name, known, others if kind == 'scale' else '`star genomes` lists them')}"
    )


def hint(word: str, known: Collection[str], otherwise: str) -> str:
    """Return a hint at the nearest known word, else the text `otherwise`; unlike `nearest`, do not list all words."""
    spelled = {one.lower(): one for one in known}
    close = get_close_matches(word.lower(), sorted(spelled), n=1)
    return f"; did you mean {spelled[close[0]]!r}?" if close else f"; {otherwise}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read the genome file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text in UTF-8: {error}") from error
    except ValueError as error:  # a null byte
        raise UserError(f"cannot read the genome file {str(path)!r}: {error}") from error


def _table(text: str, where: str) -> dict[str, Any]:
    table = parse_table(text, where, has_small_numbers=True)
    with located(where):
        for key, value in table.items():
            check_key(key, (*_TEXTS, *_TABLES))
            kind, wanted = ("text", str) if key in _TEXTS else ("a table", dict)
            if not isinstance(value, wanted):
                raise UserError(f"{key} must be {kind}, not {value!r:.60}")
    return table


def _parse(path: Path) -> NamedGenome:
    where = str(path)
    table = _table(_text(path), where)
    with located(where):
        if "genome" not in table:
            raise UserError("the key 'genome' is missing")
        _refuse_zeros(table)
        genome = parse(table["genome"])
        named = NamedGenome(
            name=path.stem,
            title=table.get("title", path.stem),
            citation=table.get("citation", ""),
            genome=genome,
            note=table.get("note", ""),
            scale=_read_scale(where, table, genome),
            published=_read_figures(table.get("published", {})),
        )
        if named.scale and named.scale.num_slots % named.period:
            raise UserError(
                f"slots of [scale] is {named.scale.num_slots}, which is no multiple of the {named.period} slots of its "
                "genome; change one of the two, or write the whole backbone as the genome"
            )
    return named


def _refuse_zeros(table: dict[str, Any]) -> None:
    """Raise UserError if a file gives a size as 0, which would be taken for one that is left out."""
    sizes = table.get("scale", {})
    tables = {"scale": {key: sizes[key] for key in _OPTIONAL if key in sizes}}
    tables |= {f"operators.{name}": one for name, one in table.get("operators", {}).items() if isinstance(one, dict)}
    for name, values in tables.items():
        for key, value in values.items():
            if type(value) in (int, float) and value == 0 and key not in _MEANT:
                raise UserError(f"{key} of [{name:.60}] must be positive, not 0; leave it out for its default")


def _read_figures(table: dict[str, Any]) -> Mapping[str, int]:
    for key, value in table.items():
        check_key(key, _FIGURES, " in [published]")
        if type(value) is not int:
            raise UserError(f"{key} of [published] must be a whole number, not {value!r:.60}")
    return table


def _read_scale(where: str, table: dict[str, Any], genome: Genome | None) -> Scale | None:
    if "scale" not in table:
        for key in ("style", "operators", "recipe", "published"):
            if key in table:
                raise UserError(f"[{key}] has no meaning without a table [scale]")
        return None
    sizes = dict(table["scale"])
    for key, value in sizes.items():
        check_key(key, _SIZES, " in [scale]")
        if type(value) is not int:
            raise UserError(f"{key} of [scale] must be a whole number, not {value!r:.60}")
    for key in _SIZES:
        if key not in sizes and key not in _OPTIONAL:
            raise UserError(f"the key {key!r} is missing from [scale]")
    if not 1 <= sizes["slots"] <= MOST_SLOTS:
        raise UserError(f"slots of [scale] must lie between 1 and {MOST_SLOTS:,}, not {sizes['slots']}")
    num_slots, dims = sizes.pop("slots"), _read_dims(sizes)
    style = read_record(BackboneConfig, table.get("style", {}), " in [style]")
    operators = _read_operators(table.get("operators", {}), genome)
    dims = replace(dims, style=style, operators=tuple((liv.name, overrides) for liv, overrides in operators))
    for liv in [slot.liv for slot in decode(genome)] if genome else [liv for liv, _ in operators]:
        check_size(liv, dims)
    recipe = read_record(Recipe, table["recipe"], " in [recipe]") if "recipe" in table else None
    name = Path(where).stem if where.endswith(".toml") else where
    return Scale(name=name, num_slots=num_slots, dims=dims, recipe=recipe)


def _read_dims(sizes: dict[str, int]) -> Dimensions:
    heads = sizes.pop("num_heads", 0)
    if "head_dim" not in sizes:
        if not heads:
            raise UserError("[scale] needs head_dim, num_heads or both")
        if heads < 1 or sizes["d_model"] % heads:
            raise UserError(f"num_heads {heads} does not divide d_model {sizes['d_model']}; give head_dim too")
        sizes["head_dim"] = sizes["d_model"] // heads
    if (window := sizes.get("window", 0)) < 0:
        raise UserError(f"window of [scale] must be a positive integer, not {window}")
    sizes["window"] = min(window, sizes["seq_len"])  # a longer one looks at all of the context
    return Dimensions(**sizes, heads=heads)


def _read_operators(table: dict[str, Any], genome: Genome | None) -> list[tuple[LivSpec, OperatorOverrides]]:
    """Return the overrides of a table, each with its class: a class of the genome, or of the deck without a genome."""
    livs = {liv.name: liv for liv in ([slot.liv for slot in decode(genome)] if genome else DECK.values())}
    deck = split(genome)[0] if genome else ()
    named = [decode(join(deck, (i, 1, 1, 1, 1)))[0].liv.name for i, _ in enumerate(deck, start=1)]
    numbers = {str(i): name for i, name in enumerate(named, start=1) if name in livs}
    found: dict[str, tuple[LivSpec, OperatorOverrides]] = {}
    for key, one in table.items():
        name, place = numbers.get(key, key), f"[operators.{key}]"
        if name not in livs:
            known = f"choose from {', '.join([*livs, *numbers])}" if genome else "`star genes` lists the classes"
            raise UserError(f"unknown key {key!r:.60} in [operators]{hint(key, livs, known)}")
        if name in found:
            raise UserError(f"{place} is of {name}, of which another table is")
        if not isinstance(one, dict):
            raise UserError(f"{place} must be a table, not {one!r:.60}")
        found[name] = livs[name], read_record(OperatorOverrides, one, f" in {place}")
        try:
            check_overrides(*found[name])
        except UserError as error:
            raise UserError(f"{place}: {error}") from error
    return list(found.values())
