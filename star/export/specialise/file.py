"""The exported file, put together from the classes and functions of one model."""

import ast

from star.architecture.spec import LivSpec, ModelSpec
from star.export.specialise import sizes
from star.export.specialise.calls import ModuleSeq
from star.export.specialise.evaluator import Evaluator
from star.export.specialise.file_class import ClassName, FileClass, ModuleList, arguments_of, finish
from star.export.specialise.layout import TAB, break_line, format_doc, format_function
from star.export.specialise.merge import Parts, keep, merge
from star.export.specialise.program import Program
from star.export.specialise.values import Attribute, Object, copy_tree
from star.export.specialise.words import describe, shorten
from star.export.specialise.writer import literal

COPIED_METHODS = ("generate", "weights")


class File:
    """Classes and functions of a model with their names, as texts.

    Attributes:
        names: the name of every parameter in the exported file that has another one in the project, by prefix.
    """

    def __init__(self, evaluator: Evaluator, spec: ModelSpec) -> None:
        self.evaluator = evaluator
        self.program: Program = evaluator.program
        self.spec = spec
        self.texts: dict[str, str] = {}  # name of a class -> text
        self.class_names: dict[int, str] = {}
        self._by_text: dict[str, str] = {}
        self._base_texts: dict[LivSpec, str] | None = None
        self.copied = dict(evaluator.registry.copied)
        self.functions = dict(evaluator.registry.functions)

    # Classes.

    def name_of(self, made: FileClass) -> str:
        """Return the name of a class, which is written first if it is not yet."""
        if id(made) not in self.class_names:
            group = self._group(made)
            parts = [self._parts_of(one) for one in group]
            merged = merge(parts)
            for some in [parts] if merged else [[one] for one in parts]:
                text = self._class_text(merged or some[0])
                if text not in self._by_text:
                    name = self._free_name(_base_name(some[0].made))
                    self._by_text[text] = name
                    self.texts[name] = text.replace("class NAME", f"class {name}", 1)
                for one in some:
                    self.class_names[id(one.made)] = self._by_text[text]
                    one.made.used = (merged or one).arguments
        return self.class_names[id(made)]

    def _group(self, made: FileClass) -> list[FileClass]:
        """Return all classes that are to be one: operators that differ in what they share alone."""
        if made.source.node.name == "Differential":
            exports = self.evaluator.exports_of(made)
            return [
                one
                for one in self.evaluator.classes
                if one.source.node.name == "Differential" and self.evaluator.exports_of(one) == exports
            ]
        if made.liv is None:
            return [made]
        if self._base_texts is None:
            self._base_texts = {
                liv: self._class_text(self._parts_of(one.file_class)) for liv, one in self.evaluator.bases.items()
            }
        bases = {id(one.file_class) for one in self.evaluator.bases.values()}
        if id(made) in bases:
            return [made]
        text = self._base_texts[made.liv]
        return [
            one
            for one in self.evaluator.classes
            if one.liv is not None and id(one) not in bases and self._base_texts[one.liv] == text
        ]

    def _free_name(self, base: str) -> str:
        name, number = base, 1
        while name in self.texts:
            number += 1
            name = f"{base}{number}"
        return name

    def expr(self, node: ast.expr, made: FileClass | None = None, is_init: bool = True) -> ast.expr:
        """Return an expression with the names of classes in it."""
        return _Classes(self).visit(copy_tree(node))

    def _parts_of(self, made: FileClass) -> Parts:
        """Return the methods of a class with the names that they use."""
        stored: set[str] = set()
        methods = {}
        for name, (_, node) in made.methods.items():
            if node.body:
                body, params = finish(self._with_classes(node.body), node.params, made, False, stored)
                methods[name] = self._method(name, node, params, body, made)
        params = getattr(made, "params", [])
        body, names = finish(self._with_classes(made.body), params, made, True, set())
        used = {node.id for one in body for node in ast.walk(one) if isinstance(node, ast.Name)} | stored
        symbols = [name for name in made.values if name in used]
        keeps = [keep(name) for name in symbols if name in stored]
        wanted = ["a", "b"] if made.source.node.name == "Differential" else []
        optional = [name for one, name in zip(params, names, strict=True) if one in getattr(made, "optional", ())]
        required = [name for name in names if name not in optional]
        return Parts(
            made=made,
            arguments=[*wanted, *symbols, *required, *made.ties],
            optional=dict.fromkeys(optional, "()"),
            init=[*keeps, *body],
            methods=methods,
            given=list(made.given),
            ties=list(made.ties),
        )

    def _class_text(self, parts: Parts) -> str:
        made = parts.made
        is_module = made.source.is_module
        head = ["super().__init__()"] if is_module else []
        defaults = [ast.parse(one).body[0].value for one in parts.optional.values()]
        arguments = ["self", *(one for one in parts.arguments if one not in parts.optional), *parts.optional]
        init = ast.FunctionDef("__init__", arguments_of(arguments, defaults), [], [], lineno=0)
        init.body = [*(ast.parse(line).body[0] for line in head), *parts.init]
        base = "(nn.Module)" if is_module else ""
        texts = [f"class NAME{base}:", format_doc(describe(made), 1)]
        functions = ([init] if parts.init else []) + list(parts.methods.values())
        return "\n".join(texts) + "".join(f"\n\n{format_function(one, 1)}" for one in functions)

    def _method(
        self, name: str, node: ast.FunctionDef, params: list[str], body: list[ast.stmt], made: FileClass
    ) -> ast.FunctionDef:
        given = [params[i] for i, one in enumerate(node.params) if one.split("#")[0] in made.given]
        optional = [params[i] for i, one in enumerate(node.params) if one in node.optional]
        first = [one for one in params if one not in optional and one not in given]
        defaults: list[ast.expr] = [ast.Constant(None)] * len(optional + given)
        if name == "new_cache" and first[-1] == "batch_size":
            defaults = [ast.Constant(1)]
        method = ast.FunctionDef(name, arguments_of(["self", *first, *optional, *given], defaults), body, [], lineno=0)
        if node.source.module.name == "star.model.language_model" or node.source.module.name.endswith(".cache"):
            method.doc = shorten(ast.get_docstring(node.source.node) or "")
        return method

    def _with_classes(self, body: list[ast.stmt]) -> list[ast.stmt]:
        found = []
        for node in body:
            if isinstance(node, ModuleList):
                found += self._module_list(node)
            else:
                found.append(_Classes(self).visit(copy_tree(node)))
        return found

    def _module_list(self, node: ModuleList) -> list[ast.stmt]:
        items: list[Object] = node.items.distinct()
        if not items:
            return []
        place = Attribute(node.holder, (node.name,))
        if node.name == "layers":
            for item in items:
                self.name_of(item.file_class)
            made: ast.expr = ast.Call(ast.Name("layers"), [], [])
        else:
            calls = [self.construct(item) for item in items]
            if len({ast.dump(call) for call in calls}) == 1:
                target = ast.comprehension(
                    ast.Name("_"), ast.Call(ast.Name("range"), [ast.Constant(len(items))], []), [], 0
                )
                made = ast.GeneratorExp(calls[0], [target])
            else:
                made = ast.List(calls, ast.Load())
        return [ast.Assign([place], ast.Call(ast.parse("nn.ModuleList").body[0].value, [made], []), lineno=0)]

    def construct(self, item: Object, where: str = "") -> ast.expr:
        """Return the call that makes a module."""
        return _Classes(self).visit(copy_tree(self.evaluator.construct(item)))

    def names(self) -> dict[str, str]:
        """Return how the names of weights begin in the project, and how in the exported file, where these differ."""
        found: dict[str, str] = {}
        for name, value in self.evaluator.model.attributes.items():
            if not isinstance(value, ModuleSeq):
                continue
            distinct = value.distinct()
            for i, item in enumerate(value.items):
                if not isinstance(item, Object):
                    continue
                if item in distinct and distinct.index(item) != i:
                    found[f"{name}.{i}"] = f"{name}.{distinct.index(item)}"
                for prefix, made in _operators(item):
                    for holder, names in made.assigned:
                        names = holder.path() + names
                        theirs, ours = ".".join(names), made.attribute_name(names)
                        if theirs != ours:
                            found[f"{name}.{i}.{prefix}{theirs}"] = f"{name}.{i}.{prefix}{ours}"
        return found

    # The list of layers.

    def layers_text(self) -> str:
        """Return the function that makes the layers."""
        items: list[Object] = self.evaluator.model.attributes["layers"].items
        owners = self._owners(items)
        lines, calls = [], []
        for i, item in enumerate(items):
            text = ast.unparse(self.construct(item))
            calls.append(f"{_variable(i)} := {text}" if i in owners else text)
        lines.append(_list_text(calls))
        doc = format_doc("Return the operators of the residual layers, first to last.", 1)
        return "def layers():\n" + doc + "\n" + "\n".join(lines)

    def _owners(self, items: list[Object]) -> set[int]:
        found = set()
        for item in items:
            for _, made in _operators(item):
                found |= {self._layer_of(place, items)[0] for place in made.ties.values()}
        return found

    def _layer_of(self, place: Attribute, items: list[Object]) -> tuple[int, FileClass, str]:
        owner = place.holder.owner
        name = owner.attribute_name(place.holder.path() + place.name)
        for i, item in enumerate(items):
            if item.file_class is owner:
                return i, owner, name
            for part, one in item.attributes.items():
                if isinstance(one, Object) and one.file_class is owner:
                    return i, owner, f"{part}.{name}"
        raise AssertionError(f"no layer has {name}")

    def place(self, place: Attribute) -> ast.expr:
        """Return where the function that makes the layers finds a module of an earlier one."""
        number, _, name = self._layer_of(place, self.evaluator.model.attributes["layers"].items)
        return ast.parse(f"{_variable(number)}.{name}").body[0].value


class _Classes(ast.NodeTransformer):
    """Replaces classes by their names, and leaves out arguments that their constructors do not take."""

    def __init__(self, file: File) -> None:
        self.file = file

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Call) and isinstance(node.func, ClassName):
            made = node.func.file_class
            name = self.file.name_of(made)
            node.func = ast.Name(name)
            if not made.is_dynamic:
                node.keywords = [ast.keyword(one, made.arguments[one]) for one in made.used if one in made.arguments]
                node.keywords += [ast.keyword(one, self.file.place(place)) for one, place in made.ties.items()]
                if made.given and "given" in made.used:
                    node.keywords.append(ast.keyword("given", literal(tuple(made.given))))
        elif isinstance(node, ClassName):
            return ast.Name(self.file.name_of(node.file_class))
        return super().generic_visit(node)


def _operators(item: Object) -> list[tuple[str, FileClass]]:
    """Return the classes of an operator or its copies, with what stands before their names."""
    copies = [
        (f"{name}.", one.file_class)
        for name, one in item.attributes.items()
        if item.cls.node.name == "Differential" and isinstance(one, Object)
    ]
    return copies or [("", item.file_class)]


def _base_name(made: FileClass) -> str:
    return sizes.class_name(made.liv) if made.liv else made.source.node.name


def _variable(number: int) -> str:
    return f"layer_{number + 1}"


def _list_text(calls: list[str]) -> str:
    """Return the statement that returns the layers; what repeats is written once."""
    for period in range(1, len(calls) // 2 + 1):
        count, rest = divmod(len(calls), period)
        if not rest and calls == calls[:period] * count and period + 4 < len(calls):
            inside = [f"{TAB * 3}{call}," for call in calls[:period]]
            loops = [f"{TAB * 2}layer", f"{TAB * 2}for _ in range({count})", f"{TAB * 2}for layer in ("]
            return "\n".join([f"{TAB}return [", *loops, *inside, f"{TAB * 2})", f"{TAB}]"])
    return f"{TAB}return [\n" + "\n".join(f"{TAB * 2}{break_line(call, 2)}," for call in calls) + f"\n{TAB}]"
