"""Partial evaluation of statements: what is decided is taken, what is not is written."""

import ast
from dataclasses import dataclass, field
from typing import Any

from star.export.source import Module
from star.export.specialise.tidy import rename
from star.export.specialise.values import (
    Class,
    Function,
    Known,
    Map,
    Object,
    Seq,
    Unknown,
    Unsupported,
    Value,
)
from star.export.specialise.writer import FIXED, Writer, assign, fresh, is_atomic, is_method_of_cache, is_other

MUTATING = ("append", "extend", "clear", "add", "insert", "setdefault", "update", "pop")


class Never(Value):
    """Result of a block that raises an error."""


@dataclass
class Frame:
    """A function while it is evaluated.

    Attributes:
        scope: its local variables.
        outer: those of the function that it is defined in.
        is_written: whether it is a function of the exported file, rather than one that is put in place of its call.
        pinned: variables that loops and branches assign, each with its name in the exported file.
        tests: identities of expressions of which only the truth matters.
    """

    module: Module
    writer: Writer
    scope: dict[str, Value]
    outer: dict[str, Value] | None = None
    home: Class | None = None
    receiver: Value | None = None
    is_written: bool = False
    depth: int = 0
    pinned: dict[str, str] = field(default_factory=dict)
    tests: set[int] = field(default_factory=set)

    def find(self, name: str, evaluator: Any) -> Value:
        """Return what a name stands for."""
        if name in self.scope:
            return self.scope[name]
        if self.outer is not None and name in self.outer:
            return self.outer[name]
        return evaluator.program.find(name, self.module, evaluator.evaluate_top)

    def nested(self) -> "Frame":
        """Return a frame for a comprehension inside this one."""
        return Frame(
            self.module, self.writer, dict(self.scope), self.outer, self.home, self.receiver, False, self.depth
        )

    def is_test(self, node: ast.expr) -> bool:
        """Return whether only the truth of an expression matters."""
        return id(node) in self.tests


class Statements:
    """Evaluation of blocks."""

    def run(self, body: list[ast.stmt], frame: Frame) -> Value | None:
        """Evaluate statements. Return what they return, None if they come to their end."""
        for i, node in enumerate(body):
            if isinstance(node, ast.If):
                truth, test = self.test(node.test, frame)
                if truth is not None:
                    chosen = node.body if truth else node.orelse
                    if _leaves(chosen):
                        return self.run(chosen + body[i + 1 :], frame)
                    found = self.run(chosen, frame)
                elif _leaves(node.body) or _leaves(node.orelse):
                    return self._part_ways(test, node, body[i + 1 :], frame)
                else:
                    found = self._branch(test, node, frame)
            elif isinstance(node, ast.Match):
                return self.run(self._case(node, frame) + body[i + 1 :], frame)
            else:
                found = self._one(node, frame)
            if found is not None:
                return found
        return None

    def _one(self, node: ast.stmt, frame: Frame) -> Value | None:
        match node:
            case ast.Return():
                return self.evaluate(node.value, frame) if node.value else Known(None)
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                return None
            case ast.Expr():
                value = self.evaluate(node.value, frame)
                if isinstance(value, Unknown) and not isinstance(value.expr, ast.Constant):
                    frame.writer.emit(ast.Expr(value.expr))
                return None
            case ast.Assign(targets=[target]):
                self._assign(target, node.value, frame)
                return None
            case ast.Assign():
                value = self.evaluate(node.value, frame)
                for target in node.targets:
                    self.assign_target(target, value, frame)
                return None
            case ast.AnnAssign():
                if node.value:
                    self._assign(node.target, node.value, frame)
                return None
            case ast.AugAssign():
                self._augment(node, frame)
                return None
            case ast.For():
                return self._for(node, frame)
            case ast.With():
                return self._with(node, frame)
            case ast.Raise():
                call = self.to_expr(self.evaluate(node.exc, frame))
                frame.writer.emit(ast.Raise(call))
                return Never()
        raise Unsupported(f"{frame.module.name}, line {node.lineno}: {ast.unparse(node)}")

    def _assign(self, target: ast.expr, node: ast.expr, frame: Frame) -> None:
        if isinstance(target, ast.Tuple) and isinstance(node, ast.Tuple | ast.GeneratorExp):
            return self._assign_together(target, node, frame)
        self.assign_target(target, self.evaluate(node, frame), frame)

    def _assign_together(self, target: ast.Tuple, node: ast.expr, frame: Frame) -> None:
        """Assign several values by one statement, as the source does, unless they are names or known."""
        value = self.evaluate(node, frame)
        items = self.items_of(value)
        names = [part.id for part in target.elts if isinstance(part, ast.Name)]
        if items is None or len(names) != len(items) or any(name in frame.pinned for name in names):
            return self.assign_target(target, value, frame)
        together = [
            (name, item)
            for name, item in zip(names, items, strict=True)
            if isinstance(item, Unknown) and not is_atomic(item.expr)
        ]
        for name, item in zip(names, items, strict=True):
            frame.scope[name] = item
        if len(together) == 1 or frame.depth:
            for name, item in together:
                frame.scope[name] = frame.writer.bind(item, name, False)
        elif together:
            targets = [ast.Name(fresh(name)) for name, _ in together]
            values = [item.expr for _, item in together]
            frame.writer.emit(assign(ast.Tuple(targets, ast.Store()), ast.Tuple(values, ast.Load())))
            for (name, item), one in zip(together, targets, strict=True):
                frame.scope[name] = Unknown(one, item.maybe_none)
        return None

    def assign_target(self, target: ast.expr, value: Value, frame: Frame) -> None:
        """Assign a value to a name, a tuple of them, an attribute or an element."""
        match target:
            case ast.Name(id=name):
                self._assign_name(name, value, frame)
            case ast.Tuple(elts=parts):
                self._unpack(parts, value, frame)
            case ast.Attribute():
                self.set_attribute(self.evaluate(target.value, frame), target.attr, value, frame)
            case ast.Subscript():
                holder = self.evaluate(target.value, frame)
                if isinstance(holder, Map):
                    self.check_mutable(holder, frame)
                    key = self.to_python(self.evaluate(target.slice, frame))
                    value = holder.items[key] = frame.writer.bind(value, self.hint_of(key))
                    hint = self.hint_of(key)
                    fixed = self.is_fixed(frame)
                    if fixed and isinstance(value, Object) and value.cls.is_a("NamedTuple"):
                        value = Unknown(self.to_expr(value))
                        value = holder.items[key] = frame.writer.bind(value, self.hint_of(key))
                    if (
                        isinstance(value, Unknown)
                        and isinstance(value.expr, ast.Name)
                        and (fixed or is_other(value.expr, hint))
                    ):
                        new = ast.Name(fresh(hint, not fixed) + (FIXED if fixed else ""))
                        frame.writer.emit(assign(new, value.expr))
                        value = holder.items[key] = Unknown(new, value.maybe_none)
                    self.stored_element(holder, key, value, frame)
                elif isinstance(holder, Unknown):
                    place = ast.Subscript(holder.expr, self._slice_expr(target.slice, frame))
                    frame.writer.emit(assign(place, self.to_expr(value)))
                else:
                    raise Unsupported(ast.unparse(target))
            case _:
                raise Unsupported(ast.unparse(target))

    def _assign_name(self, name: str, value: Value, frame: Frame) -> None:
        if name in frame.pinned:
            frame.writer.emit(assign(ast.Name(frame.pinned[name]), self.to_expr(value)))
            frame.scope[name] = Unknown(ast.Name(frame.pinned[name]), _maybe_none(value))
            return
        if isinstance(value, Unknown) and (is_atomic(value.expr) or is_method_of_cache(value.expr)):
            frame.scope[name] = value
        elif isinstance(value, Unknown):
            new = fresh(name)
            frame.writer.emit(assign(ast.Name(new), value.expr))
            frame.scope[name] = Unknown(ast.Name(new), value.maybe_none)
        else:
            frame.scope[name] = frame.writer.bind(value, name)

    def _unpack(self, parts: list[ast.expr], value: Value, frame: Frame) -> None:
        items = self.items_of(value)
        if items is not None:
            if len(items) != len(parts):
                raise Unsupported(f"{len(items)} values for {len(parts)} names")
            for part, item in zip(
                parts,
                [frame.writer.bind(item, self._hint(part)) for part, item in zip(parts, items, strict=True)],
                strict=True,
            ):
                self.assign_target(part, item, frame)
            return
        targets = []
        for part in parts:
            if not isinstance(part, ast.Name):
                raise Unsupported(ast.unparse(part))
            name = frame.pinned.get(part.id) or fresh(part.id)
            if part.id == "_":
                name = "_"
            targets.append(ast.Name(name))
            frame.scope[part.id] = Unknown(ast.Name(name), _maybe_none(value))
        frame.writer.emit(assign(ast.Tuple(targets, ast.Store()), self.to_expr(value)))

    def _hint(self, part: ast.expr) -> str:
        return part.id if isinstance(part, ast.Name) else "part"

    def open_target(self, target: ast.expr, frame: Frame) -> ast.expr:
        """Return the target of a loop that runs when the model runs, with new names."""
        if isinstance(target, ast.Tuple):
            return ast.Tuple([self.open_target(part, frame) for part in target.elts], ast.Store())
        assert isinstance(target, ast.Name), ast.unparse(target)
        name = target.id if target.id == "_" else fresh(target.id)
        frame.scope[target.id] = Unknown(ast.Name(name))
        return ast.Name(name)

    def _augment(self, node: ast.AugAssign, frame: Frame) -> None:
        if isinstance(node.target, ast.Name):
            before = frame.find(node.target.id, self)
            if not isinstance(before, Unknown):
                value = self.binary(node.op, before, self.evaluate(node.value, frame), frame)
                return self._assign_name(node.target.id, value, frame)
            value = self.evaluate(node.value, frame)
            before = frame.writer.bind(before, node.target.id, False)
            frame.scope[node.target.id] = before
            frame.writer.emit(ast.AugAssign(before.expr, node.op, self.to_expr(value)))
            return None
        place = self.evaluate(node.target, frame)
        if not isinstance(place, Unknown):
            raise Unsupported(ast.unparse(node))
        frame.writer.emit(ast.AugAssign(place.expr, node.op, self.to_expr(self.evaluate(node.value, frame))))
        return None

    def check_mutable(self, holder: Seq | Map, frame: Frame) -> None:
        """Refuse a change of a known collection in a branch or loop that may not run."""
        if frame.writer.depth > holder.depth:
            raise Unsupported(f"a collection of {frame.module.name} changes in a branch that is not decided")

    def _for(self, node: ast.For, frame: Frame) -> Value | None:
        value = self.evaluate(node.iter, frame)
        items = self.items_of(value)
        if items is None:
            return self._open_for(node, value, frame)
        if frame.writer.rolls and items:
            return self.unrolled_slots(node, items, frame)
        if _leaves(node.body):
            raise Unsupported(f"{frame.module.name}: {ast.unparse(node)}")
        for item in items:
            self.assign_target(node.target, item, frame)
            self.run(node.body, frame)
        return None

    def _open_for(self, node: ast.For, value: Value, frame: Frame) -> None:
        if _leaves(node.body) or node.orelse:
            raise Unsupported(f"{frame.module.name}: {ast.unparse(node)}")
        before = dict(frame.pinned)
        self._pin(node.body, frame)
        target = self.open_target(node.target, frame)
        writer, block = frame.writer, frame.writer.block
        items = self.to_expr(value)
        writer.block, writer.depth = [], writer.depth + 1
        found = self.run(node.body, frame)
        assert found is None
        body, writer.block, writer.depth = writer.block, block, writer.depth - 1
        frame.pinned = before
        writer.emit(ast.For(target, items, body or [ast.Pass()], [], lineno=0))

    def _pin(self, body: list[ast.stmt], frame: Frame) -> None:
        """Give every variable that a loop changes one name, and assign its value before the loop."""
        for name in sorted(_assigned(body) | _mutated(body)):
            if name not in frame.scope or name in frame.pinned:
                continue
            value = frame.scope[name]
            new = fresh(name)
            frame.writer.emit(assign(ast.Name(new), self.to_expr(value)))
            frame.scope[name] = Unknown(ast.Name(new), _maybe_none(value))
            if name in _assigned(body):
                frame.pinned[name] = new

    def _branch(self, test: ast.expr, node: ast.If, frame: Frame) -> None:
        """Evaluate both branches of a condition that is not known, and join what they assign."""
        writer, block, before = frame.writer, frame.writer.block, dict(frame.scope)
        for name in sorted(_mutated(node.body + node.orelse)):
            if isinstance(frame.scope.get(name), Seq | Map):
                self._pin_collection(name, frame)
                before = dict(frame.scope)
        written, scopes = [], []
        for body in (node.body, node.orelse):
            writer.block, writer.depth, frame.scope = [], writer.depth + 1, dict(before)
            found = self.run(body, frame)
            assert found is None
            written.append(writer.block)
            scopes.append(frame.scope)
            writer.block, writer.depth = block, writer.depth - 1
        frame.scope = before
        for name in sorted(_assigned(node.body + node.orelse)):
            first, second = (scope.get(name) for scope in scopes)
            if first is None or second is None or first is second or name in frame.pinned:
                if first is not None or second is not None:
                    frame.scope[name] = first or second
                continue
            new = ast.Name(fresh(name))
            for value, part in ((first, written[0]), (second, written[1])):
                expr = self.to_expr(value)
                if isinstance(expr, ast.Name) and rename(part, expr.id, new.id):
                    for scope in scopes:
                        for key, one in scope.items():
                            if isinstance(one, Unknown) and isinstance(one.expr, ast.Name) and one.expr.id == expr.id:
                                scope[key] = Unknown(new, one.maybe_none)
                else:
                    part.append(assign(new, expr))
            frame.scope[name] = Unknown(new, _maybe_none(first) or _maybe_none(second))
        if any(written):
            writer.emit(_condition(test, *written))

    def _pin_collection(self, name: str, frame: Frame) -> None:
        new = fresh(name)
        frame.writer.emit(assign(ast.Name(new), self.to_expr(frame.scope[name])))
        frame.scope[name] = Unknown(ast.Name(new))

    def _part_ways(self, test: ast.expr, node: ast.If, rest: list[ast.stmt], frame: Frame) -> Value:
        """Evaluate a condition of which a branch returns: the rest follows each branch that does not."""
        writer, block, before = frame.writer, frame.writer.block, dict(frame.scope)
        written, found = [], []
        is_error = _raises(node.body) and not node.orelse
        for body in (node.body + rest, node.orelse + rest):
            writer.block, frame.scope = [], dict(before)
            writer.depth += not (is_error and found)
            value = self.run(body, frame)
            found.append(Known(None) if value is None else value)
            written.append(writer.block)
            writer.depth -= not (is_error and len(found) == 2)
        writer.block = block
        first, second = found
        if isinstance(first, Never):
            writer.emit(ast.If(test, written[0], []))
            block.extend(written[1])
            return second
        if frame.is_written:
            written[0].append(ast.Return(self.to_expr(first)))
            writer.emit(ast.If(test, written[0], []))
            block.extend(written[1])
            return second
        return self.join_values(test, found, written, "found", frame)

    def join_values(self, test: ast.expr, values: list[Value], written: list, hint: str, frame: Frame) -> Value:
        """Return the value of an undecided branch whose sides have written statements."""
        if not any(written):
            return self.choose(test, *values)
        if all(isinstance(value, Known) and value.value is None for value in values):
            frame.writer.emit(_condition(test, *written))
            return Known(None)
        if all(isinstance(value, Seq) for value in values) and len({len(value.items) for value in values}) == 1:
            new = ast.Name(fresh(hint, True))
            joined = [Unknown(ast.Name(fresh(hint))) for _ in values[0].items]
            targets = ast.Tuple([one.expr for one in joined], ast.Store())
            for value, part in zip(values, written, strict=True):
                part.append(assign(targets, self.to_expr(value)))
            frame.writer.emit(_condition(test, *written))
            return Seq(joined, is_tuple=True, depth=frame.writer.depth)
        new = ast.Name(fresh(hint))
        for value, part in zip(values, written, strict=True):
            part.append(assign(new, self.to_expr(value)))
        frame.writer.emit(_condition(test, *written))
        return Unknown(new, any(map(_maybe_none, values)))

    def _with(self, node: ast.With, frame: Frame) -> Value | None:
        items = [ast.withitem(self.to_expr(self.evaluate(one.context_expr, frame))) for one in node.items]
        writer, block = frame.writer, frame.writer.block
        if _leaves(node.body):
            raise Unsupported(f"{frame.module.name}: {ast.unparse(node)}")
        writer.block = []
        found = self.run(node.body, frame)
        body, writer.block = writer.block, block
        if body:
            writer.emit(ast.With(items, body, lineno=0))
        return found

    def _case(self, node: ast.Match, frame: Frame) -> list[ast.stmt]:
        """Return the statements of the case that is taken."""
        subject = self.to_python(self.evaluate(node.subject, frame))
        for case in node.cases:
            match case.pattern:
                case ast.MatchValue(value=value):
                    if subject == self.to_python(self.evaluate(value, frame)):
                        return case.body
                case ast.MatchAs(pattern=None):
                    return case.body
                case _:
                    raise Unsupported(ast.unparse(node))
        return []


def _condition(test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> ast.If:
    if not body:
        return ast.If(ast.UnaryOp(ast.Not(), test), orelse, [])
    return ast.If(test, body, orelse)


def _maybe_none(value: Value) -> bool:
    return isinstance(value, Known) and value.value is None or isinstance(value, Unknown) and value.maybe_none


def _walk(body: list[ast.stmt]):
    for node in body:
        yield from ast.walk(node)


def _leaves(body: list[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Return | ast.Raise | ast.Break | ast.Continue) for node in _walk(body))


def _raises(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Raise)


def _assigned(body: list[ast.stmt]) -> set[str]:
    """Return the names that statements assign, those of comprehensions aside."""
    inside = {
        name.id
        for node in _walk(body)
        if isinstance(node, ast.comprehension)
        for name in ast.walk(node.target)
        if isinstance(name, ast.Name)
    }
    stored = [node for node in _walk(body) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return {node.id for node in stored} - inside


def _mutated(body: list[ast.stmt]) -> set[str]:
    """Return the names of collections that statements change in place."""
    found = set()
    for node in _walk(body):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in MUTATING:
                found.add(name)
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name))]):
                found.add(name)
    return found


__all__ = ["Frame", "Function", "Object", "Statements"]
