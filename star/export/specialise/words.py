"""Docstrings of the classes in exported files: equations and sources."""

import ast
import re
import textwrap

from star.architecture.codes import Structure
from star.architecture.structures import operator_equation
from star.export.specialise.file_class import FileClass

LONGEST = 100  # columns
ROLE = r"(?<![A-Za-z])[A-Z](?![A-Za-z])"
OPERATORS = {
    Structure.ATTENTION: "Softmax attention: y_t = sum_s softmax_s(query_t . key_s) value_s, s up to t.",
    Structure.LATENT_ATTENTION: (
        "Latent attention (arXiv:2405.04434): keys and values of all heads are maps of one latent vector a token."
    ),
    Structure.LINEAR_ATTENTION: "Linear attention (arXiv:2006.16236): weights (elu(query) + 1) . (elu(key) + 1).",
    Structure.GATED_LINEAR: "Gated linear attention (arXiv:2312.06635): S_t = diag(decay_t) S_t-1 + key_t value_t^T.",
    Structure.DELTA_RULE: (
        "Gated delta rule (arXiv:2412.06464): what the state holds under a key is erased before a value is written."
    ),
    Structure.SELECTIVE_SCAN: (
        "Selective state space (arXiv:2312.00752): h_t = exp(-step_t rate) h_t-1 + step_t value_t write_t,\n"
        "y_t = readout_t . h_t + skip value_t, in each channel."
    ),
    Structure.STATE_SPACE: "State space dual (arXiv:2405.21060): a selective recurrence with one decay a head.",
    Structure.CONVOLUTION: "Gated convolution: y_t = gate_t sum_s kernel_s (input_gate value)_t-s, in each channel.",
    Structure.MEMORYLESS: "Gated unit: y = out(g(gate) value), each token on its own.",
    Structure.ROUTED: "Mixture of experts: a router chooses the experts of each token.",
}
OTHERS = {
    "LanguageModel": "Decoder-only language model: embedding, residual layers, norm, head.",
    "Norm": "Norm over the channels of every token.",
    "Differential": "Difference of two copies of an operator with weights of their own: y = a(x) - b(x).",
}


def describe(made: FileClass) -> str:
    """Return the docstring of a class."""
    name = made.source.node.name
    if made.liv is not None:
        if made.liv.structure in OPERATORS:
            return OPERATORS[made.liv.structure]
        text = re.sub(
            r"(?<![A-Za-z])[A-Z](?![A-Za-z])",
            lambda found: made.roles.get(found[0], found[0]),
            operator_equation(made.liv),
        )
        return "\n".join(textwrap.wrap(f"Operator: {text}.", LONGEST))
    if name in OTHERS:
        return OTHERS[name]
    return shorten(ast.get_docstring(made.source.node) or name)


def shorten(text: str) -> str:
    """Return the first paragraph of a docstring, or its first sentence if that is more than a line."""
    found = re.sub(r"\s+", " ", text.strip().split("\n\n")[0])
    if len(found) <= LONGEST:
        return found
    first = re.match(r".*?\.(?= |$)", found)
    return "\n".join(textwrap.wrap(first[0] if first else found, LONGEST))
