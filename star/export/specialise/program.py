"""The project's own source, as the values that its names stand for."""

import ast
import builtins
import importlib
from pathlib import Path
from typing import Any

import star
from star.export.source import Module, Reference, read_module
from star.export.specialise.values import Class, Function, Known, Seq, Unsupported, Value

ROOT = Path(star.__file__).parent.parent
OURS = ("star.model.", "star.export.standalone")  # whose code is specialised; other code is run
SHAPES = "star.model.ops.shapes"  # names of annotations
MODULE_BASES = ("Module",)


class Library(Known):
    """Part of torch: what is called of it is called when the model runs."""


class Program:
    """Definitions of the project's modules by name.

    Attributes:
        constants: values of named constants that were read, which the exported file defines where it uses them.
    """

    def __init__(self) -> None:
        self.constants: dict[str, Any] = {}
        self._known: dict[tuple[str, str], Value] = {}

    @property
    def read(self) -> set[tuple[str, str]]:
        """The modules and names that were looked up."""
        return set(self._known)

    def module(self, name: str) -> Module:
        """Return a parsed module."""
        return read_module(name, ROOT)

    def home_of(self, name: str, module: str) -> Module | None:
        """Return the module of the model that defines what a name of a module stands for; None if none does."""
        found = self.module(module)
        while name not in found.definitions:
            origin = found.imports.get(name)
            if origin is None or not origin.module.startswith(OURS) or origin.module == SHAPES:
                return None
            found = self.module(origin.module)
        return found

    def find(self, name: str, module: Module, evaluate) -> Value:
        """Return what a name stands for in a module; `evaluate` computes the value of an assignment."""
        key = module.name, name
        if key not in self._known:
            self._known[key] = self._find(name, module, evaluate)
        return self._known[key]

    def _find(self, name: str, module: Module, evaluate) -> Value:
        if name in module.definitions:
            node = module.definitions[name].node
            if isinstance(node, ast.FunctionDef):
                return Function(node, module)
            if isinstance(node, ast.ClassDef):
                bases = [self.find(base.id, module, evaluate) for base in node.bases if isinstance(base, ast.Name)]
                ours = [base for base in bases if isinstance(base, Class)]
                outer = [ast.unparse(base).split(".")[-1] for base in node.bases]
                is_module = any(base.is_module for base in ours) or any(one in MODULE_BASES for one in outer)
                return Class(node, module, ours, is_module)
            if len(ast.parse(module.definitions[name].source).body) > 1:
                raise Unsupported(f"{module.name}.{name} has several parts")
            value = evaluate(node.value, module)
            return self._constant(name, value)
        if name in module.imports:
            return self._import(name, module.imports[name], evaluate)
        if hasattr(builtins, name):
            return Known(getattr(builtins, name), ast.Name(name))
        raise Unsupported(f"{module.name} has no name {name}")

    def _import(self, name: str, reference: Reference, evaluate) -> Value:
        if reference.module.startswith(OURS):
            return self.find(reference.name, self.module(reference.module), evaluate)
        found = importlib.import_module(reference.module)
        value = getattr(found, reference.name) if reference.name else found
        if reference.module.split(".")[0] == "torch":
            return Library(value, ast.Name(name))
        if reference.module.split(".")[0] == "star":
            return self._constant(name, Known(value))
        return Known(value, ast.Name(name))

    def _constant(self, name: str, value: Value) -> Value:
        if isinstance(value, Seq) and value.is_tuple and all(isinstance(one, Known) for one in value.items):
            value = Known(tuple(one.value for one in value.items))
        if isinstance(value, Known) and is_plain(value.value) and not isinstance(value.value, str):
            self.constants[name] = value.value
            return Known(value.value, ast.Name(name))
        return value


def is_plain(value: Any) -> bool:
    """Return whether a value is a number, a text or a tuple of these, which can be written as a literal."""
    if isinstance(value, tuple):
        return type(value) is tuple and all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str)
