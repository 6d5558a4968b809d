"""Partial evaluation of expressions."""

import ast
import operator
from dataclasses import is_dataclass
from typing import Any

from star.architecture.spec import Dimensions, FeatureGroup
from star.export.specialise import sizes
from star.export.specialise.program import Library, is_plain
from star.export.specialise.values import (
    Class,
    Function,
    Identity,
    Known,
    Map,
    Object,
    Seq,
    Unknown,
    Unsupported,
    Value,
)
from star.export.specialise.writer import is_cheap, literal

BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
}
COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
NEGATED = (ast.IsNot, ast.NotIn, ast.NotEq)


class Expressions:
    """Evaluation of expressions in a frame: the scope of a function, its module, and the writer of its rest."""

    def evaluate(self, node: ast.expr, frame) -> Value:
        """Return the value of an expression."""
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise Unsupported(f"{frame.module.name}: {ast.unparse(node)}")
        return method(node, frame)

    def evaluate_all(self, nodes: list[ast.expr], frame) -> list[Value]:
        """Evaluate expressions from left to right. What one of them writes follows the results of those before it."""
        found: list[Value] = []
        for node in nodes:
            writer = frame.writer
            block, length = writer.block, len(writer.block)
            value = self.evaluate(node, frame)
            if len(block) > length:
                late, block[length:] = block[length:], []
                found = [writer.bind(one, "part") for one in found]
                block.extend(late)
            found.append(value)
        return found

    def _constant(self, node, frame) -> Value:
        return Known(node.value)

    def _name(self, node, frame) -> Value:
        return frame.find(node.id, self)

    def _namedexpr(self, node, frame) -> Value:
        self.assign_target(node.target, self.evaluate(node.value, frame), frame)
        return frame.scope[node.target.id]

    def _tuple(self, node, frame) -> Value:
        return Seq(self._elements(node.elts, frame), is_tuple=True, depth=frame.writer.depth)

    def _list(self, node, frame) -> Value:
        return Seq(self._elements(node.elts, frame), depth=frame.writer.depth)

    def _elements(self, nodes: list[ast.expr], frame) -> list[Value]:
        found: list[Value] = []
        values = self.evaluate_all([node.value if isinstance(node, ast.Starred) else node for node in nodes], frame)
        for node, value in zip(nodes, values, strict=True):
            if not isinstance(node, ast.Starred):
                found.append(value)
            elif (items := self.items_of(value)) is not None:
                found += items
            else:
                found.append(Unknown(ast.Starred(self.to_expr(value))))
        return found

    def _dict(self, node, frame) -> Value:
        found: dict[Any, Value] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                spread = self.evaluate(value, frame)
                assert isinstance(spread, Map), ast.unparse(node)
                found |= spread.items
            else:
                found[self.to_python(self.evaluate(key, frame))] = self.evaluate(value, frame)
        return Map(found, frame.writer.depth)

    def _joinedstr(self, node, frame) -> Value:
        parts = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(part)
                continue
            value = self.evaluate(part.value, frame)
            if isinstance(value, Known) and part.format_spec is None and part.conversion == -1 and value.expr is None:
                parts.append(ast.Constant(str(value.value)))
            else:
                parts.append(ast.FormattedValue(self.to_expr(value), part.conversion, part.format_spec))
        if all(isinstance(part, ast.Constant) for part in parts):
            return Known("".join(part.value for part in parts))
        return Unknown(ast.JoinedStr(parts))

    def _lambda(self, node, frame) -> Value:
        return Function(node, frame.module, scope=frame.scope)

    def _attribute(self, node, frame) -> Value:
        return self.attribute(self.evaluate(node.value, frame), node.attr, frame)

    def attribute(self, value: Value, name: str, frame) -> Value:
        """Return an attribute of a value."""
        if isinstance(value, Object):
            return self._object_attribute(value, name, frame)
        if isinstance(value, Unknown):
            return Unknown(ast.Attribute(value.expr, name))
        if isinstance(value, Class) and name == "apply":
            return Unknown(ast.Attribute(self.to_expr(value), name))
        if isinstance(value, Library):
            return Library(getattr(value.value, name), ast.Attribute(value.expr, name))
        if isinstance(value, Known):
            found = getattr(value.value, name)
            if symbol := sizes.field_name(value.value, name):
                return self.size(symbol, found, frame)
            if is_plain(found) or isinstance(value.value, Dimensions | FeatureGroup):
                return Known(found)
            base = value.expr if not is_dataclass(value.value) else None
            return Known(found, ast.Attribute(base, name) if base is not None else None)
        raise Unsupported(f"attribute {name} of {value}")

    def _object_attribute(self, value: Object, name: str, frame) -> Value:
        if name in value.attributes:
            return value.attributes[name]
        if found := value.cls.method(name):
            node, home = found
            method = Function(node, home.module, receiver=value, home=home)
            is_property = any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list)
            return self.call(method, [], {}, frame) if is_property else method
        default = value.cls.fields().get(name)
        if default is not None:
            return self.evaluate(default, self.frame_of(value.cls.module, frame.writer))
        holder = value.file_class or value.owner
        if value.cls.is_module and holder is frame.writer.owner or getattr(value.file_class, "is_dynamic", False):
            return Unknown(ast.Attribute(ast.Name("self"), name))
        raise Unsupported(f"{value.cls.node.name} has no attribute {name}")

    def size(self, name: str, value: int, frame) -> Value:
        """Return a size as the exported file calls it."""
        if not value:
            return Known(value)
        if name == "head_dim" and value == self.dims.head_dim:
            name = "HEAD_DIM"
        if name == "d_model":
            name = "WIDTH"
        if name in sizes.SIZES:
            if getattr(self.dims, sizes.SIZES[name]) == value:
                return Known(value, ast.Name(name))
            name = sizes.SIZES[name]
        owner = frame.writer.owner
        return Known(value, owner.symbol(name, value)) if owner is not None and owner.has_symbols else Known(value)

    def _subscript(self, node, frame) -> Value:
        value = self.evaluate(node.value, frame)
        if isinstance(value, Map):
            return value.items[self.to_python(self.evaluate(node.slice, frame))]
        if isinstance(value, Seq):
            index = self.index_of(node.slice, frame)
            if isinstance(index, slice):
                return Seq(value.items[index], value.is_tuple, frame.writer.depth)
            if index is not None:
                return value.items[index]
            raise Unsupported(f"an index that is not known: {ast.unparse(node)}")
        if isinstance(value, Known) and not isinstance(node.slice, ast.Slice):
            key = self.evaluate(node.slice, frame)
            if not isinstance(key, Unknown):
                return Known(value.value[self.to_python(key)])
        return Unknown(ast.Subscript(self.to_expr(value), self._slice_expr(node.slice, frame)))

    def index_of(self, node: ast.expr, frame) -> Any:
        """Return a known index or slice; None if it is not known."""
        if isinstance(node, ast.Slice):
            parts = [self.evaluate(one, frame) if one else Known(None) for one in (node.lower, node.upper, node.step)]
            return slice(*(self.to_python(part) for part in parts))
        value = self.evaluate(node, frame)
        return value.value if isinstance(value, Known) else None

    def _slice_expr(self, node: ast.expr, frame) -> ast.expr:
        if isinstance(node, ast.Slice):
            parts = (
                self.to_expr(self.evaluate(one, frame)) if one else None for one in (node.lower, node.upper, node.step)
            )
            return ast.Slice(*parts)
        if isinstance(node, ast.Tuple):
            return ast.Tuple([self._slice_expr(one, frame) for one in node.elts], ast.Load())
        return self.to_expr(self.evaluate(node, frame))

    def _unaryop(self, node, frame) -> Value:
        if isinstance(node.op, ast.Not):
            frame.tests.add(id(node.operand))
        value = self.evaluate(node.operand, frame)
        if isinstance(node.op, ast.Not):
            truth = self.truth(value)
            return Known(not truth) if truth is not None else Unknown(ast.UnaryOp(ast.Not(), self.to_expr(value)))
        if isinstance(value, Known) and not isinstance(value, Library):
            known = -value.value if isinstance(node.op, ast.USub) else ~value.value
            return Known(known, ast.UnaryOp(node.op, value.expr) if value.expr else None)
        return Unknown(ast.UnaryOp(node.op, self.to_expr(value)))

    def _binop(self, node, frame) -> Value:
        left, right = self.evaluate_all([node.left, node.right], frame)
        return self.binary(node.op, left, right, frame)

    def binary(self, op: ast.operator, left: Value, right: Value, frame) -> Value:
        """Return the result of an operator."""
        if isinstance(left, Map) and isinstance(right, Map):
            return Map(left.items | right.items, frame.writer.depth)
        if isinstance(left, Seq) and isinstance(right, Seq):
            return Seq(left.items + right.items, left.is_tuple, frame.writer.depth)
        if isinstance(left, Seq) and isinstance(right, Known) and isinstance(op, ast.Mult):
            return Seq(left.items * right.value, left.is_tuple, frame.writer.depth)
        if isinstance(left, Known) and isinstance(right, Known):
            value = BINARY[type(op)](left.value, right.value)
            if left.expr is None and right.expr is None:
                return Known(value)
            if isinstance(op, ast.Div) and left.expr and right.expr and ast.dump(left.expr) == ast.dump(right.expr):
                return Known(value)
            return Known(value, _simplify(op, left, right))
        is_ratio = isinstance(left, Unknown) and isinstance(left.expr, ast.BinOp) and isinstance(left.expr.op, ast.Div)
        if is_ratio and isinstance(op, ast.Mult) and isinstance(right, Known) and right.value == 1:
            return left  # it is no integer
        return Unknown(ast.BinOp(self.to_expr(left), op, self.to_expr(right)))

    def _boolop(self, node, frame) -> Value:
        is_and = isinstance(node.op, ast.And)
        is_test = frame.is_test(node)
        rest: list[ast.expr] = []
        for i, part in enumerate(node.values):
            if is_test:
                frame.tests.add(id(part))
            value = self.evaluate(part, frame)
            truth = self.truth(value)
            if truth is None:
                rest.append(self.to_expr(value))
                continue
            if truth is is_and and (i < len(node.values) - 1 or is_test and rest):
                continue  # it decides nothing
            if not rest:
                return value
            if truth is not is_and and is_test:
                return Known(truth)
            rest.append(self.to_expr(value))
            break
        return Unknown(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))

    def _compare(self, node, frame) -> Value:
        values = self.evaluate_all([node.left, *node.comparators], frame)
        found = [self._compare_two(op, *pair) for op, *pair in zip(node.ops, values, values[1:], strict=False)]
        if all(isinstance(one, bool) for one in found):
            return Known(all(found))
        if False in found:
            return Known(False)
        exprs = [self.to_expr(value) for value in values]
        return Unknown(ast.Compare(exprs[0], node.ops, exprs[1:]))

    def _compare_two(self, op: ast.cmpop, left: Value, right: Value) -> bool | None:
        """Return the result of one comparison, None if it is not known."""
        if isinstance(op, ast.In | ast.NotIn):
            if isinstance(right, Seq | Map) and not right.items:
                return isinstance(op, ast.NotIn)
            if isinstance(left, Unknown) or isinstance(right, Unknown):
                return None
            if isinstance(right, Seq) and not self._is_known(right):
                return None
            if isinstance(right, Map):
                found = self.to_python(left) in right.items
            elif isinstance(right, Seq):
                found = self.to_python(left) in [self.to_python(one) for one in right.items]
            elif isinstance(right, Known) and isinstance(left, Known):
                found = left.value in right.value
            else:
                raise Unsupported("membership")
            return found is isinstance(op, ast.In)
        nothing = [one for one in (left, right) if isinstance(one, Known) and one.value is None]
        if isinstance(op, ast.Is | ast.IsNot) and nothing:
            other = right if left is nothing[0] else left
            if isinstance(other, Unknown) and other.maybe_none:
                return None
            is_none = isinstance(other, Known) and other.value is None
            return is_none is isinstance(op, ast.Is)
        if isinstance(left, Known) and isinstance(right, Known):
            return COMPARE[type(op)](left.value, right.value)
        return None

    def _ifexp(self, node, frame) -> Value:
        truth, test = self.test(node.test, frame)
        if truth is not None:
            return self.evaluate(node.body if truth else node.orelse, frame)
        writer = frame.writer
        block, values, written = writer.block, [], []
        for part in (node.body, node.orelse):
            writer.block = []
            writer.depth += 1
            values.append(self.evaluate(part, frame))
            written.append(writer.block)
            writer.depth -= 1
        writer.block = block
        if any(written):
            return self.join_values(test, values, written, "found", frame)
        return self.choose(test, *values)

    def choose(self, test: ast.expr, body: Value, orelse: Value) -> Value:
        """Return one of two values by a test that is not known."""
        exprs = self.to_expr(body), self.to_expr(orelse)
        if ast.dump(exprs[0]) == ast.dump(exprs[1]):
            return body
        maybe_none = any(
            isinstance(one, Known) and one.value is None or isinstance(one, Unknown) and one.maybe_none
            for one in (body, orelse)
        )
        return Unknown(ast.IfExp(test, *exprs), maybe_none)

    def test(self, node: ast.expr, frame) -> tuple[bool | None, ast.expr]:
        """Return whether a condition holds, None if that is not known, and the expression of it."""
        frame.tests.add(id(node))
        value = self.evaluate(node, frame)
        truth = self.truth(value)
        return truth, ast.Constant(truth) if truth is not None else self.to_expr(value)

    def truth(self, value: Value) -> bool | None:
        """Return the truth of a value, None if it is not known."""
        if isinstance(value, Unknown):
            return None
        if isinstance(value, Known):
            return bool(value.value)
        return bool(value.items) if isinstance(value, Seq | Map) else True

    def items_of(self, value: Value) -> list[Value] | None:
        """Return the elements of a value, None if they are not known."""
        if isinstance(value, Seq):
            return value.items
        if isinstance(value, Map):
            return [Known(key) for key in value.items]
        if isinstance(value, Known) and isinstance(value.value, str | tuple | list | range | set | dict):
            if value.expr is not None and isinstance(value.value, range):
                return None
            if value.expr is not None:  # keeps literals as they are written
                return [Known(one, literal(one) if is_plain(one) else None) for one in value.value]
            return [Known(one) for one in value.value]
        return None

    def _listcomp(self, node, frame) -> Value:
        return self._comprehension(node, frame, ast.ListComp)

    def _generatorexp(self, node, frame) -> Value:
        return self._comprehension(node, frame, ast.GeneratorExp)

    def _setcomp(self, node, frame) -> Value:
        found = self._comprehension(node, frame, ast.SetComp)
        return Known({self.to_python(one) for one in found.items})

    def _dictcomp(self, node, frame) -> Value:
        pairs = self._unrolled(ast.Tuple([node.key, node.value], ast.Load()), node.generators, frame)
        if pairs is None:
            inner, generators = self._open(node.generators, frame)
            key, value = (self.to_expr(self.evaluate(one, inner)) for one in (node.key, node.value))
            return Unknown(ast.DictComp(key, value, generators))
        return Map({self.to_python(pair.items[0]): pair.items[1] for pair in pairs}, frame.writer.depth)

    def _comprehension(self, node, frame, kind) -> Value:
        items = self._unrolled(node.elt, node.generators, frame)
        if items is not None:
            return Seq(items, kind is ast.GeneratorExp, frame.writer.depth)
        inner, generators = self._open(node.generators, frame)
        length = len(frame.writer.block)
        elt = self.to_expr(self.evaluate(node.elt, inner))
        if len(frame.writer.block) != length:
            raise Unsupported(f"statements in {ast.unparse(node)}")
        return Unknown(kind(elt, generators))

    def _open(self, generators: list[ast.comprehension], frame):
        """Return a frame and generators for a comprehension that runs when the model runs."""
        inner, found = frame.nested(), []
        for one in generators:
            items = self.to_expr(self.evaluate(one.iter, inner))
            target = self.open_target(one.target, inner)
            tests = [self.to_expr(self.evaluate(test, inner)) for test in one.ifs]
            found.append(ast.comprehension(target, items, tests, 0))
        return inner, found

    def _unrolled(self, elt: ast.expr, generators: list[ast.comprehension], frame) -> list[Value] | None:
        """Return all elements of a comprehension over known items; None if the items are not known."""
        if not generators:
            return [self.evaluate(elt, frame)]
        first, *rest = generators
        items = self.items_of(self.evaluate(first.iter, frame))
        if items is None:
            return None
        found: list[Value] = []
        for item in items:
            inner = frame.nested()
            self.assign_target(first.target, item, inner)
            truths = [self.truth(self.evaluate(test, inner)) for test in first.ifs]
            if None in truths:
                return None
            if all(truths):
                more = self._unrolled(elt, rest, inner)
                if more is None:
                    return None
                found += more
        return found

    def to_python(self, value: Value) -> Any:
        """Return a value as a Python object."""
        if isinstance(value, Known):
            return value.value
        if isinstance(value, Seq):
            items = [self.to_python(one) for one in value.items]
            return tuple(items) if value.is_tuple else items
        if isinstance(value, Map):
            return {key: self.to_python(one) for key, one in value.items.items()}
        if isinstance(value, Object | Class):
            return value
        raise Unsupported(f"{value} is not known")

    def to_expr(self, value: Value) -> ast.expr:
        """Return the expression of a value in the exported file."""
        if isinstance(value, Unknown):
            return value.expr
        if isinstance(value, Known):
            if value.expr is not None:
                return value.expr
            return literal(self.renamed(value.value))
        if isinstance(value, Seq):
            items = [self.to_expr(one) for one in value.items]
            return ast.Tuple(items, ast.Load()) if value.is_tuple else ast.List(items, ast.Load())
        if isinstance(value, Map):
            keys = [literal(self.renamed(key)) for key in value.items]
            return ast.Dict(keys, [self.to_expr(one) for one in value.items.values()])
        if isinstance(value, Object):
            return self.object_expr(value)
        if isinstance(value, Function):
            return self.function_expr(value)
        if isinstance(value, Class):
            return self.request(value.node.name, value.module)
        raise Unsupported(f"no expression for {value}")

    def to_identity(self, value: Value) -> bool:
        """Return whether a module changes nothing."""
        return isinstance(value, Identity)


def _simplify(op: ast.operator, left: Known, right: Known) -> ast.expr:
    exprs = left.expr or literal(left.value), right.expr or literal(right.value)
    if isinstance(op, ast.Mult):
        if type(left.value) is int and left.value == 1 and left.expr is None:
            return exprs[1]
        if type(right.value) is int and right.value == 1 and right.expr is None:
            return exprs[0]
    if isinstance(op, ast.FloorDiv) and right.value == 1 and right.expr is None:
        return exprs[0]
    if isinstance(op, ast.Add) and type(left.value) is int and left.value == 0 and left.expr is None:
        return exprs[1]
    is_product = isinstance(exprs[0], ast.BinOp) and isinstance(exprs[0].op, ast.Mult)
    is_quotient = isinstance(op, ast.FloorDiv) and is_product and is_cheap(exprs[1])
    if is_quotient and ast.dump(exprs[0].right) == ast.dump(exprs[1]):
        return exprs[0].left
    return ast.BinOp(exprs[0], op, exprs[1])
