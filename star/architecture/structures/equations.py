"""Text forms of an operator: the equation of its output, and the equation of each feature."""

from star.architecture.spec import LivSpec
from star.architecture.structures import rules_of
from star.architecture.structures.feature import feature_equation, feature_width


def operator_equation(liv: LivSpec) -> str:
    """Return the output y of token i, before the map W back to the residual stream. Two blanks separate equations."""
    text = rules_of(liv).equation(liv)
    return f"y = a(x) - b(x), two copies with weights of their own,  each {text}" if liv.differential else text


def feature_equations(liv: LivSpec) -> dict[str, str]:
    """Return, for each role, how the feature is made from the operator's input x, and its width."""
    return {
        group.role: ", ".join(filter(None, (feature_equation(group), feature_width(group)))) for group in liv.groups
    }
