"""Modules of the project as parsed text: definitions by name, and the origins of imported names.

Nothing is imported or executed: the text is the truth. Relative imports are refused.
"""

import ast
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple


class Reference(NamedTuple):
    """Name in a module: `name` of `from module import name`, or the module itself if `name` is empty."""

    module: str
    name: str


@dataclass(frozen=True)
class Definition:
    """Top-level statement that binds names: its text, including the comment above it, and its parsed form."""

    module: str
    names: tuple[str, ...]
    source: str

    @cached_property
    def node(self) -> ast.stmt:
        return ast.parse(self.source).body[0]

    @cached_property
    def mentioned(self) -> set[str]:
        """Return every name that the text reads; local variables of these names are included."""
        nodes = ast.walk(ast.parse(self.source))
        return {node.id for node in nodes if isinstance(node, ast.Name)} - set(self.names)


@dataclass(frozen=True)
class Module:
    """Parsed file: its definitions in order, and the origins of its imported names."""

    name: str
    definitions: dict[str, Definition]
    imports: dict[str, Reference]


@cache
def read_module(name: str, root: Path) -> Module:
    """Parse module `name` below the folder `root`."""
    path = root.joinpath(*name.split("."))
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    tree, lines = ast.parse(text), text.splitlines()
    definitions: dict[str, Definition] = {}
    imports: dict[str, Reference] = {}
    for node in tree.body:
        imports |= _imported(node, name)
        names = _bound(node)
        start = _first_line(node, lines)
        source = "\n".join(lines[start : node.end_lineno])
        if isinstance(node, ast.AugAssign):  # more of a value belongs to it
            begun = definitions[names[0]]
            source = f"{begun.source}\n{source}"
        definition = Definition(name, names, source)
        definitions |= dict.fromkeys(names, definition)
    return Module(name, definitions, imports)


def _imported(node: ast.stmt, module: str) -> dict[str, Reference]:
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name: Reference(alias.name, "") for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0 and node.module, f"{module} imports relatively"
        return {alias.asname or alias.name: Reference(node.module, alias.name) for alias in node.names}
    return {}


def _bound(node: ast.stmt) -> tuple[str, ...]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return (node.name,)
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return tuple(target.id for target in targets if isinstance(target, ast.Name))


def _first_line(node: ast.stmt, lines: list[str]) -> int:
    """Return the index of the first line of a statement, including its decorators and the comment directly above."""
    start = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))]) - 1
    while start and lines[start - 1].startswith("#"):
        start -= 1
    return start


def format_imports(imports: dict[str, Reference]) -> str:
    """Return import statements for `imports` (local name -> origin), sorted: standard library first, torch last."""
    blocks: dict[bool, list[tuple[int, str, str]]] = {False: [], True: []}
    members: dict[str, list[str]] = {}
    for name, (module, member) in imports.items():
        if member:
            members.setdefault(module, []).append(member if member == name else f"{member} as {name}")
        else:
            line = f"import {module}" if module == name else f"import {module} as {name}"
            blocks[_is_torch(module)].append((0, module, line))
    for module, names in members.items():
        line = f"from {module} import {', '.join(sorted(names, key=_import_order))}"
        blocks[_is_torch(module)].append((1, module, line))
    texts = ["\n".join(line for *_, line in sorted(block)) for block in blocks.values()]
    return "\n\n".join(text for text in texts if text)


def _is_torch(module: str) -> bool:
    return module.split(".")[0] == "torch"


def _import_order(name: str) -> tuple[int, str]:
    """Return the sort key of an imported name: constants, then classes, then the rest, as linters sort."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)
