"""The body of one function of the exported file, while it is written."""

import ast
import itertools
from typing import Any

from star.export.specialise.values import Attribute, Known, Map, Object, Seq, Symbol, Unknown, Value

_numbers = itertools.count()
MARK = "#"  # parts the name of a variable from its number
CACHE_METHODS = ("extend", "roll", "slide", "state", "keep_state", "begin", "end", "advance", "finish")
FIXED = "!"  # ends the name of a variable that stays: a feature that some layers compute and others are given
TEMPORARY = "~"  # ends the name of a variable that the source does not have at this place


def fresh(hint: str, is_temporary: bool = False) -> str:
    """Return a new variable. Of two with one name, the later one sorts after the other."""
    hint = hint.split(MARK)[0]
    return f"{hint}{MARK}{next(_numbers):09d}{TEMPORARY if is_temporary else ''}"


class Writer:
    """Statements in the order in which they run.

    Attributes:
        owner: the class of the exported file that the function is a method of, or of its caller.
        is_init: whether it is the constructor of `owner`.
        depth: the number of undecided branches and loops around the present statement.
    """

    def __init__(self, owner: Any, is_init: bool = False) -> None:
        self.owner = owner
        self.is_init = is_init
        self.rolls = False  # whether it holds the loop over slots
        self.block: list[ast.stmt] = []
        self.depth = 0

    def emit(self, statement: ast.stmt) -> None:
        """Append a statement."""
        self.block.append(statement)

    def bind(self, value: Value, hint: str, is_temporary: bool = True) -> Value:
        """Assign an expression to a new variable, unless it costs nothing to repeat."""
        if isinstance(value, Unknown) and not is_cheap(value.expr):
            name = fresh(hint, is_temporary)
            self.emit(assign(ast.Name(name), value.expr))
            return Unknown(ast.Name(name), value.maybe_none)
        if isinstance(value, Seq):
            value.items = [self.bind(item, hint, is_temporary) for item in value.items]
        elif isinstance(value, Map):
            value.items = {key: self.bind(item, str(hint), is_temporary) for key, item in value.items.items()}
        elif isinstance(value, Object) and value.file_class is None and not value.cls.is_module:
            value.attributes = {key: self.bind(one, key, is_temporary) for key, one in value.attributes.items()}
        return value


def assign(target: ast.expr, value: ast.expr) -> ast.Assign:
    """Return an assignment."""
    return ast.Assign([target], value, lineno=0)


def is_cheap(expr: ast.expr) -> bool:
    """Return whether an expression is a name, a literal, or an attribute or element of one."""
    match expr:
        case ast.Name() | ast.Constant() | Attribute() | Symbol():
            return True
        case ast.Attribute(value=value):
            return is_cheap(value)
        case ast.Subscript(value=value, slice=ast.Constant()):
            return is_cheap(value)
        case ast.Starred(value=value):
            return is_cheap(value)
        case ast.UnaryOp(operand=ast.Constant()):
            return True
    return False


def is_atomic(expr: ast.expr) -> bool:
    """Return whether an expression is a name, a literal or an attribute of a module."""
    return isinstance(expr, ast.Name | ast.Constant | Attribute | Symbol)


def is_other(variable: ast.Name, name: str) -> bool:
    """Return whether a variable has another name."""
    return variable.id.split(MARK)[0] != name


def is_method_of_cache(expr: ast.expr) -> bool:
    """Return whether an expression is a method of a cache."""
    return isinstance(expr, ast.Attribute) and expr.attr in CACHE_METHODS and is_cheap(expr.value)


def literal(value: Any) -> ast.expr:
    """Return the expression of a plain value."""
    if isinstance(value, Known):
        return value.expr or literal(value.value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return ast.Call(ast.Name("float"), [ast.Constant(str(value))], [])
    if isinstance(value, tuple):
        return ast.Tuple([literal(one) for one in value], ast.Load())
    if value == set() and isinstance(value, set):
        return ast.Call(ast.Name("set"), [], [])
    if value is Ellipsis:
        return ast.Constant(...)
    assert value is None or isinstance(value, bool | int | float | str), f"no literal for {value!r}"
    if not isinstance(value, str | bool) and value is not None and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)
