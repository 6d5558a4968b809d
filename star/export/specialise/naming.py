"""Names of the variables of one function: those of the source, numbered where two are needed at once."""

import ast
import re
from collections.abc import Iterator

from star.export.specialise.tidy import is_variable
from star.export.specialise.writer import MARK


def name_variables(body: list[ast.stmt], params: list[str], reserved: set[str] = frozenset()) -> dict[str, str]:
    """Return the name of every variable. Two of them share a name only if one is not read after the other is set."""
    spans = _Spans(params)
    spans.visit_block(body)
    names: dict[str, str] = {}
    taken: dict[str, list[tuple[float, float]]] = {}
    plain = {node.id for one in body for node in ast.walk(one) if isinstance(node, ast.Name) and not is_variable(node)}
    plain |= set(reserved)
    for variable, (first, last) in sorted(spans.found.items(), key=lambda item: item[1][0]):
        hint = variable.split(MARK)[0]
        for name in _numbered(hint):
            spans_of_name = taken.setdefault(name, [])
            if name not in plain and not any(max(first, a) < min(last, b) for a, b in spans_of_name):
                spans_of_name.append((first, last))
                names[variable] = name
                break
    return names


def _numbered(hint: str) -> Iterator[str]:
    yield hint
    number = 2
    base = re.sub(r"_\d+$", "", hint)
    while True:
        yield f"{base}_{number}"
        number += 1


class _Spans:
    """From where to where in the order of statements each variable holds a value that is still read."""

    def __init__(self, params: list[str]) -> None:
        self.found: dict[str, tuple[float, float]] = {one: (-1 + i * 1e-6, -0.5) for i, one in enumerate(params)}
        self.now = 0

    def visit_block(self, body: list[ast.stmt]) -> None:
        for node in body:
            self.now += 1
            match node:
                case ast.For():
                    self._read(node.iter)
                    start = self.now
                    self._set(node.target)
                    known = dict(self.found)
                    self.visit_block(node.body)
                    self.now += 1
                    for name in sorted(_names(node)):  # what is read again in the next round lives to the end
                        if name in known and self.found[name][1] > start:
                            self.found[name] = (self.found[name][0], self.now + 0.5)
                    for name in {one.id for one in ast.walk(node.target) if is_variable(one)}:
                        self.found[name] = (self.found[name][0], self.now + 0.5)
                case ast.If():
                    self._read(node.test)
                    self.visit_block(node.body)
                    self.visit_block(node.orelse)
                case ast.With():
                    for item in node.items:
                        self._read(item.context_expr)
                    self.visit_block(node.body)
                case ast.Assign():
                    self._read(node.value)
                    for target in node.targets:
                        self._set(target)
                case _:
                    self._read(node)

    def _set(self, target: ast.expr) -> None:
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        for part in parts:
            if not is_variable(part):
                self._read(part)
                continue
            first, last = self.found.get(part.id, (self.now, self.now))
            self.found[part.id] = (first, max(last, self.now + 0.5))

    def _read(self, node: ast.AST) -> None:
        inside = {
            name.id
            for one in ast.walk(node)
            if isinstance(one, ast.comprehension)
            for name in ast.walk(one.target)
            if is_variable(name)
        }
        for name in sorted(_names(node)):
            if name in inside:
                self.found[name] = (self.now - 0.5, self.now + 0.5)
                continue
            first, last = self.found.get(name, (-2, self.now))
            self.found[name] = (first, max(last, self.now))


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if is_variable(one)}


class Renamed(ast.NodeTransformer):
    """Replaces variables by their names."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.names.get(node.id, node.id))
