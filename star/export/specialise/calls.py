"""Partial evaluation of calls: of builtins, of torch, of functions and classes of the project."""

import ast
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from star.architecture.spec import FeatureGroup
from star.export.specialise import sizes
from star.export.specialise.program import Library, is_plain
from star.export.specialise.statements import Frame
from star.export.specialise.tidy import defined_in, shown, tidy, variables_in
from star.export.specialise.values import (
    Attribute,
    Class,
    Function,
    Identity,
    Known,
    Map,
    Object,
    Seq,
    Symbol,
    Unknown,
    Unsupported,
    Value,
    copy_tree,
)
from star.export.specialise.writer import Writer, assign, fresh, is_cheap

CACHE_CLASSES = ("OperatorCache", "Cache")  # whose objects are there only when the model runs
KEPT_AS_TEXT = ("name",)  # parameters that are passed, whatever their value
DROPPED = ("table_length",)  # functions that change no result: rows that would be kept for later calls
SHORT_FUNCTION = 64  # columns of an expression that stands in place of a call


class ModuleSeq(Seq):
    """List of modules that is itself a module of the exported file."""

    holder: tuple[Object, tuple[str, ...]] | None = None

    def place_items(self) -> None:
        """Tell every module where it is: the exported list has each once."""
        if self.holder is None:
            return
        owner, names = self.holder
        for number, item in enumerate(self.distinct()):
            if item.parent is None:
                item.parent = owner, (*names, number)

    def distinct(self) -> list[Object]:
        """Return each module once; what changes nothing is left out."""
        return list({id(item): item for item in self.items if isinstance(item, Object)}.values())


class ModuleMap(Map):
    """Dictionary of modules or parameters, each an attribute of the exported class."""


class Calls:
    """Evaluation of calls."""

    def _call(self, node: ast.Call, frame: Frame) -> Value:
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "super()":
            target = self._super(node.func.attr, frame)
        elif isinstance(node.func, ast.Attribute):
            holder = self.evaluate(node.func.value, frame)
            if isinstance(holder, Seq | Map):
                return self.collection_method(holder, node.func.attr, self._elements(node.args, frame), frame)
            if node.func.attr == "register_buffer" and isinstance(holder, Object):
                return self.register_buffer(holder, node, frame)
            target = self.attribute(holder, node.func.attr, frame)
        else:
            target = self.evaluate(node.func, frame)
        args = self._elements(node.args, frame)
        kwargs: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value, frame)
            if keyword.arg:
                kwargs[keyword.arg] = value
            elif isinstance(value, Map):
                kwargs |= value.items
            else:
                raise Unsupported(ast.unparse(node))
        return self.apply(target, args, kwargs, frame, node)

    def _super(self, name: str, frame: Frame) -> Value:
        assert frame.home is not None
        for base in frame.home.bases:
            if found := base.method(name):
                return Function(found[0], found[1].module, receiver=frame.receiver, home=found[1])
        if name == "__init__":
            return Known(lambda: None)
        raise Unsupported(f"super().{name}")

    def apply(self, target: Value, args: list[Value], kwargs: dict[str, Value], frame: Frame, node: Any) -> Value:
        """Return the result of a call."""
        match target:
            case Identity():
                return args[0]
            case Function():
                return self.call(target, args, kwargs, frame)
            case Class():
                return self.instantiate(target, args, kwargs, frame)
            case Object():
                return self.call(self.attribute(target, "forward", frame), args, kwargs, frame)
            case Library():
                return self._library(target, args, kwargs, frame)
            case Known():
                return self._native(target, args, kwargs, frame, node)
            case Unknown():
                return self._unknown(target, args, kwargs)
        raise Unsupported(f"{frame.module.name}: {ast.unparse(node)}")

    def _unknown(self, target: Unknown, args: list[Value], kwargs: dict[str, Value]) -> Value:
        if isinstance(target.expr, ast.Attribute):
            found = self.cache_method(target.expr, args, kwargs)
            if found is not None:
                return found
        return Unknown(self._call_expr(target.expr, args, kwargs))

    def _call_expr(self, target: ast.expr, args: list[Value], kwargs: dict[str, Value]) -> ast.expr:
        keywords = [ast.keyword(name, self.to_expr(value)) for name, value in kwargs.items()]
        return ast.Call(target, [self.to_expr(arg) for arg in args], keywords)

    def _library(self, target: Library, args: list[Value], kwargs: dict[str, Value], frame: Frame) -> Value:
        name = ast.unparse(target.expr)
        match name:
            case "nn.Identity":
                return Identity()
            case "nn.ModuleList":
                items = self.items_of(args[0]) if args else []
                assert items is not None
                return ModuleSeq(list(items), depth=frame.writer.depth)
            case "nn.ParameterDict":  # which sorts what it is given
                return ModuleMap(dict(sorted(args[0].items.items())), frame.writer.depth)
            case "nn.ModuleDict":
                return ModuleMap(dict(args[0].items) if args else {}, frame.writer.depth)
            case "nn.Linear" | "nn.RMSNorm":
                for key, usual in (("bias", True), ("elementwise_affine", True)):
                    if isinstance(value := kwargs.get(key), Known) and value.value is usual:
                        del kwargs[key]
        while args and isinstance(args[-1], Known) and args[-1].value is None:
            args = args[:-1]
        if "bias" in kwargs and isinstance(kwargs["bias"], Known) and kwargs["bias"].value is None:
            del kwargs["bias"]
        return Unknown(self._call_expr(target.expr, args, kwargs))

    def _native(self, target: Known, args: list[Value], kwargs: dict[str, Value], frame: Frame, node: Any) -> Value:
        function = target.value
        handler = getattr(self, f"_builtin_{getattr(function, '__name__', '')}", None)
        if handler is not None:
            found = handler(args, kwargs, frame)
            if found is not None:
                return found
        if isinstance(receiver := getattr(function, "__self__", None), FeatureGroup) and function.__name__ == "width":
            return self._width(receiver, self.to_python(args[0]), frame)
        values = [*args, *kwargs.values()]
        if not all(map(self._is_known, values)):
            if isinstance(function, type) and issubclass(function, BaseException) or target.expr is not None:
                return Unknown(self._call_expr(target.expr, args, kwargs))
            raise Unsupported(f"{frame.module.name}: {ast.unparse(node)}")
        result = function(*map(self.to_python, args), **{key: self.to_python(one) for key, one in kwargs.items()})
        name = sizes.NAMED_CALLS.get(getattr(function, "__name__", ""))
        if name and isinstance(result, int) and result:
            return self.size(self._known_width(name, result), result, frame)
        if target.expr is not None and any(isinstance(one, Known) and one.expr is not None for one in values):
            return Known(result, self._call_expr(target.expr, args, kwargs))
        return Known(result)

    def _known_width(self, name: str, value: int) -> str:
        return "HEAD_DIM" if name != "rank" and value == self.dims.head_dim else name

    def _is_known(self, value: Value) -> bool:
        if isinstance(value, Seq):
            return all(map(self._is_known, value.items))
        if isinstance(value, Map):
            return all(map(self._is_known, value.items.values()))
        return isinstance(value, Known) and not isinstance(value, Library)

    def _width(self, group: FeatureGroup, dims: Any, frame: Frame) -> Value:
        """Return the width of a feature as the product of sizes that have names."""
        value = group.width(dims)
        owner = frame.writer.owner
        if owner is None or owner.liv is None:
            return Known(value)
        factors = sizes.width_symbols(owner.liv, group, dims, value)
        exprs = [self.to_expr(self.size(name, size, frame)) for name, size in factors]
        return Known(value, sizes.product(exprs))

    # Builtins that take collections with parts that are not known.

    def _builtin_zip(self, args, kwargs, frame):
        columns = [self.items_of(arg) for arg in args]
        if any(column is None for column in columns) or not columns:
            return None
        return Seq([Seq(list(row), is_tuple=True) for row in zip(*columns, strict=False)])

    def _builtin_enumerate(self, args, kwargs, frame):
        items = self.items_of(args[0])
        return None if items is None else Seq([Seq([Known(i), one], is_tuple=True) for i, one in enumerate(items)])

    def _builtin_reversed(self, args, kwargs, frame):
        items = self.items_of(args[0])
        return None if items is None else Seq(items[::-1])

    def _builtin_tuple(self, args, kwargs, frame):
        items = self.items_of(args[0])
        return None if items is None else Seq(list(items), is_tuple=True)

    def _builtin_list(self, args, kwargs, frame):
        items = self.items_of(args[0])
        return None if items is None else Seq(list(items), depth=frame.writer.depth)

    def _builtin_min(self, args, kwargs, frame):
        exprs = {ast.dump(self.to_expr(arg)) for arg in args}
        return args[0] if len(exprs) == 1 and len(args) > 1 else None

    def _builtin_len(self, args, kwargs, frame):
        items = self.items_of(args[0])
        return None if items is None else Known(len(items))

    def _builtin_next(self, args, kwargs, frame):
        items = self.items_of(args[0])
        return None if items is None else items[0]

    def _builtin_bool(self, args, kwargs, frame):
        truth = self.truth(args[0])
        return None if truth is None else Known(truth)

    def _builtin_sorted(self, args, kwargs, frame):
        items, key = self.items_of(args[0]), kwargs.get("key")
        if items is None or not isinstance(key, Function):
            return None
        ranks = [self.to_python(self.call(key, [item], {}, frame)) for item in items]
        order = sorted(range(len(items)), key=ranks.__getitem__)
        return Seq([items[i] for i in order], depth=frame.writer.depth)

    def _builtin_map(self, args, kwargs, frame):
        items = self.items_of(args[1])
        return None if items is None else Seq([self.apply(args[0], [one], {}, frame, None) for one in items])

    def _builtin_replace(self, args, kwargs, frame):
        if not isinstance(args[0], Object):
            return None
        return Object(args[0].cls, args[0].attributes | kwargs, args[0].owner)

    def collection_method(self, value: Value, name: str, args: list[Value], frame: Frame) -> Value | None:
        """Return the result of a method of a list or dictionary."""
        if isinstance(value, Map):
            match name:
                case "items":
                    return Seq([Seq([Known(key), one], is_tuple=True) for key, one in value.items.items()])
                case "values":
                    return Seq(list(value.items.values()))
                case "keys":
                    return Seq([Known(key) for key in value.items])
                case "get":
                    default = args[1] if len(args) > 1 else Known(None)
                    return value.items.get(self.to_python(args[0]), default)
                case "setdefault":
                    self.check_mutable(value, frame)
                    return value.items.setdefault(self.to_python(args[0]), args[1])
                case "clear" if not value.items:
                    return Known(None)
        if isinstance(value, Seq) and name == "append":
            self.check_mutable(value, frame)
            value.items.append(frame.writer.bind(args[0], "one"))
            if isinstance(value, ModuleSeq):
                value.place_items()
            return Known(None)
        raise Unsupported(f"method {name} of a collection")

    # Functions of the project.

    def call(self, function: Function, args: list[Value], kwargs: dict[str, Value], frame: Frame) -> Value:
        """Return the result of a function of the project: in place, or by a function of the exported file."""
        node, receiver = function.node, function.receiver
        if isinstance(node, ast.Lambda):
            return self._in_place(function, args, kwargs, frame)
        elsewhere = isinstance(receiver, Object) and receiver.file_class not in (None, frame.writer.owner)
        if elsewhere and node.name != "cache_spec":  # which is known, whatever the module
            return self.file_method(receiver, function, args, kwargs, frame)
        if receiver is None and node.name in DROPPED:
            return args[0]
        if receiver is None and node.name == "allocate":
            if self.flags["has_owners"]:
                self.cache_class(self.program.find("OperatorCache", function.module, self.evaluate_top))
                return Unknown(self._call_expr(self.request(node.name, function.module), args, kwargs))
            return self._in_place(function, args, kwargs, frame)
        if receiver is None and function.scope is None and not any(map(_is_record, [*args, *kwargs.values()])):
            return self._by_function(function, args, kwargs, frame)
        return self._in_place(function, args, kwargs, frame)

    def bind(self, function: Function, args: list[Value], kwargs: dict[str, Value], frame: Frame) -> dict[str, Value]:
        """Return the values of the parameters by name."""
        spec = function.node.args
        names = [arg.arg for arg in spec.posonlyargs + spec.args]
        args = ([function.receiver] if function.receiver is not None else []) + args
        if any(isinstance(arg, Unknown) and isinstance(arg.expr, ast.Starred) for arg in args[: len(names)]):
            raise Unsupported(f"an unknown number of arguments of {_name(function)}")
        found = dict(zip(names, args, strict=False))
        if spec.vararg:
            found[spec.vararg.arg] = Seq(args[len(names) :], is_tuple=True)
        elif len(args) > len(names):
            raise Unsupported(f"too many arguments of {_name(function)}")
        found |= kwargs
        outer = self.frame_of(function.module, frame.writer)
        defaults = dict(zip(names[len(names) - len(spec.defaults) :], spec.defaults, strict=True))
        defaults |= {
            arg.arg: one for arg, one in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if one is not None
        }
        for name, default in defaults.items():
            if name not in found:
                found[name] = self.evaluate(default, outer)
        return found

    def _in_place(self, function: Function, args: list[Value], kwargs: dict[str, Value], frame: Frame) -> Value:
        bound = self.bind(function, args, kwargs, frame)
        scope = {name: frame.writer.bind(value, name) for name, value in bound.items()}
        inner = Frame(
            function.module,
            frame.writer,
            scope,
            outer=function.scope,
            home=function.home,
            receiver=function.receiver,
            depth=frame.depth + 1,
        )
        if isinstance(function.node, ast.Lambda):
            return self.evaluate(function.node.body, inner)
        found = self.run(function.node.body, inner)
        return Known(None) if found is None else found

    def _by_function(self, function: Function, args: list[Value], kwargs: dict[str, Value], frame: Frame) -> Value:
        given = [*args, *kwargs.values()]
        spec = function.node.args
        whole = len(given) == len(spec.args + spec.kwonlyargs) and not spec.vararg
        starred = any(isinstance(one, Unknown) and isinstance(one.expr, ast.Starred) for one in given)
        if (whole or starred) and all(isinstance(one, Unknown) and not one.maybe_none for one in given):
            return Unknown(self._call_expr(self.request(function.node.name, function.module), args, kwargs))
        if function.node.name in self.registry.single:
            return self._in_place(function, args, kwargs, frame)
        bound = self.bind(function, args, kwargs, frame)
        key = _signature(function, bound)
        if key in self.written:
            known = self.written[key]
            if known is None:
                return self._in_place(function, args, kwargs, frame)
            name, wanted, maybe_none = known
            return Unknown(ast.Call(ast.Name(name), [self.to_expr(bound[one]) for one in wanted], []), maybe_none)
        written = self._write_function(function, bound, frame, key)
        if written is None:
            self.written[key] = None
            self.written.pop(None, None)
        return self._in_place(function, args, kwargs, frame) if written is None else written

    def _write_function(
        self, function: Function, bound: dict[str, Value], frame: Frame, signature: Any
    ) -> Value | None:
        """Return a call of a function of the exported file, None if its body is one expression. What is written for a
        signature is noted, where any call of that signature may take it.
        """
        name = function.node.name
        writer = Writer(frame.writer.owner, frame.writer.is_init)
        params: dict[str, ast.expr] = {}  # variable -> argument
        scope, folded = {}, {}
        for key, value in bound.items():
            scope[key] = self._parameter(name, key, value, params, folded)
        inner = Frame(function.module, writer, scope, is_written=True)
        result = self.run(function.node.body, inner) or Known(None)
        if not isinstance(result, Unknown | Seq) and not (isinstance(result, Known) and result.value is None):
            return None
        if not all(isinstance(one, Unknown | Known) for one in getattr(result, "items", ())):
            return None
        is_procedure = isinstance(result, Known)
        body = [*writer.block] if is_procedure else [*writer.block, ast.Return(self.to_expr(result))]
        lifted: dict[str, str] = {}
        body = [_Lift(params, lifted, writer.is_init).visit(copy_tree(one)) for one in body]
        for one in sorted(variables_in(body) - defined_in(body) - set(params)):
            params[one] = ast.Name(one)
        body = tidy(body, list(params), is_init=False)
        if not body or len(body) == 1 and isinstance(body[0], ast.Return) and _is_short(function, body[0]):
            return None
        used = variables_in(body)
        wanted = {one: arg for one, arg in params.items() if one in used}
        call_name = self.registry.function(function, body, list(wanted), folded)
        call = ast.Call(ast.Name(call_name), list(wanted.values()), [])
        if is_procedure:
            frame.writer.emit(ast.Expr(call))
            return Known(None)
        if isinstance(result, Seq):
            joined = [Unknown(ast.Name(fresh(_hint(item, i)))) for i, item in enumerate(result.items)]
            frame.writer.emit(assign(ast.Tuple([one.expr for one in joined], ast.Store()), call))
            return Seq(joined, is_tuple=True, depth=frame.writer.depth)
        origins = [one.split("#")[0] for one in wanted]
        if signature is not None and set(origins) <= bound.keys():
            self.written[signature] = call_name, origins, result.maybe_none
        return Unknown(call, result.maybe_none)

    def _parameter(self, function: str, key: str, value: Value, params: dict, folded: dict) -> Value:
        """Return what a parameter stands for inside a function of the exported file."""
        new = fresh(key)
        if isinstance(value, Unknown):
            params[new] = value.expr
            return Unknown(ast.Name(new), value.maybe_none)
        if isinstance(value, Known) and not isinstance(value, Library) and is_plain(value.value):
            if (function, key) in self.registry.varying or key in KEPT_AS_TEXT:
                params[new] = self.to_expr(value)
                return Unknown(ast.Name(new))
            if value.expr is not None:
                params[new] = value.expr
                return Known(value.value, ast.Name(new))
            folded[key] = value.value
        return value

    def function_expr(self, function: Function) -> ast.expr:
        """Return the expression of a function that is not called at once."""
        if function.receiver is None:
            return self.request(function.node.name, function.module)
        return self.method_expr(function)


def _signature(function: Function, bound: dict[str, Value]) -> Any:
    """Return what a function of the exported file depends on; None if some argument is no number or expression."""
    found: list[Any] = [function.module.name, function.node.name]
    for name, value in bound.items():
        if isinstance(value, Unknown):
            found.append((name, value.maybe_none))
        elif isinstance(value, Known) and not isinstance(value, Library) and is_plain(value.value):
            found.append((name, repr(value.value), value.expr is not None))
        else:
            return None
    return tuple(found)


class _Lift(ast.NodeTransformer):
    """Makes parameters of what a function reads of the module that calls it, and of its caller's variables."""

    def __init__(self, params: dict[str, ast.expr], lifted: dict[str, str], is_init: bool) -> None:
        self.params, self.lifted, self.is_init = params, lifted, is_init

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, Attribute | Symbol):
            if node.key not in self.lifted:
                name = node.name[-1] if isinstance(node, Attribute) else node.name
                self.lifted[node.key] = fresh(name)
                self.params[self.lifted[node.key]] = node
            return ast.Name(self.lifted[node.key])
        return super().generic_visit(node)


def _is_record(value: Value) -> bool:
    """Return whether a value is a record of the architecture, which no exported file has."""
    return isinstance(value, Known) and (is_dataclass(value.value) or isinstance(value.value, Enum))


def _name(function: Function) -> str:
    return getattr(function.node, "name", "a lambda")


def _is_short(function: Function, node: ast.Return) -> bool:
    """Return whether an expression may as well stand in place of a call."""
    return function.node.args.vararg is not None or len(shown(node.value)) <= SHORT_FUNCTION


def _hint(value: Value, i: int) -> str:
    match value:
        case Unknown(expr=ast.Name(id=name)):
            return name
        case Unknown(expr=ast.Call(func=ast.Attribute(attr=name), args=[])):
            return name
        case Unknown(expr=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name
    return f"part_{i}"


__all__ = ["Calls", "ModuleMap", "ModuleSeq", "is_cheap"]
