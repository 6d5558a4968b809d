"""One class for operators that differ only in what they share: features that they are given, modules of others."""

import ast
import difflib
import itertools
from dataclasses import dataclass, replace

from star.export.specialise.file_class import FileClass


@dataclass
class Parts:
    """Class of the exported file in parts.

    Attributes:
        arguments: of the constructor.
        optional: those of them with a default, and its text.
        given: features that `forward` is given.
        ties: arguments that are modules of an earlier operator.
    """

    made: FileClass
    arguments: list[str]
    optional: dict[str, str]
    init: list[ast.stmt]
    methods: dict[str, ast.FunctionDef]
    given: list[str]
    ties: list[str]


Entry = tuple[str, ast.stmt, set[int]]  # a statement and the variants that have it


def keep(name: str) -> ast.stmt:
    """Return the statement that stores an argument."""
    return ast.Assign([ast.Attribute(ast.Name("self"), name)], ast.Name(name), lineno=0)


def merge(parts: list[Parts]) -> Parts | None:
    """Return one class in place of all, None if no condition tells their statements apart."""
    if len(parts) == 1:
        return parts[0]
    flags = sorted({one for part in parts for one in part.given})
    ties = sorted({one for part in parts for one in part.ties}, key=[one for part in parts for one in part.ties].index)
    in_init = {f'"{one}" in given': [one in part.given for part in parts] for one in flags}
    in_init |= {f"{one} is not None": [one in part.ties for part in parts] for one in ties}
    in_methods = {f'"{one}" in self.given': [one in part.given for part in parts] for one in flags}
    init = _merge_blocks([part.init for part in parts], in_init)
    names = list(dict.fromkeys(name for part in parts for name in part.methods))
    if init is None or any(part.methods.keys() != set(names) for part in parts):
        return None
    methods = {}
    for name in names:
        body = _merge_blocks([part.methods[name].body for part in parts], in_methods)
        if body is None:
            return None
        methods[name] = _signature([part.methods[name] for part in parts], body)
    text = "\n".join(ast.unparse(method) for method in methods.values())
    if "self.given" in text:
        init.insert(0, keep("given"))
    uses_given = "given" in {node.id for one in init for node in ast.walk(one) if isinstance(node, ast.Name)}
    symbols = list(dict.fromkeys(one for part in parts for one in part.arguments if one not in ties))
    rare = [one for one in symbols if any(one not in part.arguments for part in parts)]
    optional = dict.fromkeys([*rare, *ties], "None") | ({"given": "()"} if uses_given else {})
    return replace(
        parts[0],
        arguments=list(dict.fromkeys([*symbols, *optional])),
        optional=optional,
        init=init,
        methods=methods,
        given=flags,
        ties=ties,
    )


def _signature(methods: list[ast.FunctionDef], body: list[ast.stmt]) -> ast.FunctionDef:
    """Return a method that takes what any of the variants takes."""
    longest = max(methods, key=lambda one: len(one.args.args))
    args, known = list(longest.args.args), {one.arg for one in longest.args.args}
    defaults = list(longest.args.defaults)
    for method in methods:
        for one in method.args.args:
            if one.arg not in known:
                known.add(one.arg)
                args.append(one)
                defaults.append(ast.Constant(None))
    found = ast.FunctionDef(
        longest.name, ast.arguments([], args, None, [], [], None, defaults), body, longest.decorator_list, lineno=0
    )
    found.doc = getattr(longest, "doc", "")
    return found


def _merge_blocks(blocks: list[list[ast.stmt]], flags: dict[str, list[bool]]) -> list[ast.stmt] | None:
    """Return statements that are those of each variant where its flags hold."""
    merged: list[Entry] = []
    for number, block in enumerate(blocks):
        texts = [ast.unparse(ast.fix_missing_locations(one)) for one in block]
        matcher = difflib.SequenceMatcher(None, [text for text, _, _ in merged], texts, autojunk=False)
        found: list[Entry] = []
        for kind, a, b, c, d in matcher.get_opcodes():
            if kind == "equal":
                found += [(text, node, who | {number}) for text, node, who in merged[a:b]]
                continue
            found += merged[a:b]
            found += [(texts[i], block[i], {number}) for i in range(c, d)]
        merged = found
    for number, block in enumerate(blocks):
        assert [text for text, _, who in merged if number in who] == [ast.unparse(one) for one in block]
    return _with_conditions(merged, len(blocks), flags)


def _with_conditions(merged: list[Entry], count: int, flags: dict[str, list[bool]]) -> list[ast.stmt] | None:
    everyone = set(range(count))
    body: list[ast.stmt] = []
    before: set[int] | None = None
    for who, run in itertools.groupby(merged, key=lambda entry: entry[2]):
        block = [node for _, node, _ in run]
        if who == everyone:
            body += block
            before = None
            continue
        if before is not None and who == everyone - before:
            body[-1].orelse = block
            before = None
            continue
        test = _condition(who, count, flags)
        if test is None:
            return None
        body.append(ast.If(ast.parse(test).body[0].value, block, []))
        before = who
    return body


def _condition(who: set[int], count: int, flags: dict[str, list[bool]]) -> str | None:
    """Return a condition that holds for these variants alone: one flag or its opposite, or two or three together."""
    atoms: list[tuple[str, set[int]]] = []
    for text, values in flags.items():
        holds = {i for i in range(count) if values[i]}
        atoms += [(_opposite(text), set(range(count)) - holds), (text, holds)]
    for length in (1, 2, 3):
        for some in itertools.combinations(atoms, length):
            if set.intersection(*(holds for _, holds in some)) == who:
                return " and ".join(text for text, _ in some)
    return None


def _opposite(text: str) -> str:
    return (
        text.replace(" is not None", " is None") if text.endswith(" is not None") else text.replace(" in ", " not in ")
    )
