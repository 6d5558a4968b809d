"""The command genes: what every integer of a genome means, of one class, or of all genomes."""

from typing import Annotated, Any

import typer

from star.architecture import catalogue
from star.architecture.catalogue import hint
from star.architecture.genome import (
    CLASSES,
    DECK,
    EMPTY,
    GENES,
    GENES_PER_SLOT,
    class_text,
    decode,
    genes_of,
    parse,
    split,
    to_text,
)
from star.architecture.genome.operator import CODES, describe_class, split_class
from star.architecture.spec import LivSpec, Slot
from star.architecture.structures import feature_equations, operator_equation, rules_of
from star.architecture.structures.structure import GENES as GROUP_GENES
from star.cli.console import print_json, say
from star.cli.find import find_member
from star.cli.genes import gene_table, genes_markdown
from star.cli.meanings import (
    COPIES,
    FEATURE_STRATEGIES,
    OPERATOR_GENOME,
    WEIGHT_STRATEGIES,
    feature_gene_meaning,
)
from star.cli.page import show_page
from star.errors import UserError
from star.records import Genome

NUMBER_DIGITS = 3  # a shorter number is that of a class


def genes(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="CLASS|GENOME",
            help="An operator class (SA-3, its number 3, or its codes 12123,1211,1214,1214), or a genome: a text, a "
            "name, a .toml file or RUN:ID. Without it, all genes are listed.",
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the list of all genes as Markdown: the page docs/genes.md.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON value; slots are counted from 1 in it.")] = False,
) -> None:
    """Explain the integers of a genome: of all genomes, of one operator class, or of one genome slot by slot."""
    if what is None:
        _list_all(markdown, json)
        return
    if markdown:
        raise UserError("--markdown prints the list of all genes: leave out the class or genome")
    found = _find_class(what)
    record = class_record(*found) if found else genome_record(_find_genome(what))
    if json:
        print_json(record)
    else:
        say(*(_class_lines(record) if found else _genome_lines(record)))


def class_record(number: int | None, liv: LivSpec) -> dict[str, Any]:
    """Explain an operator class as plain data."""
    genes = genes_of(liv)
    copies, codes, rows = split_class(genes)
    row = CLASSES[number] if number else None
    equations = feature_equations(liv)
    return {
        "class": number,
        "name": liv.name,
        "structure": liv.structure.value,
        "source": row.source if row else None,
        "operator_genome": list(row.codes) if row else None,
        "written_out": class_text(genes),
        "copies": {"code": copies, "meaning": COPIES[copies]},
        "codes": [
            {"gene": name, "code": code, "meaning": OPERATOR_GENOME[name][code]}
            for (name, _), code in zip(CODES, codes, strict=True)
        ],
        "equation": operator_equation(liv),
        "features": [
            {
                "group": group.role,
                "name": rules_of(liv).role_name(group.role),
                "equation": equations[group.role],
                "genes": [
                    {"gene": gene, "code": code, "meaning": feature_gene_meaning(gene, group.role, code)}
                    for gene, code in zip(GROUP_GENES, row, strict=True)
                ],
            }
            for group, row in zip(liv.groups, rows, strict=False)
        ],
        "shareable": _shareable(liv),
    }


def genome_record(genome: Genome) -> dict[str, Any]:
    """Explain a genome as plain data, slot by slot; slots count from 1, empty ones included."""
    classes, backbone = split(genome)
    words = [backbone[start : start + GENES_PER_SLOT] for start in range(0, len(backbone), GENES_PER_SLOT)]
    places = [place for place, word in enumerate(words, start=1) if word[0] != EMPTY]
    filled = dict(zip(places, decode(genome), strict=True))
    return {
        "genome": to_text(genome),
        "deck": [class_record(None, describe_class(one)) for one in classes],
        "slots": [_slot_record(place, word, filled.get(place), places) for place, word in enumerate(words, start=1)],
    }


def _list_all(markdown: bool, json: bool) -> None:
    if json:
        print_json(gene_table())
    elif markdown:
        print(genes_markdown(), end="")
    else:
        show_page(genes_markdown())


def _find_class(text: str) -> tuple[int | None, LivSpec] | None:
    """The number and the operator of a class that a person names; None if it is none."""
    numbers = {one.name: number for number, one in CLASSES.items()}
    number = numbers.get(text)
    if number is None and text not in catalogue.names():
        number = {name.lower(): one for name, one in numbers.items()}.get(text.lower())
    if text.isdecimal() and len(text) < NUMBER_DIGITS:
        if int(text) not in DECK:
            raise UserError(f"there is no class {text}: classes are 1 to {max(CLASSES)}, and 0 leaves a slot empty")
        number = int(text)
    if number is not None:
        return number, DECK[number]
    if "," in text and "/" not in text and catalogue.is_text(text):
        (slot,) = decode(parse(f"{text}/11111"))
        return (slot.class_id if slot.class_id > 0 else None), slot.liv
    return None


def _find_genome(text: str) -> Genome:
    """The genome as it is written: of a named architecture one period."""
    if member := find_member(text):
        return member.individual.genome
    if catalogue.is_text(text):
        return parse(text)
    if "." not in text and "/" not in text and text not in catalogue.names():
        known = [*catalogue.names(), *(one.name for one in CLASSES.values())]
        listed = "`star genes` lists the classes, `star genomes` the genomes"
        raise UserError(f"unknown class or genome {text[:60]!r}{hint(text, known, listed)}")
    return catalogue.load(text).genome


def _slot_record(place: int, word: Genome, slot: Slot | None, places: list[int]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "slot": place,
        "genes": [{"gene": gene.name, "value": value} for gene, value in zip(GENES, word, strict=True)],
        "name": slot.liv.name if slot else "empty",
        "structure": slot.liv.structure.value if slot else None,
        "named_features": [],
        "weights_from": {},
        "features_from": {},
    }
    if slot:
        first, *second = _shareable(slot.liv)
        record["named_features"] = {1: [], 2: [first], 3: second or [first], 4: [first, *second]}[word[4]]
        for group, owner, producer in zip(slot.liv.groups, slot.weights_from, slot.features_from, strict=True):
            if places[producer] != place:
                record["features_from"][group.role] = places[producer]
            elif places[owner] != place:
                record["weights_from"][group.role] = places[owner]
    return record


def _shareable(liv: LivSpec) -> list[str]:
    return [role for role in rules_of(liv).shareable if liv.has(role)]


def _class_lines(record: dict[str, Any]) -> list[str]:
    number = f"class {record['class']}, " if record["class"] else ""
    source = f"; {record['source']}" if record["source"] else ""
    lines = [f"{record['name']}: {number}{record['structure']}{source}", f"    {record['equation']}", ""]
    if record["operator_genome"]:
        lines.append(f"operator genome {_word(record['operator_genome'])}: featurizer class, then four codes")
        lines.append(f"    {record['operator_genome'][0]}  featurizer class: the feature groups below")
    else:
        lines.append("operator genome: four codes")
    lines += [f"    {one['code']}  {one['gene']}: {one['meaning']}" for one in record["codes"]]
    lines += ["", f"written out {record['written_out']}: copies and codes, then each feature group"]
    lines.append(f"    {record['copies']['code']}  copies: {record['copies']['meaning']}")
    for feature in record["features"]:
        word = _word([one["code"] for one in feature["genes"]])
        lines += ["", f"feature group {feature['group']}, {feature['name']}: {word}, which is {feature['equation']}"]
        lines += [f"    {one['code']}  {one['gene']}: {one['meaning']}" for one in feature["genes"]]
    shared = ", ".join(f"{i} {role}" for i, role in zip(("first", "second"), record["shareable"], strict=False))
    return [*lines, "", f"features that slots of this class can share: {shared}"]


def _genome_lines(record: dict[str, Any]) -> list[str]:
    lines = []
    for number, one in enumerate(record["deck"], start=1):
        lines += [f"class {number} of its own deck", *(f"    {line}".rstrip() for line in _class_lines(one)), ""]
    users = _users(record["slots"])
    for slot in record["slots"]:
        lines += _slot_lines(slot, users.get(slot["slot"], []))
    return lines


def _slot_lines(slot: dict[str, Any], users: list[str]) -> list[str]:
    values = [one["value"] for one in slot["genes"]]
    what = f"{slot['name']}, {slot['structure']}" if slot["structure"] else "nothing stands here"
    lines = [f"slot {slot['slot']}: {_word(values)}", f"    {values[0]}  class: {what}"]
    if not slot["structure"]:
        return lines
    named = f": {' and '.join(slot['named_features'])}" if slot["named_features"] else ""
    meanings = [
        "those slots of this class that name it may share weights",
        WEIGHT_STRATEGIES[values[2]],
        "those slots of this class that name it may share features",
        FEATURE_STRATEGIES[values[4]] + named,
    ]
    lines += [
        f"    {value}  {gene.name}: {meaning}"
        for value, gene, meaning in zip(values[1:], GENES[1:], meanings, strict=True)
    ]
    taken = [f"takes {_roles(roles)} from slot {other}" for other, roles in _by_slot(slot["features_from"]).items()]
    taken += [
        f"makes {_roles(roles)} with the weights of slot {other}"
        for other, roles in _by_slot(slot["weights_from"]).items()
    ]
    return [*lines, *(f"    -> {one}" for one in [*taken, *users] or ["shares nothing with any slot"])]


def _users(slots: list[dict[str, Any]]) -> dict[int, list[str]]:
    """For every slot that others use something of, a phrase for each of them."""
    found: dict[int, list[str]] = {}
    for slot in slots:
        for other, roles in _by_slot(slot["features_from"]).items():
            found.setdefault(other, []).append(f"gives {_roles(roles)} to slot {slot['slot']}")
        for other, roles in _by_slot(slot["weights_from"]).items():
            found.setdefault(other, []).append(f"lends the weights of {_roles(roles)} to slot {slot['slot']}")
    return found


def _by_slot(sources: dict[str, int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for role, other in sources.items():
        found.setdefault(other, []).append(role)
    return found


def _roles(roles: list[str]) -> str:
    return " and ".join([", ".join(roles[:-1]), roles[-1]] if len(roles) > 1 else roles)


def _word(values: list[int]) -> str:
    return ("." if max(values[1:]) > 9 or len(values) < GENES_PER_SLOT and max(values) > 9 else "").join(
        map(str, values)
    )
