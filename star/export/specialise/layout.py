"""Statements as text: lines of limited width, blank lines between what belongs apart."""

import ast
import re

WIDTH = 110
TAB = "    "


def format_block(body: list[ast.stmt], indent: int) -> str:
    """Return the text of statements."""
    return "\n".join(format_statement(node, indent) for node in body)


def format_statement(node: ast.stmt, indent: int = 0) -> str:
    """Return the text of a statement, broken at its brackets where a line would be too long."""
    tab = TAB * indent
    match node:
        case ast.If():
            head = break_line(f"if {ast.unparse(node.test)}:", indent)
            text = f"{tab}{head}\n{format_block(node.body, indent + 1)}"
            if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
                return text + "\n" + tab + "el" + format_statement(node.orelse[0], indent).lstrip()
            return text + (f"\n{tab}else:\n{format_block(node.orelse, indent + 1)}" if node.orelse else "")
        case ast.For():
            target = _bare(node.target)
            head = break_line(f"for {target} in {ast.unparse(node.iter)}:", indent)
            return f"{tab}{head}\n{format_block(node.body, indent + 1)}"
        case ast.With():
            items = ", ".join(ast.unparse(item) for item in node.items)
            return f"{tab}with {items}:\n{format_block(node.body, indent + 1)}"
        case ast.Assign():
            targets = " = ".join(_bare(target) for target in node.targets)
            return tab + _with_value(f"{targets} = ", node.value, indent)
        case ast.Return(value=ast.expr() as value):
            return tab + _with_value("return ", value, indent)
        case ast.FunctionDef():
            return format_function(node, indent)
    return tab + break_line(ast.unparse(node), indent)


def _with_value(start: str, value: ast.expr, indent: int) -> str:
    text = _bare(value)
    if len(start + text) + indent * len(TAB) > WIDTH and isinstance(
        value, ast.IfExp | ast.BinOp | ast.BoolOp | ast.Compare
    ):
        text = f"({text})"
    return break_line(start + text, indent)


def _bare(node: ast.expr) -> str:
    if isinstance(node, ast.Tuple) and len(node.elts) > 1:
        return ", ".join(ast.unparse(one) for one in node.elts)
    return ast.unparse(node)


def format_function(node: ast.FunctionDef, indent: int = 0) -> str:
    """Return the text of a function with its docstring."""
    tab = TAB * indent
    lines = [f"{tab}@{ast.unparse(one)}" for one in node.decorator_list]
    lines.append(tab + break_line(f"def {node.name}({ast.unparse(node.args)}):", indent))
    doc = getattr(node, "doc", "")
    if doc:
        lines.append(format_doc(doc, indent + 1))
    lines.append(format_block(node.body, indent + 1) if node.body else f"{TAB * (indent + 1)}pass")
    return "\n".join(lines)


def format_doc(doc: str, indent: int) -> str:
    """Return a docstring."""
    tab = TAB * indent
    lines = escape(doc).splitlines()
    text = "\n".join(f"{tab}{line}".rstrip() for line in lines)
    end = f"\n{tab}" if len(lines) > 1 else ""
    return f'{tab}"""{text.lstrip()}{end}"""'


def escape(text: str) -> str:
    """Escape a text so that it is safe inside a triple-quoted string."""
    return text.replace("\\", "\\\\").replace('"""', "'''")


def break_line(text: str, indent: int) -> str:
    """Return a line, broken inside its outermost brackets if it is too long."""
    text = double_quoted(text)
    if len(text) + indent * len(TAB) <= WIDTH:
        return text
    place = _best_bracket(text)
    if place is None:
        return text
    start, end = place
    inside = text[start + 1 : end]
    if (
        len(inside) + (indent + 1) * len(TAB) > WIDTH
        and inside[:1] in "{["
        and _best_bracket(inside) == (0, len(inside) - 1)
    ):
        start, end = start + 1, end - 1  # the only argument is a list or a dictionary
        inside = text[start + 1 : end]
    tab = TAB * (indent + 1)
    if len(inside) + len(tab) <= WIDTH and not inside.rstrip().endswith(","):
        middle = f"{tab}{inside}"
    elif _is_comprehension(inside):
        middle = "\n".join(f"{tab}{break_line(part, indent + 1)}" for part in _clauses(inside))
    elif text[start] == "(" and len(_split(inside)) == 1 and not re.search(r"[\w\])]$", text[:start]):
        middle = "\n".join(f"{tab}{break_line(part, indent + 1)}" for part in _operands(inside))
    else:
        middle = "\n".join(_filled([break_line(part + ",", indent + 1) for part in _split(inside)], tab))
    rest = text[end:]
    rest = rest if len(rest) <= 3 else break_line(rest, indent)
    return f"{text[: start + 1]}\n{middle}\n{TAB * indent}{rest}"


def double_quoted(text: str) -> str:
    """Return code with texts in double quotes."""
    return re.sub(r"(?<![\w'\"])(f?)'([^'\"\\\n]*)'", r'\1"\2"', text)


def _best_bracket(text: str) -> tuple[int, int] | None:
    """Return the first and last place of the outermost bracket that holds most of a line."""
    pairs, stack, quote = [], [], ""
    for i, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and text[i - 1] != "\\" else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            stack.append(i)
        elif letter in ")]}":
            start = stack.pop() if stack else i
            if not stack and i - start > 1:
                pairs.append((start, i))
    return max(pairs, key=lambda pair: pair[1] - pair[0], default=None)


def _split(text: str, mark: str = ",") -> list[str]:
    """Return the parts of a text between commas outside of brackets."""
    parts, depth, quote, begin = [], 0, "", 0
    for i, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == mark and not depth:
            parts.append(text[begin:i].strip())
            begin = i + 1
    return [part for part in [*parts, text[begin:].strip()] if part]


def _filled(parts: list[str], tab: str) -> list[str]:
    """Return lines of parts, as many on each as there is room for."""
    lines: list[str] = []
    for part in parts:
        if lines and "\n" not in lines[-1] + part and len(lines[-1]) + 1 + len(part) <= WIDTH:
            lines[-1] += f" {part}"
        else:
            lines.append(tab + part)
    return lines


OPERATORS = ((" if ", " else "), (" or ",), (" and ",), (" + ", " - "), (" * ", " / ", " @ "))  # the loosest first


def _operands(text: str) -> list[str]:
    """Return the parts of an expression in parentheses, each but the first beginning with an operator."""
    depth, quote, places = 0, "", []
    for i, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == " " and not depth:
            places.append(i)
    for operators in OPERATORS:
        cuts = [i for i in places if text.startswith(operators, i)]
        if cuts:
            return [text[a:b].strip() for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return [text]


def _is_comprehension(text: str) -> bool:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
    return len(_split(text)) == 1 and " for " in bare and not text.startswith(("f'", 'f"', "'", '"'))


def _clauses(text: str) -> list[str]:
    head, mark, rest = text.partition(" for ")
    return [head, f"for {rest}"] if mark else [text]
