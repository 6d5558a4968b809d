"""Definitions of the project that an exported file has as they are, and the imports that it needs."""

import ast
import builtins
import textwrap
from collections.abc import Iterable
from typing import Any

from star.export.source import Reference, format_imports
from star.export.specialise.file import File
from star.export.specialise.layout import format_doc
from star.export.specialise.program import SHAPES, Program
from star.export.specialise.words import shorten

KEEPING = "keep_tables"  # the decorator of tables that are kept between calls


def copy_definitions(file: File) -> dict[str, str]:
    """Return the texts of all definitions that are copied, with what they use."""
    found: dict[str, str] = {}
    program, waiting = file.program, dict(file.copied)
    while waiting:
        name, (module_name, source_name) = waiting.popitem()
        if name in found or name in file.texts:
            continue
        module = program.module(module_name)
        definition = module.definitions[source_name]
        if isinstance(definition.node, ast.Assign | ast.AnnAssign):
            continue
        source = _without_decorators(definition.source)
        found[name] = with_short_doc(plain_annotations(source, module))
        mentioned = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)} - {name}
        for one in sorted(mentioned):
            home = program.home_of(one, module_name)
            if home is not None:
                node = home.definitions[one].node
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    waiting[one] = home.name, one
                else:
                    value = file.evaluator.program.find(one, home, file.evaluator.evaluate_top)
                    file.program.constants[one] = value.value
    return found


def _without_decorators(source: str) -> str:
    """Return a definition without decorators that only keep results for later calls."""
    node = ast.parse(source).body[0]
    lines = source.split("\n")
    gone = {one.lineno - 1 for one in getattr(node, "decorator_list", []) if ast.unparse(one).startswith(KEEPING)}
    return "\n".join(line for i, line in enumerate(lines) if i not in gone)


def with_short_doc(source: str, indent: int = 0) -> str:
    """Return a definition with the first sentence of its docstring."""
    node = ast.parse(textwrap.dedent(source)).body[0]
    doc = ast.get_docstring(node)
    first = node.body[0]
    if not doc or first.lineno == first.end_lineno:
        return source
    lines = source.split("\n")
    return "\n".join([*lines[: first.lineno - 1], format_doc(shorten(doc), indent + 1), *lines[first.end_lineno :]])


def plain_annotations(source: str, module: Any) -> str:
    """Return a definition without annotations of shapes."""
    shapes = {name for name, one in module.imports.items() if one.module == SHAPES}
    tree = ast.parse(source)
    lines = source.split("\n")
    places = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            notes = [(arg.annotation, arg.col_offset + len(arg.arg)) for arg in arguments if arg.annotation]
            notes += [(node.returns, node.returns.col_offset - len(" -> "))] if node.returns else []
            for note, start in notes:
                names = {part.id for part in ast.walk(note) if isinstance(part, ast.Name)}
                if names & shapes:
                    places.append((note.lineno, start, note.end_col_offset))
    for line, start, end in sorted(places, reverse=True):
        lines[line - 1] = lines[line - 1][:start] + lines[line - 1][end:]
    return "\n".join(lines)


def imports_of(text: str, program: Program, modules: Iterable[str]) -> str:
    """Return the imports of a file with this text."""
    tree = ast.parse(text)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    found: dict[str, Reference] = {}
    for module in modules:
        for name, reference in program.module(module).imports.items():
            if name in used and name not in defined and not reference.module.startswith("star"):
                assert found.setdefault(name, reference) == reference, f"{name} has two meanings"
    return format_imports(found)


def unknown_names(text: str) -> set[str]:
    """Return names that a file reads and nothing defines."""
    tree = ast.parse(text)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    stored |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    stored |= {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler)
    }
    stored |= {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    return {name for name in used - stored if not hasattr(builtins, name) and name != "__file__"}
