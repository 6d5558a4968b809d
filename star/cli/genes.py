"""The table of genes, made from the tables that decoding itself uses; docs/genes.md is its output."""

from enum import IntEnum
from typing import Any

from star.genome import FEATURIZERS, GENES, PAPER, PAPER_CODES
from star.spec import (
    EVERY_CHANNEL,
    GATED_RATIO,
    ChannelMixing,
    FeatureChannelMixing,
    FeatureTokenMixing,
    Nonlinearity,
    Sparsity,
    TokenMixing,
)

OPERATOR_GENOME = (
    ("token mixing", TokenMixing),
    ("sparsity", Sparsity),
    ("nonlinearity", Nonlinearity),
    ("channel mixing", ChannelMixing),
)
FEATURIZER_GENOME = (("token mixing", FeatureTokenMixing), ("channel mixing", FeatureChannelMixing))

HEAD = """\
# Genes

This page is the output of `star genes --markdown`; a test keeps the two equal.

A backbone is five integers a slot. In text form a slot is a word of its five digits and words are joined by hyphens:
`21211-31112-21221-32112` has four slots. Classes above 9 make the word longer (`142111` is class 14); a slot with
another gene above 9 is written with dots (`14.10.2.1.1`). Group numbers count within a class: two slots share only if
they are of the same class, name the same group, and follow a strategy that shares. The shallowest member of a group
computes, the deeper ones reuse. Genes without effect are 1 in canonical form, and two genomes with one canonical form
are trained once.
"""

CLASSES = """\
## Operator classes

The operator genome is featurizer class, token mixing, sparsity, nonlinearity, channel mixing. Token mixing says how the
feature groups C, B, V, A and K make the output y of token i:

    1 diagonal          y_i = swish(C_i) V_i
    2 low rank          y_i = sum over j of softmax_j(C_i . B_j / sqrt(head_dim)) V_j
    3 Toeplitz          y_i = C_i * sum over j of K_(i-j) B_j V_j
    4 semi-separable    y_i = C_i . sum over j of A_i ... A_(j+1) B_j V_j

with j <= i throughout. A differential class is y = a(x) - b(x), two copies of the operator with weights of their own.
"""


def gene_table() -> dict[str, Any]:
    """Every gene as plain data: the backbone's, the operator classes, the codes, the featurizers."""
    differential = {liv.name: number for number, liv in PAPER.items() if liv.differential}
    return {
        "backbone": [
            {"gene": gene.name, "low": gene.low, "high": gene.high or None, "meaning": gene.meaning} for gene in GENES
        ],
        "classes": [
            {
                "class": number,
                "name": name,
                "operator_genome": codes,
                "differential": differential.get(f"{name}-Diff"),
                "groups": [group.role for group in PAPER[number].groups],
            }
            for number, (name, codes) in PAPER_CODES.items()
        ],
        "operator_genome": {name: _codes(codes) for name, codes in OPERATOR_GENOME},
        "featurizer_genome": {name: _codes(codes) for name, codes in FEATURIZER_GENOME},
        "featurizers": {str(number): [list(row) for row in rows] for number, rows in FEATURIZERS.items()},
    }


def genes_markdown() -> str:
    """The same as a page of Markdown."""
    genes = gene_table()
    parts = [HEAD, "## Backbone genome: five integers a slot\n"]
    parts.append(_table(("#", "gene", "range", "meaning"), _backbone_rows(genes["backbone"])))
    parts.append(CLASSES)
    parts.append(
        _table(
            ("class", "name", "operator genome", "feature groups", "differential"),
            [
                (
                    row["class"],
                    row["name"],
                    f"`{row['operator_genome']}`",
                    " ".join(row["groups"]),
                    row["differential"] or "-",
                )
                for row in genes["classes"]
            ],
        )
    )
    parts.append("## Codes of the operator genome\n")
    parts.append(_table(("gene", "codes"), _code_rows(genes["operator_genome"])))
    parts.append(
        "## Featurizer genome: four integers a feature group\n\nToken mixing, channel mixing, expansion, repeat. "
        f"Expansion {GATED_RATIO} stands for 8/3; repeat {EVERY_CHANNEL} means that\none feature vector serves every "
        "channel. Features are in the order of the feature groups above.\n"
    )
    parts.append(_table(("gene", "codes"), _code_rows(genes["featurizer_genome"])))
    parts.append(_table(("featurizer class", "genes of each feature group"), _featurizer_rows(genes["featurizers"])))
    return "\n".join(parts)


def _codes(codes: type[IntEnum]) -> dict[str, str]:
    return {str(code.value): code.name.lower().replace("_", " ") for code in codes}


def _backbone_rows(genes: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    return [
        (place, gene["gene"], f"{gene['low']} to {gene['high'] or 'half the slots'}", gene["meaning"])
        for place, gene in enumerate(genes, start=1)
    ]


def _code_rows(genes: dict[str, dict[str, str]]) -> list[tuple[object, ...]]:
    return [(name, ", ".join(f"{code} {meaning}" for code, meaning in codes.items())) for name, codes in genes.items()]


def _featurizer_rows(featurizers: dict[str, list[list[int]]]) -> list[tuple[object, ...]]:
    return [(number, "; ".join(" ".join(map(str, genes)) for genes in rows)) for number, rows in featurizers.items()]


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
