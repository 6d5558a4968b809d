"""The partial evaluator: an instance for one pass over one model."""

import ast
from functools import cache
from typing import Any

from star.architecture.codes import Structure
from star.architecture.spec import Dimensions
from star.export.source import Module
from star.export.specialise.calls import Calls, ModuleMap, ModuleSeq
from star.export.specialise.expressions import Expressions
from star.export.specialise.file_class import ClassName, FileClass, ModuleList, Registry, arguments_of
from star.export.specialise.loops import Loops
from star.export.specialise.program import Library, Program, is_plain
from star.export.specialise.statements import Frame, Statements
from star.export.specialise.tidy import tidy
from star.export.specialise.values import (
    Attribute,
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
from star.export.specialise.writer import Writer, assign, fresh

OPERATORS = ("Liv", "Differential")
CLASSES = (  # modules that stay classes; the others become parts of the operator that they belong to
    "LanguageModel",
    *OPERATORS,
    "Norm",
    "Shift",
    "ImplicitKernel",
    "GroupedLinear",
    "GroupedNorm",
    "ExpertMaps",
    "Xielu",
    "ClippedSwish",
)
CACHES = ("OperatorCache", "Cache")
PARTS = {"parts": "has_parts", "owners": "has_owners", "is_read": "has_owners", "before": "has_owners"} | {
    "shifts": "has_shifts"
}


class Restart(Exception):
    """Something was learnt that code written before depends on."""


class CacheClass(FileClass):
    """Class of caches, whose contents are there only when the model runs."""

    is_dynamic = True
    has_symbols = False


class Evaluator(Expressions, Statements, Calls, Loops):
    """Partial evaluation of the project's code.

    Args:
        dims: the sizes of the model, of which some are constants of the exported file.
        exports: by structure, the roles of features that later slots reuse.
        flags: what caches have, `has_parts`, `has_owners`, `has_shifts`; the names of tensors that earlier slots own;
            the names that each method of a cache was called with in the pass before.
        varying, reserved, single: see Registry.
    """

    def __init__(
        self,
        dims: Dimensions,
        exports: dict[Structure, list[str]],
        flags: dict[str, Any],
        varying: set[tuple[str, str]],
        reserved: set[str] = frozenset(),
        single: set[str] = frozenset(),
    ) -> None:
        self.dims = dims
        self.exports = exports
        self.flags = flags
        self.program = Program()
        self.registry = Registry(varying, reserved, single)
        self.classes: list[FileClass] = []
        self.roles: dict[str, str] = {}
        self.caches: dict[str, CacheClass] = {}
        self.used: dict[str, set[str]] = {}  # names of cached tensors by method
        self.written: dict[Any, Any] = {}  # functions of the exported file by what they depend on
        self.sources: set[int] = set()  # slots whose features later ones reuse
        self.is_needed = True  # whether those of the present slot are
        self.sharing: set[Structure] = set()  # structures of slots that share features or weights

    def frame_of(self, module: Module, writer: Writer) -> Frame:
        """Return a frame outside of any function."""
        return Frame(module, writer, {})

    def evaluate_top(self, node: ast.expr, module: Module) -> Value:
        """Return the value of an assignment outside of any function."""
        writer = Writer(None)
        value = self.evaluate(node, self.frame_of(module, writer))
        assert not writer.block
        return value

    def request(self, name: str, module: Module) -> ast.expr:
        """Return the name of a definition that the exported file copies as it is."""
        home = module
        while name not in home.definitions:
            home = self.program.module(home.imports[name].module)
        self.registry.copied[name] = home.name, name
        return ast.Name(name)

    def renamed(self, value: Any) -> Any:
        """Return a text, with the role of a feature replaced by its name."""
        if not isinstance(value, str):
            return value
        role, space, rest = value.partition(" ")
        if role in self.roles and (not rest or rest == "columns"):
            return self.roles[role] + space + rest
        return value

    # Objects.

    def instantiate(self, cls: Class, args: list[Value], kwargs: dict[str, Value], frame: Frame) -> Value:
        """Return a new object of a class of the project."""
        name = cls.node.name
        if name in CACHES:
            return self._new_cache(cls, args, kwargs, frame)
        init = cls.method("__init__")
        if init is None:
            return self._record(cls, args, kwargs, frame)
        if cls.is_module and name in CLASSES:
            return self._module(cls, args, kwargs, frame)
        found = Object(cls, owner=frame.writer.owner)
        self._in_place(Function(init[0], init[1].module, found, home=init[1]), args, kwargs, frame)
        return found

    def _record(self, cls: Class, args: list[Value], kwargs: dict[str, Value], frame: Frame) -> Value:
        fields = cls.fields()
        found = dict(zip(fields, args, strict=False)) | kwargs
        for name, default in fields.items():
            if name not in found:
                assert default is not None, f"{cls.node.name} lacks {name}"
                found[name] = self.evaluate(default, self.frame_of(cls.module, frame.writer))
        return Object(cls, found, frame.writer.owner)

    def _module(self, cls: Class, args: list[Value], kwargs: dict[str, Value], frame: Frame) -> Value:
        """Return an instance of a class that the exported file has, too."""
        node, home = cls.method("__init__")
        is_operator = cls.node.name in OPERATORS
        liv = self.to_python(args[0]) if is_operator else None
        made = FileClass(cls, liv if cls.node.name == "Liv" else None)
        made.has_symbols = cls.node.name not in ("LanguageModel", "Differential")
        found = made.object = Object(cls, owner=made, file_class=made)
        self.classes.append(made)
        function = Function(node, home.module, found, home=home)
        bound = self.bind(function, args, kwargs, frame)
        if not is_operator:
            bound = {name: self._argument(made, name, value) for name, value in bound.items()}
        before, self.roles = self.roles, made.roles or self.roles
        writer = Writer(made, is_init=True)
        inner = Frame(home.module, writer, bound, home=home, receiver=found, is_written=True)
        self.run(node.body, inner)
        made.body = tidy(writer.block, [], is_init=True)
        self.roles = before
        return found

    def _argument(self, made: FileClass, name: str, value: Value) -> Value:
        """Return a constructor's argument as the class sees it: sizes of whoever makes it become parameters."""
        if isinstance(value, Known) and value.expr is not None and is_plain(value.value):
            if isinstance(value.expr, ast.Name) and value.expr.id.isupper():
                return value
            made.values[name] = value.value
            made.symbol(name, value.value)
            made.arguments[name] = value.expr
            return Known(value.value, made.symbol(name, value.value))
        return value

    def construct(self, value: Object) -> ast.expr:
        """Return the call that makes a module; its other arguments follow when all classes are known."""
        made = value.file_class
        return ast.Call(ClassName(made), list(made.parts), [])

    def object_expr(self, value: Object) -> ast.expr:
        """Return where a module is, or the record that an object is."""
        if value.file_class is not None and value.parent is not None:
            holder, names = value.parent
            if isinstance(names[-1], int):
                return ast.Subscript(Attribute(holder, names[:-1]), ast.Constant(names[-1], kind="index"))
            return Attribute(holder, names)
        if value.cls.is_a("NamedTuple") or value.cls.method("__init__") is None:
            fields = [value.attributes[name] for name in value.cls.fields()]
            while fields and isinstance(fields[-1], Known) and fields[-1].value is None:
                fields.pop()
            return ast.Call(
                self.request(value.cls.node.name, value.cls.module), [self.to_expr(one) for one in fields], []
            )
        raise Unsupported(f"an object of {value.cls.node.name} as a value")

    # Attributes.

    def set_attribute(self, holder: Value, name: str, value: Value, frame: Frame) -> None:
        """Store an attribute of an object, and write the assignment if the exported file needs it."""
        writer = frame.writer
        if not isinstance(holder, Object):
            raise Unsupported(f"an attribute {name} of {holder}")
        if getattr(holder.file_class, "is_dynamic", False):
            if PARTS.get(name) and not self.flags[PARTS[name]]:
                return
            place = ast.Attribute(ast.Name("self"), name)
            writer.emit(assign(place, self.to_expr(value)))
            return
        if not holder.cls.is_module:
            holder.attributes[name] = value
            return
        if not writer.is_init:
            writer.emit(assign(Attribute(holder, (name,)), self.to_expr(value)))
            return
        holder.attributes[name] = self._store(holder, (name,), value, frame)

    def _store(self, holder: Object, names: tuple[str, ...], value: Value, frame: Frame) -> Value:
        writer = frame.writer
        place = Attribute(holder, names)
        match value:
            case Unknown(expr=Attribute()):
                return value
            case Unknown():
                writer.emit(assign(place, value.expr))
                self._note(writer.owner, holder, names)
                return Unknown(place)
            case Object(file_class=FileClass() as made):
                self._store_module(holder, names, value, made, frame)
                return value
            case Object():
                if value.parent is None:
                    value.parent = (holder, names)
                if value.owner is not writer.owner:
                    self._tie(value, writer)
                return value
            case ModuleSeq():
                writer.emit(ModuleList(holder, names[0], value))
                value.holder = holder, names
                value.place_items()
                return value
            case ModuleMap():
                value.holder = holder, names
                for key, one in list(value.items.items()):
                    value.items[key] = self._store(holder, (*names, key), one, frame)
                return value
            case Known() if len(names) == 1 and _is_reassigned(holder.cls, names[0]):
                writer.emit(assign(place, self.to_expr(value)))
                return Unknown(place, maybe_none=True)
        return value

    def _store_module(
        self, holder: Object, names: tuple[str, ...], value: Object, made: FileClass, frame: Frame
    ) -> None:
        writer = frame.writer
        if value.parent is not None:  # a module of another operator
            if value.parent[0].owner is not writer.owner:
                self._tie_module(value, names, holder, writer)
            return
        value.parent = (holder, names)
        self._note(writer.owner, holder, names)
        if made.source.node.name in OPERATORS:
            writer.owner.parts.append(self.construct(value))
            writer.emit(assign(Attribute(holder, names), ast.Name(names[-1])))
        else:
            writer.emit(assign(Attribute(holder, names), self.construct(value)))

    def _note(self, owner: FileClass, holder: Object, names: tuple[str, ...]) -> None:
        owner.assigned.append((holder, names))

    def _tie(self, value: Object, writer: Writer) -> None:
        """Take the modules and parameters of an object of an earlier operator as arguments of the constructor."""
        for one in value.attributes.values():
            if isinstance(one, Unknown) and isinstance(one.expr, Attribute):
                self._tie_one(one.expr, writer)
            elif isinstance(one, Object) and one.file_class is not None:
                self._tie_one(Attribute(*one.parent), writer)

    def _tie_module(self, value: Object, names: tuple[str, ...], holder: Object, writer: Writer) -> None:
        self._tie_one(Attribute(*value.parent), writer)

    def _tie_one(self, place: Attribute, writer: Writer) -> None:
        name = writer.owner.attribute_name(place.holder.path() + place.name)
        writer.owner.ties[name] = place
        writer.emit(assign(place, ast.Name(name)))

    def stored_element(self, holder: Map, key: Any, value: Value, frame: Frame) -> None:
        """Follow the assignment of an element of a dictionary of modules."""
        if isinstance(holder, ModuleMap) and hasattr(holder, "holder"):
            owner, names = holder.holder
            holder.items[key] = self._store(owner, (*names, key), holder.items[key], frame)

    def register_buffer(self, holder: Object, node: ast.Call, frame: Frame) -> Value:
        """Store a buffer."""
        name = node.args[0].value
        value = self.evaluate(node.args[1], frame)
        keywords = [ast.keyword(one.arg, one.value) for one in node.keywords]
        call = ast.Attribute(ast.Name("self"), "register_buffer")
        frame.writer.emit(ast.Expr(ast.Call(call, [ast.Constant(name), self.to_expr(value)], keywords)))
        self._note(frame.writer.owner, holder, (name,))
        holder.attributes[name] = Unknown(Attribute(holder, (name,)))
        return Known(None)

    def is_fixed(self, frame: Frame) -> bool:
        """Return whether features are variables, because other layers of this kind are given them."""
        owner = frame.writer.owner
        return owner is not None and owner.liv is not None and owner.liv.structure in self.sharing

    def hint_of(self, key: Any) -> str:
        """Return the name of a variable for an element of a dictionary."""
        return self.roles.get(key, "one") if isinstance(key, str) else "one"

    # Methods.

    def file_method(self, receiver: Object, function: Function, args: list, kwargs: dict, frame: Frame) -> Value:
        """Return the result of a method of a module of the exported file."""
        made: FileClass = receiver.file_class
        bound = self.bind(function, args, kwargs, frame)
        is_operator = made.source.node.name in OPERATORS
        before, self.roles = self.roles, self.role_names(made) if is_operator else made.roles or self.roles
        scope: dict[str, Value] = {}
        params: dict[str, tuple[ast.expr, bool]] = {}
        for name, value in bound.items():
            scope[name] = receiver if value is receiver else self._method_parameter(name, value, params, made)
        pattern = tuple((one.split("#")[0], maybe) for one, (_, maybe) in params.items())
        result = self._write_method(made, function, scope, params, pattern)
        self.roles = before
        name = function.node.name
        place = self.object_expr(receiver)
        target = place if name == "forward" else ast.Attribute(place, name)
        given = [(one.split("#")[0], expr) for one, (expr, _) in params.items()]
        by_name = [(one, expr) for one, expr in given if one in made.given]
        positional = [expr for one, expr in given if one not in made.given]
        call = ast.Call(target, positional, [ast.keyword(one, expr) for one, expr in by_name])
        if name != "forward" or made.source.node.name not in OPERATORS:
            return Unknown(call) if result else self._procedure(call, frame)
        roles = self.exports_of(made)
        if not roles:
            return Seq([frame.writer.bind(Unknown(call), "y"), Map({})], is_tuple=True)
        if not self.is_needed:
            return Seq([frame.writer.bind(Unknown(ast.Subscript(call, ast.Constant(0))), "y"), Map({})], is_tuple=True)
        names = self.role_names(made)
        found = [Unknown(ast.Name(fresh(hint))) for hint in ("y", *(names[role] for role in roles))]
        frame.writer.emit(assign(ast.Tuple([one.expr for one in found], ast.Store()), call))
        return Seq([found[0], Map(dict(zip(roles, found[1:], strict=True)))], is_tuple=True)

    def _procedure(self, call: ast.Call, frame: Frame) -> Value:
        frame.writer.emit(ast.Expr(call))
        return Known(None)

    def role_names(self, made: FileClass) -> dict[str, str]:
        """Return the names of the features of an operator or of the copies of one."""
        return made.roles or next(one.file_class.roles for one in made.object.attributes.values())

    def exports_of(self, made: FileClass) -> list[str]:
        """Return the roles of the features that an operator returns beside its output."""
        liv = made.liv or next(one.file_class.liv for one in made.object.attributes.values())
        return self.exports.get(liv.structure, [])

    def _method_parameter(self, name: str, value: Value, params: dict, made: FileClass) -> Value:
        if isinstance(value, Unknown):
            new = fresh(name)
            maybe_none = value.maybe_none or name == "cache"
            params[new] = value.expr, maybe_none
            return Unknown(ast.Name(new), maybe_none)
        if isinstance(value, Map) and name == "owners":
            if not value.items.keys() <= self.flags["owned"]:
                self.flags["owned"] |= value.items.keys()
                self.flags["has_owners"] = True
                raise Restart
            if not self.flags["has_owners"]:
                return value
            new = fresh(name)
            params[new] = self.to_expr(value), False
            return Unknown(ast.Name(new))
        if isinstance(value, Map):
            names = self.role_names(made) if made.source.node.name in OPERATORS else {}
            found = {}
            for key, one in value.items.items():
                new = fresh(names.get(key, str(key)))
                made.given = [*dict.fromkeys([*made.given, new.split("#")[0]])]
                params[new] = self.to_expr(one), False
                found[key] = Unknown(ast.Name(new))
            return Map(found)
        if isinstance(value, Known) and (value.value is None or not isinstance(value, Library)):
            return value
        raise Unsupported(f"an argument {name} of {made.source.node.name}")

    def _write_method(self, made: FileClass, function: Function, scope: dict, params: dict, pattern: tuple) -> bool:
        """Write a method unless it is there; return whether it returns anything."""
        name = function.node.name
        if name in made.methods:
            known, node = made.methods[name]
            if known != pattern:
                raise Unsupported(f"{made.source.node.name}.{name} is called in two ways")
            return _returns(node)
        writer = Writer(made)
        writer.rolls = made.source.node.name == "LanguageModel" and name == "forward"
        frame = Frame(function.module, writer, scope, None, function.home, function.receiver, is_written=True)
        made.methods[name] = pattern, None
        before, self.is_needed = self.is_needed, True
        value = self.run(function.node.body, frame)
        self.is_needed = before
        if value is not None and not (isinstance(value, Known) and value.value is None):
            writer.emit(ast.Return(self._result(made, name, value)))
        body = tidy(writer.block, list(params), is_init=False)
        node = ast.FunctionDef(name, arguments_of(list(params)), body, [], lineno=0)
        node.source, node.optional = function, {one for one, (_, maybe) in params.items() if maybe}
        node.params = list(params)
        made.methods[name] = pattern, node
        return _returns(node)

    def _result(self, made: FileClass, name: str, value: Value) -> ast.expr:
        if name == "forward" and made.source.node.name in OPERATORS:
            y, features = value.items
            roles = self.exports_of(made)
            if not roles:
                return self.to_expr(y)
            return ast.Tuple([self.to_expr(one) for one in (y, *(features.items[role] for role in roles))], ast.Load())
        return self.to_expr(value)

    def method_expr(self, function: Function) -> ast.expr:
        """Return a method of the present class that is not called at once."""
        owner: FileClass = function.receiver.owner
        spec = function.node.args
        params = {fresh(arg.arg): (ast.Name("_"), False) for arg in spec.args[1:]}
        scope = {one.split("#")[0]: Unknown(ast.Name(one)) for one in params}
        scope[spec.args[0].arg] = function.receiver
        pattern = tuple((one.split("#")[0], False) for one in params)
        self._write_method(owner, function, scope, params, pattern)
        return ast.Attribute(ast.Name("self"), function.node.name)

    # Caches.

    def cache_class(self, cls: Class) -> CacheClass:
        """Return the class of caches of the exported file."""
        name = cls.node.name
        if name not in self.caches:
            made = self.caches[name] = CacheClass(cls)
            made.object = Object(cls, self._missing_parts(), made, None, made)
            init, home = cls.method("__init__")
            params = {fresh(arg.arg): arg.arg for arg in init.args.args[1:]}
            scope = {arg: Unknown(ast.Name(one)) for one, arg in params.items() if self._is_there(arg)}
            scope |= {arg: self._empty(arg) for arg in params.values() if not self._is_there(arg)}
            writer = Writer(made, is_init=True)
            frame = Frame(home.module, writer, scope | {"self": made.object}, None, home, made.object, is_written=True)
            self.run(init.body, frame)
            made.body = writer.block
            made.params = [one for one, arg in params.items() if self._is_there(arg)]
            made.optional = {one for one in made.params if one.split("#")[0] == "parts"}
        return self.caches[name]

    def _is_there(self, name: str) -> bool:
        return self.flags.get(PARTS.get(name, ""), True)

    def _empty(self, name: str) -> Value:
        return Map({}) if name in ("owners", "before") else Seq([], is_tuple=True)

    def _missing_parts(self) -> dict[str, Value]:
        return {name: self._empty(name) for name in PARTS if not self._is_there(name)}

    def _new_cache(self, cls: Class, args: list[Value], kwargs: dict[str, Value], frame: Frame) -> Value:
        made = self.cache_class(cls)
        init, home = cls.method("__init__")
        bound = self.bind(Function(init, home.module, made.object, home=home), args, kwargs, frame)
        given = []
        for name, value in list(bound.items())[1:]:
            if self._is_there(name):
                given.append((name, value))
            elif self.truth(value) is not False:
                raise Unsupported(f"{name} of a cache")
        while given and given[-1][0] == "parts" and self.truth(given[-1][1]) is False:
            given.pop()
        return Unknown(ast.Call(ClassName(made), [self.to_expr(value) for _, value in given], []))

    def cache_method(self, target: ast.Attribute, args: list[Value], kwargs: dict[str, Value]) -> Value | None:
        """Return the result of a method of a cache; None if the attribute is no such method."""
        for name in CACHES:
            cls = self.program.find(
                name,
                self.program.module("star.model.language_model"),
                self.evaluate_top,
            )
            found = cls.method(target.attr)
            if not found:
                continue
            if name == "Cache" and target.attr not in ("advance", "finish"):
                continue
            node, home = found
            made = self.cache_class(cls)
            params = {fresh(arg.arg): (ast.Name("_"), False) for arg in node.args.args[1:]}
            scope: dict[str, Value] = {one.split("#")[0]: Unknown(ast.Name(one)) for one in params}
            scope["self"] = made.object
            function = Function(node, home.module, made.object, home=home)
            pattern = tuple(one.split("#")[0] for one in params)
            first = args[0].value if args and isinstance(args[0], Known) else "?"
            self.used.setdefault(target.attr, set()).add(first)
            self._write_cache_method(made, function, scope, params, pattern)
            if made.methods[target.attr][1] is not None and not made.methods[target.attr][1].body:
                return Known(None)
            return Unknown(self._call_expr(target, args, kwargs))
        return None

    def _write_cache_method(
        self, made: CacheClass, function: Function, scope: dict, params: dict, pattern: tuple
    ) -> None:
        """Write a method of a cache, without owners where none of the tensors that it is called for has any."""
        known = self.flags["used"].get(function.node.name)
        before = dict(made.object.attributes)
        takes_name = function.node.args.args[1:2] and function.node.args.args[1].arg == "name"
        if takes_name and known is not None and not known & self.flags["owned"]:
            made.object.attributes.update({name: self._empty(name) for name in ("owners", "is_read", "before")})
        self._write_method(made, function, scope, params, pattern)
        made.object.attributes = before


def _returns(node: ast.FunctionDef | None) -> bool:
    return node is None or any(isinstance(one, ast.Return) for one in ast.walk(node))


@cache
def _is_reassigned(cls: Class, name: str) -> bool:
    """Return whether a method other than the constructor assigns an attribute."""
    init = cls.method("__init__")
    called = {node.attr for node in ast.walk(init[0]) if isinstance(node, ast.Attribute)} if init else set()
    for method in cls.node.body:
        if isinstance(method, ast.FunctionDef) and method.name not in called | {"__init__"}:
            for node in ast.walk(method):
                if isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Store):
                    return True
    return any(_is_reassigned(base, name) for base in cls.bases)


__all__ = ["Evaluator", "Identity"]
