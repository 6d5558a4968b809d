"""Python source for records: the specification of a model, and tables reduced to the rows that it uses."""

import ast
import json
import re
from collections.abc import Container
from dataclasses import fields, is_dataclass, replace
from enum import Enum

from star.architecture.overrides import POSITIONS, QK_NORM_PLACES
from star.architecture.spec import LivSpec, ModelSpec
from star.export.source import Collection, Definition

WIDTH = 110
WORDS = (*POSITIONS, *QK_NORM_PLACES)  # that are keys of literal tables, as members of enums are
TAB = "    "


class Name(str):
    """Value written as a name that is defined elsewhere."""


def format_value(value: object, indent: int = 0, used: int = 0) -> str:
    """Return Python source that evaluates to `value`: records by keyword (leading names and codes by position), enum
    members by name, one element per line where a line would be too long. `indent` counts levels, `used` the other
    columns of the line.
    """
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, str):
        return value if isinstance(value, Name) else json.dumps(value)
    is_record = bool(fields_of(value))
    if not is_record and not isinstance(value, tuple):
        return repr(value)
    parts = _label(value) if is_record else [("", part) for part in value]
    opening = f"{type(value).__name__}(" if is_record else "("
    comma = "," if not is_record and len(parts) == 1 else ""
    line = f"{opening}{', '.join(name + format_value(part) for name, part in parts)}{comma})"
    if "\n" not in line and len(line) + indent * len(TAB) + used <= WIDTH:
        return line
    rows = (name + format_value(part, indent + 1, len(name) + 1) for name, part in parts)
    inside = "".join(f"{TAB * (indent + 1)}{row},\n" for row in rows)
    return f"{opening}\n{inside}{TAB * indent})"


def _label(record: object) -> list[tuple[str, object]]:
    """Return each value that is not the default, with its keyword; leading names and codes have an empty one."""
    known = {field.name: field for field in fields(record)} if is_dataclass(record) else {}
    parts, speaking = [], True
    for name, value in fields_of(record).items():
        field = known.get(name)
        if field and value == field.default:
            speaking = False
            continue
        speaking = speaking and isinstance(value, str | Enum) and not (field and field.kw_only)
        parts.append(("" if speaking else f"{name}=", value))
    return parts


def fields_of(value: object) -> dict[str, object]:
    """Return the values of a dataclass or named tuple by name; an empty dictionary for anything else."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return dict(zip(value._fields, value, strict=True)) if hasattr(value, "_fields") else {}


def format_spec(spec: ModelSpec) -> str:
    """Return assignments that build `spec` as SPEC, after one assignment and one comment per operator class."""
    livs = {_constant(slot.liv): slot.liv for slot in spec.slots}
    assert all(livs[_constant(slot.liv)] == slot.liv for slot in spec.slots), "two operators of one name"
    named = replace(spec, slots=tuple(slot._replace(liv=Name(_constant(slot.liv))) for slot in spec.slots))
    lines = [f"{name} = {format_value(liv, used=len(name) + 3)}\n" for name, liv in livs.items()]
    note = "# Slots in weights_from and features_from count from 0; the head of this file counts them from 1.\n"
    return note + "".join(lines) + f"SPEC = {format_value(named, used=7)}"


def _constant(liv: LivSpec) -> str:
    return re.sub(r"\W", "_", liv.name).upper()


def codes_in(value: object) -> set[frozenset[str]]:
    """Return, for each record at any depth, the source of the enum members and words that it holds itself."""
    record = fields_of(value)
    parts = tuple(record.values()) if record else value
    if not isinstance(parts, tuple):
        return set()
    own = frozenset(format_value(part) for part in parts if isinstance(part, Enum) or part in WORDS)
    return {own}.union(*map(codes_in, parts))


def keep_rows(definition: Definition, codes: set[frozenset[str]]) -> Definition:
    """Return a literal table `{Enum.MEMBER: ..., }` without the rows that no record needs, and any other definition
    unchanged. A key is one member or word, or a tuple of members that must occur together in one record.
    """
    table = getattr(definition.node, "value", None)
    if not definition.is_assignment or not isinstance(table, ast.Dict) or None in table.keys:
        return definition
    rows = list(zip(table.keys, table.values, strict=True))
    kept = [row for row in rows if _is_wanted(row[0], codes)]
    if len(kept) == len(rows):
        return definition
    source = definition.source
    if table.lineno == table.end_lineno:
        texts = (": ".join(str(ast.get_source_segment(source, part)) for part in row) for row in kept)
        source = source.replace(str(ast.get_source_segment(source, table)), f"{{{', '.join(texts)}}}", 1)
    else:  # one row a line, or more lines
        gone = {
            line for key, value in rows if (key, value) not in kept for line in range(key.lineno, value.end_lineno + 1)
        }
        source = _without(definition, gone)
    return replace(definition, source=source)


def _is_wanted(key: ast.expr, codes: set[frozenset[str]]) -> bool:
    members = key.elts if isinstance(key, ast.Tuple) else [key]
    wanted = {_code(member) for member in members}
    return "" in wanted or any(wanted <= record for record in codes)


def _code(key: ast.expr) -> str:
    """Return a member or a word as `codes_in` writes it; an empty text for anything else."""
    if isinstance(key, ast.Constant) and key.value in WORDS:
        return format_value(key.value)
    return ast.unparse(key) if isinstance(key, ast.Attribute) else ""


def drop_checks(definition: Definition) -> Definition:
    """Return a record without its `__post_init__`, which checks user input, and any other definition unchanged."""
    body = getattr(definition.node, "body", [])
    checks = [part for part in body if isinstance(part, ast.FunctionDef) and part.name == "__post_init__"]
    if not checks:
        return definition
    (check,) = checks
    return replace(definition, source=_without(definition, range(check.lineno - 1, check.end_lineno + 1)))


def drop_fields(found: Collection, names: Container[str]) -> Collection:
    """Return the collection with these records and enums reduced to what the rest of the collection mentions."""
    lines_of = {one.names[0]: _fields(one) for _, part in found.sections for one in part if one.names[0] in names}
    rest = "\n".join(_without(one, lines_of.get(one.names[0], {})) for _, part in found.sections for one in part)
    mentioned = set(re.findall(r"\w+", rest)) | set(re.findall(r"\w+\.\w+", rest))

    def drop(one: Definition) -> Definition:
        unused = {line: field for line, field in lines_of.get(one.names[0], {}).items() if field not in mentioned}
        return replace(one, source=_without(one, unused))

    return replace(found, sections=[(module, list(map(drop, part))) for module, part in found.sections])


def _without(definition: Definition, lines: Container[int]) -> str:
    """Return the text of a definition without some lines, counted from 1."""
    return "\n".join(text for line, text in enumerate(definition.source.splitlines(), start=1) if line not in lines)


def _fields(definition: Definition) -> dict[int, str]:
    """Return by line number how other code mentions the field or the enum member (`Enum.MEMBER`) on that line."""
    found = {}
    for part in getattr(definition.node, "body", []):
        match part:
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[part.lineno] = name
            case ast.Assign(targets=[ast.Name(id=name)]):
                found[part.lineno] = f"{definition.names[0]}.{name}"
    return found


def plain_shape(definition: Definition) -> Definition:
    """Rewrite an alias `BTD = Float[Tensor, "B T D"]` as `BTD = Tensor  # float (B, T, D)`; return others unchanged."""
    value = getattr(definition.node, "value", None)
    if not definition.is_assignment or not isinstance(value, ast.Subscript):
        return definition
    if not isinstance(value.slice, ast.Tuple) or len(value.slice.elts) != 2:
        return definition
    array, axes = value.slice.elts
    if not isinstance(axes, ast.Constant):
        return definition
    kind, shape = ast.unparse(value.value).lower(), ", ".join(str(axes.value).split())
    return replace(definition, source=f"{definition.names[0]} = {ast.unparse(array)}  # {kind} ({shape})")
