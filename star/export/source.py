"""Collects definitions from the modules of a package into one flat, readable source text.

Starting from a root name, the closure of everything it mentions is followed through the package's own
imports; each definition is copied as it was written, with its decorators, the comment above it and its
docstring, in an order in which Python can run it. Nothing is imported or executed: the text is the truth.
What is collected must keep to plain habits, asserted here: names imported, not modules, and not renamed; one
meaning per name.
"""

import ast
from collections.abc import Callable, Iterable
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
    apart: bool  # a blank line stands above it in its file

    @cached_property
    def node(self) -> ast.stmt:
        return ast.parse(self.source).body[0]

    @cached_property
    def mentioned(self) -> set[str]:
        """Return every name that the text reads; local variables of these names are included."""
        nodes = ast.walk(ast.parse(self.source))
        return {node.id for node in nodes if isinstance(node, ast.Name)} - set(self.names)

    @property
    def is_assignment(self) -> bool:
        return isinstance(self.node, ast.Assign | ast.AnnAssign)


Rewrite = Callable[[Definition], Definition]


@dataclass(frozen=True)
class Module:
    """Parsed file: its docstring, its definitions in order, and the origins of its imported names."""

    name: str
    docstring: str
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
        is_apart = start == 0 or not lines[start - 1]
        if isinstance(node, ast.AugAssign):  # more of a value belongs to it
            begun = definitions[names[0]]
            source, is_apart = f"{begun.source}\n{source}", begun.apart
        definition = Definition(name, names, source, is_apart)
        definitions |= dict.fromkeys(names, definition)
    return Module(name, (ast.get_docstring(tree, clean=False) or "").strip(), definitions, imports)


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


@dataclass(frozen=True)
class Collection:
    """Definitions by module, in an order that runs, and the imports that they need."""

    sections: list[tuple[Module, list[Definition]]]
    imports: dict[str, Reference]

    def text(self) -> str:
        """Return the imports, then each module's definitions below its docstring as a comment."""
        sections = (_section(module, definitions) for module, definitions in self.sections)
        return format_imports(self.imports) + "\n\n" + "\n\n\n".join(sections) + "\n"


def collect(roots: Iterable[Reference], folder: Path, rewrite: Rewrite) -> Collection:
    """Collect all definitions that `roots` use within their top-level package.

    Args:
        roots: the names to start from; their first module's top-level package is the one that is flattened.
        folder: where that package lies.
        rewrite: may replace a definition's text before it is followed.
    """
    return _Collector(folder, rewrite).run(list(roots))


class _Collector:
    def __init__(self, folder: Path, rewrite: Rewrite) -> None:
        self.folder = folder
        self.rewrite = rewrite
        self.modules: dict[str, Module] = {}
        self.ordered: list[Module] = []  # a module after those it imports
        self.found: dict[str, Definition] = {}
        self.imports: dict[str, Reference] = {}

    def run(self, roots: list[Reference]) -> Collection:
        self.package = roots[0].module.split(".")[0]
        for root in roots:
            self.follow(root)
        sections = []
        for module in self.ordered:
            kept = [self.found[d.names[0]] for d in _distinct(module) if self._is_kept(d)]
            if kept:
                sections.append((module, kept))
        return Collection(sections, self.imports)

    def _is_kept(self, definition: Definition) -> bool:
        found = self.found.get(definition.names[0]) if definition.names else None
        return found is not None and found.module == definition.module

    def module(self, name: str) -> Module:
        if name not in self.modules:
            module = self.modules[name] = read_module(name, self.folder)
            for reference in module.imports.values():
                if self._is_ours(reference):
                    self.module(reference.module)
            self.ordered.append(module)
        return self.modules[name]

    def _is_ours(self, reference: Reference) -> bool:
        return reference.module.split(".")[0] == self.package

    def follow(self, reference: Reference) -> None:
        module = self.module(reference.module)
        if reference.name in module.definitions:
            self._keep(module.definitions[reference.name], module)
        else:
            assert reference.name in module.imports, f"{reference} is a module: import names, which flatten"
            self.follow(module.imports[reference.name])

    def _keep(self, definition: Definition, module: Module) -> None:
        known = self.found.get(definition.names[0])
        if known is not None:
            assert known.module == module.name, f"{known.names} in {known.module} and in {module.name}"
            return
        definition = self.rewrite(definition)
        self.found |= dict.fromkeys(definition.names, definition)
        for name in sorted(definition.mentioned):
            if name in module.definitions:
                self._keep(module.definitions[name], module)
            elif name in module.imports:
                self._keep_import(name, module.imports[name])

    def _keep_import(self, name: str, reference: Reference) -> None:
        if self._is_ours(reference):
            assert name == reference.name, f"{reference.module}.{reference.name} is renamed to {name}"
            self.follow(reference)
        else:
            assert self.imports.setdefault(name, reference) == reference, f"{name} has two meanings"


def _distinct(module: Module) -> list[Definition]:
    return list({id(definition): definition for definition in module.definitions.values()}.values())


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


def _section(module: Module, definitions: list[Definition]) -> str:
    title = module.name.partition(".")[2].replace(".", " ").replace("_", " ")
    lines = [f"# {f' {title} ':-^100}", *(f"# {line}".rstrip() for line in module.docstring.splitlines())]
    text = "\n".join(lines)
    assigned = True
    for index, definition in enumerate(definitions):
        blank_lines = int(definition.apart or index == 0) if assigned and definition.is_assignment else 2
        text += "\n" * (blank_lines + 1) + definition.source
        assigned = definition.is_assignment
    return text
