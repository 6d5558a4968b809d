"""The loop over the slots of a model: written once where slots repeat, else slot after slot."""

import ast

from star.export.specialise.statements import Frame
from star.export.specialise.tidy import tidy
from star.export.specialise.values import Attribute, Known, Seq, Unknown, Unsupported, Value, copy_tree
from star.export.specialise.writer import fresh


class Loops:
    """Evaluation of the loop over slots."""

    def unrolled_slots(self, node: ast.For, items: list[Value], frame: Frame) -> Value | None:
        """Evaluate the loop for every slot, then write what repeats as a loop."""
        writer, block = frame.writer, frame.writer.block
        rounds: list[list[ast.stmt]] = []
        starts: list[dict[str, str]] = []
        for i, item in enumerate(items):
            starts.append(_variables(frame))
            writer.block = []
            self.is_needed = i in self.sources
            self.assign_target(node.target, _marked(item), frame)
            found = self.run(node.body, frame)
            if found is not None:
                raise Unsupported("a slot that returns")
            rounds.append(writer.block)
        ends = _variables(frame)
        writer.block = block
        for period in range(1, len(items) // 2 + 1):
            if len(items) % period == 0:
                loop = _rolled(rounds, [*starts, ends], period)
                if loop is not None:
                    before, statement, after = loop
                    block.extend(before)
                    block.append(statement)
                    for name, variable in after.items():
                        frame.scope[name] = Unknown(ast.Name(variable))
                    return None
        for one in rounds:
            block.extend(one)
        return None


def _marked(item: Value) -> Value:
    """Return the number of a slot and the slot, so that the number is known in expressions."""
    number, layer = item.items
    return Seq([Known(number.value, ast.Constant(number.value, kind="index")), layer], is_tuple=True)


def _variables(frame: Frame) -> dict[str, str]:
    return {
        name: value.expr.id
        for name, value in frame.scope.items()
        if isinstance(value, Unknown) and isinstance(value.expr, ast.Name)
    }


def _rolled(rounds: list[list[ast.stmt]], bounds: list[dict[str, str]], period: int):
    """Return statements before a loop, the loop and the variables after it; None if the rounds differ."""
    count = len(rounds) // period
    groups = [sum(rounds[i * period : (i + 1) * period], []) for i in range(count)]
    starts, ends = bounds[: len(rounds) : period], [*bounds[period::period]]
    ends = [bounds[(i + 1) * period] for i in range(count)]
    groups = [tidy(group + _uses(end), [], False) for group, end in zip(groups, ends, strict=True)]
    carried = [
        name
        for name in starts[0]
        if name in ends[0]
        and all(
            name in start and _mentions(group, start[name])
            for group, start in list(zip(groups, starts, strict=True))[1:]
        )
    ]
    carried = [name for name in carried if any(start[name] != starts[0][name] for start in [*starts, ends[-1]])]
    texts, indices = [], []
    for group, start in zip(groups, starts, strict=True):
        text, found = _normal(group[: len(group)], {start[name]: f"in {name}" for name in reversed(carried)})
        texts.append(text)
        indices.append(found)
    if len(set(texts)) > 1:
        return None
    index = fresh("i")
    for numbers in zip(*indices, strict=True):
        step = numbers[1].value - numbers[0].value
        if any(one.value != numbers[0].value + step * i for i, one in enumerate(numbers)):
            return None
    pins = {name: fresh(name) for name in carried}
    rename = {starts[0][name]: pins[name] for name in carried}
    for name in carried:
        if ends[0].get(name) in rename and rename[ends[0][name]] != pins[name]:
            return None
        rename[ends[0][name]] = pins[name]
    body = [
        _Replace(rename, index, [(ns[0], ns[1].value - ns[0].value) for ns in zip(*indices, strict=True)]).visit(
            copy_tree(one)
        )
        for one in groups[0]
    ]
    body = body[: len(body) - 1]
    before = [ast.Assign([ast.Name(pins[name])], ast.Name(starts[0][name]), lineno=0) for name in carried]
    loop = ast.For(ast.Name(index), ast.Call(ast.Name("range"), [ast.Constant(count)], []), body, [], lineno=0)
    return before, _over_layers(loop, count, period), pins


def _uses(end: dict[str, str]) -> list[ast.stmt]:
    """Return a statement that keeps what the next round may read."""
    names = sorted(set(end.values()))
    return [ast.Expr(ast.Call(ast.Name("keep"), [ast.Name(one) for one in names * 2], []))]


def _mentions(group: list[ast.stmt], name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for one in group[:-1] for node in ast.walk(one))


def _normal(group: list[ast.stmt], names: dict[str, str]) -> tuple[str, list[ast.Constant]]:
    """Return the text of statements with variables and indices numbered, and the indices."""
    names, indices = dict(names), []
    text = []
    for one in group[:-1]:
        one = copy_tree(one)
        for node in ast.walk(one):
            if isinstance(node, ast.Constant) and node.kind == "index":
                indices.append(node)
    normal = _Normal(names)
    for one in group[:-1]:
        text.append(ast.dump(normal.visit(copy_tree(one))))
    return "\n".join(text), indices


class _Normal(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if "#" not in node.id:
            return node
        return ast.Name(self.names.setdefault(node.id, f"{node.id.split('#')[0]} {len(self.names)}"))

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("index") if node.kind == "index" else node


class _Replace(ast.NodeTransformer):
    def __init__(self, rename: dict[str, str], index: str, steps: list[tuple[ast.Constant, int]]) -> None:
        self.rename, self.index = rename, index
        self.steps = {first.value: step for first, step in steps}

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.rename.get(node.id, node.id))

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if node.kind != "index":
            return node
        step = self.steps[node.value]
        expr: ast.expr = ast.Name(self.index)
        if step == 0:
            return ast.Constant(node.value)
        if step != 1:
            expr = ast.BinOp(ast.Constant(step), ast.Mult(), expr)
        return ast.BinOp(expr, ast.Add(), ast.Constant(node.value)) if node.value else expr


def _over_layers(loop: ast.For, count: int, period: int) -> ast.For:
    """Let a loop run over the layers themselves where it takes one each."""
    return loop


__all__ = ["Attribute", "Loops"]
