"""Readable functions: statements without effect go, values used once move to their use, variables get short names."""

import ast
from collections import Counter

from star.export.specialise.values import Attribute, Symbol, copy_tree
from star.export.specialise.writer import CACHE_METHODS, FIXED, MARK, TEMPORARY, fresh

CHANGING = {*CACHE_METHODS, "append", "copy_"}
MAKERS = {"linear", "zero_linear", "short_kernel", "nn"}  # what they return is drawn at random
SHORT = 72  # columns, where the source has a variable
LONGEST = 104  # columns of a statement that a moved value may lead to


def tidy(body: list[ast.stmt], params: list[str], is_init: bool) -> list[ast.stmt]:
    """Return a function's statements, tidied; variables keep their marks."""
    body = [copy_tree(node) for node in body]
    while True:
        before = _dump(body)
        body = _without_dead(body)
        body = _moved(body, is_init)
        body = _coalesced(body)
        body = [_Uniform().visit(node) for node in body]
        body = _chosen(body)
        if _dump(body) == before:
            return body


def _dump(body: list[ast.stmt]) -> str:
    return "\n".join(ast.dump(node) for node in body)


def is_variable(node: ast.AST) -> bool:
    """Return whether a node is a variable of the function."""
    return isinstance(node, ast.Name) and MARK in node.id


def variables_in(body: list[ast.stmt]) -> set[str]:
    """Return all variables."""
    return {node.id for one in body for node in ast.walk(one) if is_variable(node)}


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    if isinstance(node, ast.For):
        return [node.target]
    return []


def defined_in(body: list[ast.stmt]) -> set[str]:
    """Return the variables that statements and comprehensions assign."""
    found = set()
    for one in body:
        for node in ast.walk(one):
            targets = _targets(node) if isinstance(node, ast.stmt) else []
            targets = [node.target] if isinstance(node, ast.comprehension) else targets
            for target in targets:
                parts = target.elts if isinstance(target, ast.Tuple) else [target]
                found |= {part.id for part in parts if is_variable(part)}
    return found


def _loads(body: list[ast.stmt]) -> Counter[str]:
    """Return how often each variable is read."""
    found: Counter[str] = Counter()
    for one in body:
        for node in ast.walk(one):
            if is_variable(node):
                found[node.id] += 1
        for node in ast.walk(one):
            if isinstance(node, ast.stmt):
                for target in _targets(node):
                    parts = target.elts if isinstance(target, ast.Tuple) else [target]
                    found.subtract(part.id for part in parts if is_variable(part))
    return found


def is_pure(node: ast.AST) -> bool:
    """Return whether an expression only computes a value."""
    for one in ast.walk(node):
        if isinstance(one, ast.Call):
            name = one.func.attr if isinstance(one.func, ast.Attribute) else ""
            if name in CHANGING or (name.endswith("_") and not name.endswith("__")):
                return False
            arguments = [*one.args, *(keyword.value for keyword in one.keywords)]
            if any(_is_cache(part) for argument in arguments for part in ast.walk(argument)):
                return False
    return True


def _is_cache(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id.split(MARK)[0] in ("cache", "first", "second")


def _makes(node: ast.AST) -> bool:
    """Return whether an expression draws random numbers or makes a module."""
    return any(
        isinstance(one, ast.Call) and ast.unparse(_root(one.func)).split("#")[0] in MAKERS | {"torch"}
        for one in ast.walk(node)
    )


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node if isinstance(node, ast.Name) else ast.Name("other")


def _without_dead(body: list[ast.stmt]) -> list[ast.stmt]:
    loads = _loads(body)

    def visit(block: list[ast.stmt]) -> list[ast.stmt]:
        kept = []
        for node in block:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]) if (
                    MARK in name and not loads[name] and is_pure(node.value)
                ):
                    continue
                case ast.Assign(targets=[ast.Tuple(elts=parts)]):
                    unused = [is_variable(part) and not loads[part.id] for part in parts]
                    if all(unused) and is_pure(node.value):
                        continue
                    if isinstance(node.value, ast.Tuple) and any(unused) and len(node.value.elts) == len(parts):
                        pairs = [
                            pair
                            for pair, is_unused in zip(zip(parts, node.value.elts, strict=True), unused, strict=True)
                            if not (is_unused and is_pure(pair[1]))
                        ]
                        parts, values = (list(column) for column in zip(*pairs, strict=True))
                        if len(parts) == 1:
                            kept.append(ast.Assign(parts, values[0], lineno=0))
                            continue
                        node.targets[0].elts, node.value.elts = parts, values
                case ast.If():
                    node.body, node.orelse = visit(node.body), visit(node.orelse)
                    if not node.body and not node.orelse and is_pure(node.test):
                        continue
                    if not node.body:
                        node.test, node.body, node.orelse = negated(node.test), node.orelse, []
                case ast.For():
                    node.body = visit(node.body)
                    if (not node.body or all(isinstance(one, ast.Pass) for one in node.body)) and is_pure(node.iter):
                        continue
                case ast.With():
                    node.body = visit(node.body)
                case ast.Expr() if is_pure(node.value) and isinstance(node.value, ast.Name | ast.Constant):
                    continue
            kept.append(node)
        return kept

    return visit(body)


def _chosen(body: list[ast.stmt]) -> list[ast.stmt]:
    """Write a condition that only chooses the value of one variable as an expression, if it is short."""
    for block in _blocks(body):
        for i, node in enumerate(block):
            match node:
                case ast.If(
                    body=[ast.Assign(targets=[ast.Name(id=name)], value=first)],
                    orelse=[ast.Assign(targets=[ast.Name(id=other)], value=second)],
                ) if name == other:
                    value = ast.IfExp(node.test, first, second)
                    if len(shown(value)) < LONGEST - len(name):
                        block[i] = ast.Assign([ast.Name(name)], value, lineno=0)
    return body


class _Uniform(ast.NodeTransformer):
    """Writes a list with an element for each layer as a comprehension."""

    def visit_List(self, node: ast.List) -> ast.AST:
        self.generic_visit(node)
        texts = set()
        for i, one in enumerate(node.elts):
            numbered = copy_tree(one)
            indices = [part for part in ast.walk(numbered) if isinstance(part, ast.Constant) and part.kind == "index"]
            if not indices or any(part.value != i for part in indices):
                return node
            for part in indices:
                part.value = 0
            texts.add(ast.dump(numbered))
        if len(texts) != 1 or len(node.elts) < 2:
            return node
        name = fresh("layer")
        layers = [one for one in ast.walk(node.elts[0]) if isinstance(one, ast.Subscript) and _is_index(one.slice)]
        if len({ast.dump(one.value) for one in layers}) != 1:
            return node
        elt = _Elements(name).visit(copy_tree(node.elts[0]))
        return ast.ListComp(elt, [ast.comprehension(ast.Name(name), layers[0].value, [], 0)])


def _is_index(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.kind == "index"


class _Elements(ast.NodeTransformer):
    def __init__(self, name: str) -> None:
        self.name = name

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return ast.Name(self.name) if _is_index(node.slice) else self.generic_visit(node)


def _coalesced(body: list[ast.stmt]) -> list[ast.stmt]:
    """Give a variable that one branch of a condition changes and the other only copies the name of the original."""
    for block in _blocks(body):
        for node in block:
            if not isinstance(node, ast.If):
                continue
            for side, other in ((node.orelse, node.body), (node.body, node.orelse)):
                for copied in side:
                    match copied:
                        case ast.Assign(targets=[ast.Name(id=new)], value=ast.Name(id=old)) if (
                            MARK in new and MARK in old and _is_free(body, node, new, old, side, other)
                        ):
                            side.remove(copied)
                            if side is node.body and not side:
                                node.test, node.body, node.orelse = negated(node.test), node.orelse, []
                            for one in body:
                                _Renamed(new, old).visit(one)
                            return body
    return body


class _Renamed(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id == self.old:
            node.id = self.new
        return node


def rename(block: list[ast.stmt], old: str, new: str) -> bool:
    """Rename a variable that an assignment of this block defines; return whether there is one."""
    places = [
        one
        for one in block
        if isinstance(one, ast.Assign) and any(isinstance(part, ast.Name) and part.id == old for part in one.targets)
    ]
    if len(places) != 1:
        return False
    for one in block:
        _Renamed(old, new).visit(one)
    return True


def _is_free(body: list, condition: ast.If, new: str, old: str, side: list, other: list) -> bool:
    """Return whether two variables can be one: the old one is not read once the new one is set."""
    uses = [node for one in body for node in ast.walk(one) if isinstance(node, ast.Name) and node.id == old]
    inside = [node for node in ast.walk(condition) if isinstance(node, ast.Name) and node.id == old]
    before, after = 0, False
    for block in _blocks(body):  # the condition must stand beside the definition, in no loop of its own
        if condition in block:
            i = block.index(condition)
            after = any(_reads(one, old) for one in block[i + 1 :])
            before = sum(_count(one, old) for one in block[:i])
            if block is not body:
                return False
    if after or len(uses) != before + len(inside):
        return False
    sets = [i for i, one in enumerate(other) if new in defined_in([one])]
    if len(sets) != 1 or not isinstance(other[sets[0]], ast.Assign):
        return False
    if any(_reads(one, old) for one in other[sets[0] + 1 :]) or sum(_count(one, old) for one in side) != 1:
        return False
    return not any(_reads(one, new) for one in body[: body.index(condition)])


def _reads(node: ast.stmt, name: str) -> bool:
    return _count(node, name) > 0


def _count(node: ast.stmt, name: str) -> int:
    return sum(isinstance(one, ast.Name) and one.id == name for one in ast.walk(node))


def _blocks(body: list[ast.stmt]):
    """Yield the block and all blocks within."""
    yield body
    for node in body:
        for name in ("body", "orelse"):
            if isinstance(node, ast.If | ast.For | ast.With) and getattr(node, name, None):
                yield from _blocks(getattr(node, name))


def negated(test: ast.expr) -> ast.expr:
    """Return the opposite of a condition."""
    opposite = {ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in opposite:
        return ast.Compare(test.left, [opposite[type(test.ops[0])]()], test.comparators)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    return ast.UnaryOp(ast.Not(), test)


def _moved(body: list[ast.stmt], is_init: bool) -> list[ast.stmt]:
    """Move values that are used once to their use, where nothing comes between that could change them."""
    loads = _loads(body)
    stores = Counter(
        part.id
        for one in body
        for node in ast.walk(one)
        if isinstance(node, ast.stmt)
        for target in _targets(node)
        for part in (target.elts if isinstance(target, ast.Tuple) else [target])
        if is_variable(part)
    )

    def visit(block: list[ast.stmt]) -> list[ast.stmt]:
        for node in block:
            for name in ("body", "orelse"):
                if isinstance(node, ast.If | ast.For | ast.With) and getattr(node, name, None):
                    setattr(node, name, visit(getattr(node, name)))
        i = 0
        while i < len(block):
            node = block[i]
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]) if (
                    MARK in name
                    and not name.endswith(FIXED)
                    and loads[name] == 1
                    and stores[name] == 1
                    and _move(block, i, name, is_init)
                ):
                    del block[i]
                    i = max(0, i - 1)
                    continue
            i += 1
        return block

    return visit(body)


def _move(block: list[ast.stmt], i: int, name: str, is_init: bool) -> bool:
    value = block[i].value
    pure = is_pure(value) and not (is_init and _makes(value))
    read = {node.id for node in ast.walk(value) if is_variable(node)}
    for j in range(i + 1, len(block)):
        node = block[j]
        head = _head(node)
        if head is None:
            return False
        places = [one for part in head for one in _plain_walk(part, pure)]
        found = [one for one in places if isinstance(one, ast.Name) and one.id == name]
        if found:
            is_next = j == i + 1
            is_whole = isinstance(node, ast.Assign | ast.Return) and node.value is found[0]
            if not name.endswith(TEMPORARY) and (not is_next or isinstance(node, ast.If | ast.For)):
                return False
            if not pure and (not is_next or not all(map(is_pure, head))):
                return False
            if not pure and is_init and any(map(_makes, head)):
                return False
            new = [_Substitute(name, value).visit(copy_tree(part)) for part in head]
            longest = LONGEST if name.endswith(TEMPORARY) else SHORT
            if isinstance(node, ast.Return) and name.endswith(TEMPORARY):
                longest = 2 * LONGEST
            in_list = any(
                isinstance(one, ast.List)
                and found[0] in one.elts
                or isinstance(one, ast.Dict)
                and found[0] in one.values
                for one in places
            )
            if sum(len(shown(part)) for part in new) > longest and not is_whole and not in_list:
                return False
            _set_head(node, new)
            return True
        if any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(node)):
            return False
        if not pure or not _is_simple(node) or not all(map(is_pure, head)):
            return False
        if read & defined_in([node]):
            return False
    return False


def _is_plain_target(node: ast.Assign) -> bool:
    return isinstance(node.targets[0], ast.Name | Attribute)


def shown(node: ast.expr) -> str:
    """Return the text of an expression, more or less as it will be written."""
    return ast.unparse(_Shown().visit(copy_tree(node)))


class _Shown(ast.NodeTransformer):
    def visit_Attribute(self, node: ast.AST) -> ast.AST:
        if isinstance(node, Attribute):
            return ast.Name(f"self.{node.name[-1]}")
        return self.generic_visit(node)

    def visit_Symbol(self, node: ast.AST) -> ast.AST:
        return ast.Name(f"self.{node.name}") if isinstance(node, Symbol) else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(node.id.split(MARK)[0])


def _is_simple(node: ast.stmt) -> bool:
    """Return whether a statement assigns variables and does nothing else."""
    if not isinstance(node, ast.Assign):
        return False
    target = node.targets[0]
    return all(map(is_variable, target.elts if isinstance(target, ast.Tuple) else [target]))


def _head(node: ast.stmt) -> list[ast.expr] | None:
    """Return the expressions that a statement evaluates first and once."""
    match node:
        case ast.Assign():
            target = node.targets[0]
            return [node.value] if not isinstance(target, ast.Subscript) else [node.value, target]
        case ast.Return():
            return [node.value] if node.value else []
        case ast.Expr():
            return [node.value]
        case ast.AugAssign():
            return [node.value]
        case ast.If():
            return [node.test]
        case ast.For():
            return [node.iter]
        case ast.Raise():
            return [node.exc]
    return None


def _set_head(node: ast.stmt, parts: list[ast.expr]) -> None:
    match node:
        case ast.Assign() if len(parts) == 2:
            node.value, node.targets = parts[0], [parts[1]]
        case ast.Assign() | ast.Return() | ast.Expr() | ast.AugAssign():
            node.value = parts[0]
        case ast.If():
            node.test = parts[0]
        case ast.For():
            node.iter = parts[0]
        case ast.Raise():
            node.exc = parts[0]


def _plain_walk(node: ast.AST, pure: bool):
    """Yield the parts of an expression that are evaluated once; without the choices that may not be evaluated at all
    unless the value is pure.
    """
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.Lambda | ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.SetComp):
            continue
        if not pure and (isinstance(node, ast.IfExp) and child is not node.test or isinstance(node, ast.BoolOp)):
            continue
        yield from _plain_walk(child, pure)


class _Substitute(ast.NodeTransformer):
    def __init__(self, name: str, value: ast.expr) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return copy_tree(self.value) if node.id == self.name else node
