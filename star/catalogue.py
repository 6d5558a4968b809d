"""Named architectures: the TOML files of genomes/. One holds a period of a backbone, its title and its source:

    title    = "Transformer++"
    citation = "Touvron et al. 2023, arXiv:2302.13971"
    genome   = "11111-91111"
    note     = "..."                # optional

A backbone of any depth repeats the period and cuts the end off.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from star.genome import GENES_PER_SLOT, canonical, join, parse, split
from star.records import Genome
from star.scales import nearest
from star.spec import UserError

_PACKAGE = Path(__file__).parent
_FOLDERS = (_PACKAGE / "_genomes", _PACKAGE.parent / "genomes")  # in a wheel; in a checkout
_KEYS = {"title": True, "citation": True, "genome": True, "note": False}  # key -> must be there


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedGenome:
    """An architecture with a name. `genome` is one period of it; `at` gives a backbone of a chosen depth."""

    name: str
    title: str
    citation: str
    genome: Genome
    note: str = ""

    def at(self, num_slots: int) -> Genome:
        """The period repeated to `num_slots` slots, in canonical form. Sharing groups keep their numbers, so
        slots that share within a period share with their copies too."""
        classes, period = split(self.genome)
        length = num_slots * GENES_PER_SLOT
        repeats = -(-length // len(period))
        return canonical(join(classes, (period * repeats)[:length]))


def names() -> list[str]:
    """The names in the catalogue, sorted."""
    return sorted(_files())


def load(name_or_path: str | Path) -> NamedGenome:
    """The genome of that name, or in that .toml file. UserError if there is none or the file is not one."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return _read(path)
    files = _files()
    if str(name_or_path) not in files:
        raise UserError(f"unknown genome {str(name_or_path)!r}{nearest(str(name_or_path), files)}")
    return _read(files[str(name_or_path)])


def resolve(text: str, num_slots: int) -> Genome:
    """The genome that a name, a .toml file or a genome text stands for. A name or a file takes `num_slots`
    slots; a text is taken as it is written."""
    if text[:1].isdigit() and not text.endswith(".toml"):
        return parse(text)
    return load(text).at(num_slots)


def _files() -> dict[str, Path]:
    folder = next(folder for folder in _FOLDERS if folder.is_dir())
    return {path.stem: path for path in folder.glob("*.toml")}


def _read(path: Path) -> NamedGenome:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the genome file {path}: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise UserError(f"{path} is not a TOML file: {error}") from error
    for key, value in table.items():
        if key not in _KEYS:
            raise UserError(f"{path}: unknown key {key!r}{nearest(key, _KEYS)}")
        if not isinstance(value, str):
            raise UserError(f"{path}: {key} must be text, not {value!r}")
    for key, required in _KEYS.items():
        if required and key not in table:
            raise UserError(f"{path}: the key {key!r} is missing")
    try:
        genome = parse(table["genome"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return NamedGenome(
        name=path.stem,
        title=table["title"],
        citation=table["citation"],
        genome=genome,
        note=table.get("note", ""),
    )
