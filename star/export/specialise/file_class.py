"""Classes and functions of the exported file."""

import ast
from collections import Counter, defaultdict
from typing import Any

from star.architecture.spec import LivSpec
from star.export.specialise import sizes
from star.export.specialise.naming import Renamed, name_variables
from star.export.specialise.program import Program
from star.export.specialise.values import Attribute, Class, Function, Object, Symbol, copy_tree


class ClassName(ast.expr):
    """Name of a class of the exported file, given when all classes are known."""

    _fields = ("key",)

    def __init__(self, file_class: "FileClass") -> None:
        super().__init__()
        self.file_class = file_class
        self.key = str(id(file_class))

    def __deepcopy__(self, memo: dict) -> "ClassName":
        return self


class ModuleList(ast.stmt):
    """Assignment of a list of modules, written when all of them are known."""

    _fields = ("key",)

    def __init__(self, holder: Object, name: str, items: Any) -> None:
        super().__init__()
        self.holder, self.name, self.items = holder, name, items
        self.key = f"{id(holder)} {name}"

    def __deepcopy__(self, memo: dict) -> "ModuleList":
        return self


class FileClass:
    """Class of the exported file, as one instance needs it.

    Attributes:
        source: the class of the project that it comes from.
        liv: the operator that it is, if it is one.
        roles: the names of its features.
        arguments: constructor argument by parameter, in the terms of whoever makes it.
        ties: parameters that are modules of an earlier operator, by name, and where these are.
        given: features that its `forward` is given.
        body: its constructor.
        methods: the other methods by name.
        assigned: what its constructor assigns: objects and their attributes.
    """

    has_symbols = True
    is_dynamic = False

    def __init__(self, source: Class, liv: LivSpec | None = None) -> None:
        self.source = source
        self.liv = liv
        self.roles = sizes.roles_of(liv) if liv else {}
        self.values: dict[str, int] = {}
        self.arguments: dict[str, ast.expr] = {}
        self.ties: dict[str, Attribute] = {}
        self.parts: list[ast.expr] = []
        self.given: list[str] = []
        self.body: list[ast.stmt] = []
        self.methods: dict[str, tuple[tuple, ast.FunctionDef]] = {}
        self.assigned: list[tuple[Object, tuple[str, ...]]] = []
        self.object: Object | None = None

    def symbol(self, name: str, value: int) -> ast.expr:
        """Return a size as a parameter of the class."""
        wanted, number = name, 1
        while self.values.setdefault(wanted, value) != value:
            number += 1
            wanted = f"{name}_{number}"
        self.arguments.setdefault(wanted, ast.Constant(value))
        return Symbol(self, wanted)

    def attribute_name(self, names: tuple[str, ...]) -> str:
        """Return the attribute of the exported class for one of the project's, by its path from the operator."""
        match names:
            case ("featurizer", role):
                return self.roles[role]
            case ("featurizer", role, "channels"):
                return self.roles[role]
            case ("featurizer", role, name):
                return self.roles[role] if name == self.roles[role] else f"{self.roles[role]}_{name}"
            case ("mixer", "positions", *rest):
                return "_".join(["position", *rest])
            case ("mixer", "gains", role):
                return f"{self.roles[role]}_gain"
            case ("mixer", *rest):
                return "_".join(rest)
        return "_".join(names)


class Resolved(ast.NodeTransformer):
    """Replaces attributes and symbols by what they are called in one method."""

    def __init__(self, file_class: FileClass | None, is_init: bool, stored: set[str]) -> None:
        self.file_class, self.is_init, self.stored = file_class, is_init, stored

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, Attribute):
            assert self.file_class is not None, f"an attribute {node.name} outside of a class"
            name = self.file_class.attribute_name(node.holder.path() + node.name)
            return ast.Attribute(ast.Name("self"), name)
        if isinstance(node, Symbol):
            name = node.name
            if self.file_class is not None and node.file_class is not self.file_class:  # of a shared feature
                name = self.file_class.symbol(name, node.file_class.values[name]).name
            if self.is_init:
                return ast.Name(name)
            self.stored.add(name)
            return ast.Attribute(ast.Name("self"), name)
        return self.generic_visit(node)


def finish(body: list[ast.stmt], params: list[str], file_class: FileClass | None, is_init: bool, stored: set[str]):
    """Return statements with all names given, and the names of the parameters."""
    resolver = Resolved(file_class, is_init, stored)
    body = [resolver.visit(copy_tree(node)) for node in body]
    names = name_variables(body, params, {"self"} | (set(file_class.values) if file_class and is_init else set()))
    renamer = Renamed(names)
    return _without_copies([renamer.visit(node) for node in body]), [names[one] for one in params]


def _without_copies(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements without those that assign a variable to itself."""
    for node in body:
        for name in ("body", "orelse"):
            if isinstance(node, ast.If | ast.For | ast.With) and getattr(node, name, None):
                setattr(node, name, _without_copies(getattr(node, name)))
    return [
        node
        for node in body
        if not (isinstance(node, ast.Assign) and ast.dump(node.targets[0]) == ast.dump(node.value))
    ]


class Registry:
    """Functions and classes of the exported file by name.

    Attributes:
        varying: parameters that differ from call to call, of which a function for each value would be no help.
        single: functions that are put in place of their only call, which stands in another function.
        reserved: names of definitions that are kept as they are beside others that are not.
    """

    def __init__(self, varying: set[tuple[str, str]], reserved: set[str], single: set[str]) -> None:
        self.varying = varying
        self.reserved = reserved
        self.functions: dict[str, ast.FunctionDef] = {}
        self.copied: dict[str, tuple[str, str]] = {}  # name -> module and name of a definition that is kept as it is
        self.single = single
        self._variants: dict[tuple[str, str], dict[str, tuple[str, dict]]] = defaultdict(dict)

    def function(self, function: Function, body: list[ast.stmt], params: list[str], folded: dict[str, Any]) -> str:
        """Return the name of a function with this body."""
        name = function.node.name
        body, names = finish(body, params, None, False, set())
        text = ast.unparse(ast.Module([ast.FunctionDef("f", _arguments(names), body, [], lineno=0)], []))
        variants = self._variants[function.module.name, name]
        if text not in variants:
            number = len(variants) + 1 + (name in self.reserved)
            chosen = name if number == 1 else f"{name}_{number}"
            variants[text] = chosen, folded
            node = ast.FunctionDef(chosen, _arguments(names), body, [], lineno=0)
            node.source = function
            self.functions[chosen] = node
        return variants[text][0]

    def find_single(self, classes: list[FileClass]) -> set[str]:
        """Return the functions that one other function calls at one place, and no method."""
        calls: Counter[str] = Counter()
        for function in self.functions.values():
            calls.update(node.id for node in ast.walk(function) if isinstance(node, ast.Name))
        for made in classes:
            for one in [*made.body, *(node for _, node in made.methods.values())]:
                calls.update(2 * [node.id for node in ast.walk(one) if isinstance(node, ast.Name)])
        return {name for name in self.functions if calls[name] == 1}

    def find_conflicts(self, program: Program) -> set[str]:
        """Return names of functions that there are with and without change."""
        found, waiting = set(), dict(self.copied)
        while waiting:
            name, (module_name, source_name) = waiting.popitem()
            if name in found:
                continue
            found.add(name)
            for one in program.module(module_name).definitions[source_name].mentioned:
                home = program.home_of(one, module_name)
                if home is not None and isinstance(home.definitions[one].node, ast.FunctionDef | ast.ClassDef):
                    waiting[one] = home.name, one
        return found & self.functions.keys()

    def find_varying(self) -> set[tuple[str, str]]:
        """Return parameters whose known values are all that tells variants of a function apart."""
        found = set()
        for (_, name), variants in self._variants.items():
            folded = [one for _, one in variants.values()]
            for key in {key for one in folded for key in one}:
                values = [one[key] for one in folded if key in one]
                if len({repr(value) for value in values}) > 1 and all(value is not None for value in values):
                    found.add((name, key))
        return found


def _arguments(names: list[str], defaults: list[ast.expr] = ()) -> ast.arguments:
    return ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, list(defaults))


arguments_of = _arguments
