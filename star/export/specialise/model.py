"""One model through the partial evaluator."""

import ast

from star.architecture.codes import Structure
from star.architecture.spec import LivSpec, ModelSpec
from star.export.specialise.evaluator import Evaluator, Restart
from star.export.specialise.statements import Frame
from star.export.specialise.values import Function, Known, Map, Object, Seq, Unknown
from star.export.specialise.writer import Writer, fresh

MOST_PASSES = 12


def evaluate_model(spec: ModelSpec) -> Evaluator:
    """Return the evaluator after it has written all classes and functions of a model."""
    exports: dict[Structure, list[str]] = {}
    sources, sharing = set(), set()
    for i, slot in enumerate(spec.slots):
        if {*slot.features_from, *slot.weights_from} - {i}:
            sharing.add(slot.liv.structure)
        for group, source in zip(slot.liv.groups, slot.features_from, strict=True):
            if source != i:
                roles = exports.setdefault(slot.liv.structure, [])
                roles += [group.role] * (group.role not in roles)
                sources.add(source)
    flags = {
        "has_parts": any(slot.liv.differential for slot in spec.slots),
        "has_owners": False,
        "owned": set(),
        "used": {},
        "has_shifts": bool(spec.dims.style.shift),
    }
    varying: set[tuple[str, str]] = set()
    reserved: set[str] = set()
    single: set[str] = set()
    for _ in range(MOST_PASSES):
        evaluator = Evaluator(spec.dims, exports, flags, varying, reserved, single)
        evaluator.sources, evaluator.sharing = sources, sharing
        try:
            _evaluate(evaluator, spec)
        except Restart:
            continue
        registry = evaluator.registry
        if flags["has_owners"] and evaluator.used != flags["used"]:
            flags["used"] = evaluator.used
            continue
        more, conflicts = registry.find_varying() - varying, registry.find_conflicts(evaluator.program) - reserved
        alone = registry.find_single(evaluator.classes) - single
        if not more and not conflicts and not alone:
            return evaluator
        single = single | alone
        varying, reserved = varying | more, reserved | conflicts
    raise AssertionError("the code of the model does not settle")


def _evaluate(evaluator: Evaluator, spec: ModelSpec) -> None:
    module = evaluator.program.module("star.model.language_model")
    cls = evaluator.program.find("LanguageModel", module, evaluator.evaluate_top)
    model = evaluator.instantiate(cls, [Known(spec)], {}, Frame(module, Writer(None), {}))
    assert isinstance(model, Object)
    evaluator.model = model
    made = model.file_class
    for name, given in (("forward", ("tokens", "cache")), ("new_cache", ("context", "batch_size"))):
        node, home = cls.method(name)
        params = {fresh(one): (ast.Name("_"), one == "cache") for one in given}
        scope = {one.split("#")[0]: Unknown(ast.Name(one), one.startswith("cache#")) for one in params}
        scope["self"] = model
        function = Function(node, home.module, model, home=home)
        evaluator._write_method(made, function, scope, params, ())
    for layer in model.attributes["layers"].items:
        for one in (layer, *layer.attributes.values()):
            if isinstance(one, Object) and "mixer" in one.attributes:
                _add_training(evaluator, one)
    evaluator.bases = {}
    for slot in spec.slots:
        if slot.liv not in evaluator.bases:
            evaluator.bases[slot.liv] = _alone(evaluator, slot.liv, spec)


def _add_training(evaluator: Evaluator, layer: Object) -> None:
    """Write the method that balances experts between steps of training."""
    mixer = layer.attributes["mixer"]
    found = mixer.cls.method("rebalance")
    if found:
        node, home = found
        rate = fresh("rate")
        scope = {"self": mixer, "rate": Unknown(ast.Name(rate))}
        params = {rate: (ast.Name("_"), False)}
        evaluator._write_method(
            layer.file_class, Function(node, home.module, mixer, home=home), scope, params, ("rate",)
        )


def _alone(evaluator: Evaluator, liv: LivSpec, spec: ModelSpec) -> Object:
    """Return an operator that shares nothing: two operators with the same code alone have one class."""
    module = evaluator.program.module("star.model.operators.liv")
    cls = evaluator.program.find("Liv", module, evaluator.evaluate_top)
    own = Seq([Known(None) for _ in liv.groups], is_tuple=True)
    args = [Known(liv), Known(spec.dims), own, Known((False,) * len(liv.groups))]
    frame = Frame(module, Writer(None), {})
    made = evaluator.instantiate(cls, args, {}, frame)
    made.parent = (evaluator.model, ("alone",))
    _add_training(evaluator, made)
    shared = {"shared": Map({})}
    cache = Unknown(ast.Name(fresh("cache")), maybe_none=True)
    evaluator.call(
        evaluator.attribute(made, "forward", frame), [Unknown(ast.Name(fresh("x")))], shared | {"cache": cache}, frame
    )
    return made
