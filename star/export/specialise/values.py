"""Values during partial evaluation: what is known at export, and expressions of what the model computes."""

import ast
from dataclasses import dataclass, field
from typing import Any

from star.export.source import Module


class Value:
    """Base class of all values."""


@dataclass(eq=False, slots=True)
class Known(Value):
    """Python object that is known; `expr` is how the exported file writes it, if not as a literal."""

    value: Any
    expr: ast.expr | None = None


@dataclass(eq=False, slots=True)
class Unknown(Value):
    """Result of an expression of the exported file. Where `maybe_none` is False, it is not None."""

    expr: ast.expr
    maybe_none: bool = False


@dataclass(eq=False, slots=True)
class Seq(Value):
    """List or tuple with known length. `depth` is the number of undecided branches around its creation."""

    items: list[Value]
    is_tuple: bool = False
    depth: int = 0


@dataclass(eq=False, slots=True)
class Map(Value):
    """Dictionary with known keys."""

    items: dict[Any, Value]
    depth: int = 0


class Identity(Value):
    """Module that returns its input."""


@dataclass(eq=False)
class Class(Value):
    """Class of the project."""

    node: ast.ClassDef
    module: Module
    bases: list["Class"]
    is_module: bool  # it derives from torch.nn.Module

    def method(self, name: str) -> tuple[ast.FunctionDef, "Class"] | None:
        """Return the definition of a method and the class that has it."""
        for node in self.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return node, self
        return next(filter(None, (base.method(name) for base in self.bases)), None)

    def fields(self) -> dict[str, ast.expr | None]:
        """Return the annotated names of the class body and their defaults."""
        own = {
            node.target.id: node.value
            for node in self.node.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        return {name: value for base in self.bases for name, value in base.fields().items()} | own

    def is_a(self, name: str) -> bool:
        """Return whether the class or one that it derives from has this name."""
        outer = [base.id for base in self.node.bases if isinstance(base, ast.Name)]
        return self.node.name == name or name in outer or any(base.is_a(name) for base in self.bases)


@dataclass(eq=False)
class Object(Value):
    """Instance of a project's class.

    Attributes:
        owner: the module of the exported file that it is part of.
        parent: where it is stored: an object and the name of an attribute, perhaps with the key of an element.
        file_class: the class of the exported file that it is an instance of; None if it is part of `owner`.
    """

    cls: Class
    attributes: dict[str, Value] = field(default_factory=dict)
    owner: Any = None
    parent: tuple["Object", tuple[str, ...]] | None = None
    file_class: Any = None

    def __deepcopy__(self, memo: dict) -> "Object":
        return self

    def path(self) -> tuple[str, ...]:
        """Return the names from the module of the exported file to this object."""
        if self.parent is None or self.file_class is not None:
            return ()
        holder, names = self.parent
        return holder.path() + names


@dataclass(eq=False, slots=True)
class Function(Value):
    """Function or lambda of the project; `receiver` is the object that a method is bound to."""

    node: ast.FunctionDef | ast.Lambda
    module: Module
    receiver: Value | None = None
    scope: dict[str, Value] | None = None
    home: Class | None = None


class Attribute(ast.expr):
    """Attribute of a module of the exported file, whose name depends on where its object will be stored."""

    _fields = ("key",)

    def __init__(self, holder: Object, name: tuple[str, ...]) -> None:
        super().__init__()
        self.holder, self.name = holder, name
        self.key = f"{id(holder)} {name}"  # tells two of them apart

    def __deepcopy__(self, memo: dict) -> "Attribute":
        return self


class Symbol(ast.expr):
    """Parameter of a class of the exported file: a size that differs among its instances."""

    _fields = ("key",)

    def __init__(self, file_class: Any, name: str) -> None:
        super().__init__()
        self.file_class, self.name = file_class, name
        self.key = f"{id(file_class)} {name}"

    def __deepcopy__(self, memo: dict) -> "Symbol":
        return self


POSITION = ("lineno",)  # without which a statement has no text


def copy_tree(node: Any) -> Any:
    """Return a copy of a syntax tree; nodes that are no syntax, such as Attribute, are shared."""
    if isinstance(node, list):
        return [copy_tree(one) for one in node]
    if not isinstance(node, ast.AST) or node._fields == ("key",):
        return node
    found = type(node)()
    for name in (*node._fields, *POSITION):
        if hasattr(node, name):
            setattr(found, name, copy_tree(getattr(node, name)))
    return found


class Unsupported(AssertionError):
    """Python that the partial evaluator does not understand."""
