"""The table of genes, made from the tables that decoding itself uses; docs/genes.md is its output."""

from collections.abc import Mapping
from typing import Any

from star.architecture.genome import CLASSES, DECK, DECKS, FEATURIZERS, GENES, class_text, genes_of
from star.architecture.genome.operator import GENES_PER_CLASS, MAX_GROUPS, UNUSED, describe_class, repair_class
from star.architecture.spec import LivSpec
from star.architecture.structures import MEANINGS, Codes, StructureRules, operator_equation
from star.architecture.structures.structure import GENES as GROUP_GENES
from star.architecture.structures.structure import ROLES
from star.cli.meanings import COPIES, FEATURIZER_GENOME, OPERATOR_GENOME

HEAD = """\
# Genes

This page is the output of `star genes --markdown`; a test keeps the two equal.

A genome has three levels. The backbone says which operator stands in which slot and what slots share; operator and
featurizer genomes say what an operator is. Usually the backbone names operators by their number in the deck below. A
genome may also carry a deck of its own, and then all three levels evolve.

## Text form

A slot is a word of its five digits and words are joined by hyphens: `21211-31112-21221-32112` has four slots. Classes
above 9 make the word longer (`142111` is class 14); a slot with another gene above 9 is written with dots
(`14.10.2.1.1`). Class 0 leaves the slot empty. Group numbers count within a class: two slots share only if they are of
the same class, name the same group, and follow a strategy that shares. The shallowest member of a group computes, the
deeper ones reuse. Genes without effect are 1 in canonical form, empty slots are left out, and two genomes with one
canonical form are trained once.

A deck of its own stands before the backbone and a slash, its classes joined by plus signs:
`12123,1211,1214,1214+11142,1231,1231/11111-21111` is grouped-query attention and SwiGLU. A class is a word of five
digits, the copies (1, or 2 if it is differential) and the four codes of the operator genome, and a word of four genes
for each of its feature groups, all joined by commas; a word with a number above 9 is written with dots (`7.2.16.0`).
The slots then count the classes of this deck, from 1. As integers, such a genome begins with minus the number of its
classes; each takes {length}, those of feature groups that it does not have being 1. In canonical form unused classes
are left out, the others are ordered by first use, and a deck all of whose classes are in the table below disappears.

Slots that repeat may be typed in parentheses after a count, `3*(11111-91111)-71111`, also within such parentheses.
`star genes SA-3` explains one class, `star genes 21211-31112-21221-32112` one genome, integer by integer.

## What is no gene

Sizes are not genes: a scale gives them, and with them whatever else distinguishes published models of one kind, such
as biases, the place of norms, or heads that do not fill the width. [guides/add-model.md](guides/add-model.md) lists
what a scale can say, and which published models it cannot.
"""

CLASS_TABLE = """\
## Deck: the numbered operator classes

The operator genome is featurizer class, token mixing, sparsity, nonlinearity, channel mixing. "Written out" is the same
class in a deck of a genome's own, where the first digit counts copies: `22123` is SA-2 as an operator genome, and
differential attention written out. A differential class is y = a(x) - b(x), two copies of the operator with weights of
their own; its number is in the last column but one. The deck `paper` holds 1 to 17, the deck `extended` 0 to 51, the
deck `shifted` all of them and 0.
"""

FEATURIZER_TABLE = """\
## Featurizer genome: four integers a feature group

Token mixing, channel mixing, expansion, repeat; d is d_model. Features are in the order of the feature groups of the
structure (see below).
"""

STRUCTURES = """\
## Structures

The four codes token mixing, sparsity, nonlinearity, channel mixing, read together, name a structure. These are all
combinations that mean something; any other is repaired to the nearest one: of the same token mixing, then with the
fewest genes changed, then the least changed. In the equations i and j count tokens, `*` multiplies channel by channel,
`.` is a product over the channels of a head, norms are to unit mean square, and small letters without an equation are
parameters. How many experts there are and serve a token is R's to say: the numbers shown are those of the first class
with these codes. The gate of a single expert is not normalised. The output map W follows, so that a slot adds W y_i to
the residual stream; in the routed structures every expert has its own. Feature sharing names the first or second of two
feature groups; an operator that has only one of them shares that one.
"""


def gene_table() -> dict[str, Any]:
    """Every gene as plain data: the backbone's, the deck, the codes, the featurizers, the structures."""
    return {
        "backbone": [
            {"gene": gene.name, "low": gene.low, "high": gene.high or None, "meaning": gene.meaning} for gene in GENES
        ],
        "decks": {name: list(numbers) for name, numbers in DECKS.items()},
        "classes": _classes(),
        "copies": _codes(COPIES),
        "operator_genome": {gene: _codes(codes) for gene, codes in OPERATOR_GENOME.items()},
        "featurizer_genome": {gene: _codes(codes) for gene, codes in FEATURIZER_GENOME.items()},
        "featurizers": {str(number): [list(row) for row in rows] for number, rows in FEATURIZERS.items()},
        "groups": ROLES,
        "structures": [_structure(rules) for rules in dict.fromkeys(MEANINGS.values())],
    }


def _codes(meanings: Mapping[Any, str]) -> dict[str, str]:
    return {str(code): meaning for code, meaning in meanings.items()}


def _classes() -> list[dict[str, Any]]:
    differential = {(one.codes, DECK[number].groups): number for number, one in CLASSES.items() if one.differential}
    return [
        {
            "class": number,
            "name": one.name,
            "structure": DECK[number].structure.value,
            "operator_genome": ".".join(map(str, one.codes)) if max(one.codes) > 9 else "".join(map(str, one.codes)),
            "featurizer": one.codes[0],
            "groups": [group.role for group in DECK[number].groups],
            "written_out": class_text(genes_of(DECK[number])),
            "differential": differential.get((one.codes, DECK[number].groups)),
            "source": one.source,
        }
        for number, one in CLASSES.items()
        if not one.differential
    ]


def _structure(rules: StructureRules) -> dict[str, Any]:
    meanings = [codes for codes, found in MEANINGS.items() if found is rules]
    groups = {choice.role: choice for codes in meanings for choice in rules.choices(codes[2])}
    return {
        "structure": rules.structure.value,
        "codes": [
            {
                "codes": "".join(str(int(code)) for code in codes),
                "groups": [choice.role for choice in rules.choices(codes[2])],
                "equation": operator_equation(_representative(codes)),
            }
            for codes in meanings
        ],
        "groups": {
            role: dict(zip(GROUP_GENES, map(list, choice.allowed()), strict=True)) for role, choice in groups.items()
        },
        "follows": [
            {"group": tie.role, "leader": tie.leader, "genes": [GROUP_GENES[gene] for gene in tie.genes]}
            for tie in rules.ties
            if tie.role in groups
        ],
        "conditions": dict(rules.conditions),
        "shareable": list(rules.shareable),
    }


def _representative(codes: Codes) -> LivSpec:
    """The first class of the deck with these codes; if there is none, the operator with the smallest genes."""
    for liv in DECK.values():
        if (liv.token_mixing, liv.sparsity, liv.nonlinearity, liv.channel_mixing) == codes:
            return liv
    return describe_class(repair_class((1, *map(int, codes), *UNUSED * MAX_GROUPS)))


def genes_markdown() -> str:
    """Return the same as a page of Markdown."""
    genes = gene_table()
    parts = [
        HEAD.format(length=GENES_PER_CLASS),
        "## Backbone genome: five integers a slot\n",
        _table(("#", "gene", "range", "meaning"), _backbone_rows(genes["backbone"])),
        CLASS_TABLE,
        _class_rows(genes["classes"]),
        "## Operator genome: four codes\n",
        _table(("gene", "code", "meaning"), _code_rows(genes["operator_genome"])),
        FEATURIZER_TABLE,
        _table(("gene", "code", "meaning"), _code_rows(genes["featurizer_genome"])),
        _table(("feature group", "what it is"), list(genes["groups"].items())),
        _table(("featurizer class", "genes of each feature group"), _featurizer_rows(genes["featurizers"])),
        STRUCTURES,
        *(part for structure in genes["structures"] for part in _structure_parts(structure)),
    ]
    return "\n".join(parts)


def _backbone_rows(genes: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (place, gene["gene"], f"{gene['low']} to {gene['high'] or 'half the slots'}", gene["meaning"])
        for place, gene in enumerate(genes, start=1)
    ]


def _class_rows(classes: list[dict[str, Any]]) -> str:
    head = ("class", "name", "structure", "operator genome", "written out", "differential", "source")
    rows: list[tuple[object, ...]] = [
        (
            row["class"],
            row["name"],
            row["structure"],
            f"`{row['operator_genome']}`",
            f"`{row['written_out']}`",
            row["differential"] or "-",
            row["source"],
        )
        for row in classes
    ]
    return _table(head, rows)


def _code_rows(genes: dict[str, dict[str, str]]) -> list[tuple[object, ...]]:
    return [(gene, code, meaning) for gene, codes in genes.items() for code, meaning in codes.items()]


def _featurizer_rows(featurizers: dict[str, list[list[int]]]) -> list[tuple[object, ...]]:
    return [(number, "; ".join(" ".join(map(str, genes)) for genes in rows)) for number, rows in featurizers.items()]


def _structure_parts(structure: dict[str, Any]) -> list[str]:
    """Heading and equations, feature groups, and how these depend on each other."""
    codes = structure["codes"]
    equations = "".join(f"    {one['codes']}  {one['equation']}\n" for one in codes)
    rows = []
    for role, genes in structure["groups"].items():
        having = [one["codes"] for one in codes if role in one["groups"]]
        some = "" if len(having) == len(codes) else f" (only {', '.join(having)})"
        rows.append((role + some, *(" ".join(map(str, values)) for values in genes.values())))
    first, second = structure["shareable"]
    text = [f"Feature sharing: first {first}, second {second}."]
    text += [f"{one['group']} has the {' and '.join(one['genes'])} of {one['leader']}." for one in structure["follows"]]
    text += [f"{role}: {condition}." for role, condition in structure["conditions"].items()]
    return [
        f"### {structure['structure'].capitalize()}: {', '.join(one['codes'] for one in codes)}\n",
        equations,
        _table(("feature group", *GROUP_GENES), rows),
        f"{' '.join(text)}\n",
    ]


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
