"""The text of an exported file."""

import ast
from dataclasses import dataclass

from star.architecture.description import renamed
from star.architecture.spec import ModelSpec
from star.cost.cost import price
from star.export.source import Module
from star.export.specialise import sizes
from star.export.specialise.copied import copy_definitions, imports_of, plain_annotations, unknown_names, with_short_doc
from star.export.specialise.file import File
from star.export.specialise.layout import format_function
from star.export.specialise.model import evaluate_model
from star.export.specialise.words import shorten
from star.export.specialise.writer import literal

STANDALONE, OF_TOKENS = "star.export.standalone", "star.export.standalone_tokens"
BYTES, TOKENS, TRANSFORMERS = "bytes", "tokens", "transformers"  # what a file takes, or what loads it
READING = ("WEIGHTS", "DTYPES", "read_safetensors", "load")
PADDED = ("Group", "TextCache", "StarForCausalLM", "operator_caches", "group_by_padding", "without_first", "grow")
USES = {  # module and names of the definitions that use the model
    BYTES: [(STANDALONE, name) for name in (*READING, "encode", "generate", "main")],
    TOKENS: [
        *((STANDALONE, name) for name in READING),
        *((OF_TOKENS, name) for name in ("TOKENIZER", "tokenizer", "encode", "generate")),
        (STANDALONE, "main"),
    ],
    TRANSFORMERS: [("star.export.hf.modeling_star", name) for name in ("ROOM", *PADDED)],
}
CONFIGURATION = "\n\nfrom .configuration_star import StarConfig"
COPIED = ("generate", "weights")  # methods of the model that are the same for all models
END = '\n\n\nif __name__ == "__main__":\n    main()\n'


@dataclass(frozen=True, slots=True)
class ModelCode:
    """Code of one model.

    Attributes:
        text: the file, without a docstring.
        names: how names of weights begin in the project -> how in the file, where these differ.
    """

    text: str
    names: dict[str, str]

    def name(self, name: str) -> str:
        """Return the name of a weight in the file."""
        return renamed(name, self.names)


def specialise_model(spec: ModelSpec, use: str = BYTES) -> ModelCode:
    """Return the code of a model, with what uses it: a key of `USES`."""
    file = File(evaluate_model(spec), spec)
    file.name_of(file.evaluator.model.file_class)
    for cache in file.evaluator.caches.values():
        file.name_of(cache)
    layers = file.layers_text()
    classes = dict(file.texts)
    model = classes.pop("LanguageModel") + _copied_methods(file)
    caches = [classes.pop(name) for name in ("Cache", "OperatorCache") if name in classes]
    copied = copy_definitions(file)
    written = [_function_text(node) for node in file.functions.values()]
    records = [text for text in copied.values() if text.lstrip("@").startswith("class ")]
    functions = written + [text for text in copied.values() if text not in records]
    body = "\n\n\n".join([layers, model, *classes.values(), *caches, *records, *functions, *_use(file, use)])
    constants = _constants(file, body)
    modules = {"star.model.language_model", *dict(USES[use]), *(name for name, _ in file.program.read)}
    text = f"{constants}\n\n\n{body}{'' if use == TRANSFORMERS else END}"
    imports = imports_of(text, file.program, sorted(modules)) + CONFIGURATION * (use == TRANSFORMERS)
    text = f"{imports}\n\n{text}"
    unknown = unknown_names(text)
    assert not unknown, f"the exported file does not define {', '.join(sorted(unknown))}"
    return ModelCode(text, file.names())


def _use(file: File, use: str) -> list[str]:
    """Return the definitions that load and use the model."""
    modules: dict[str, Module] = {name: file.program.module(name) for name in dict(USES[use])}
    found = [modules[module].definitions[name].source for module, name in USES[use]]
    found = [text.replace("LanguageModel(SPEC)", "LanguageModel()") for text in found]
    constants = [text for text in found if not text.startswith(("def ", "class "))]
    return ["\n".join(constants), *(text for text in found if text not in constants)]


def _function_text(node: ast.FunctionDef) -> str:
    node.doc = shorten(ast.get_docstring(node.source.node) or "")
    return format_function(node)


def _copied_methods(file: File) -> str:
    module = file.program.module("star.model.language_model")
    definition = module.definitions["LanguageModel"]
    lines = definition.source.splitlines()
    texts = []
    for node in definition.node.body:
        if isinstance(node, ast.FunctionDef) and node.name in COPIED:
            start = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
            texts.append(with_short_doc("\n".join(lines[start : node.end_lineno]), 1))
    whole = plain_annotations("class LanguageModel:\n" + "\n\n".join(texts), module)
    return "\n\n" + whole.split("\n", 1)[1]


def _constants(file: File, body: str) -> str:
    """Return the sizes, the number of parameters and the constants of the code."""
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    found = {name: getattr(file.spec.dims, field) for name, field in sizes.SIZES.items() if name in used}
    found["PARAMETERS"] = price(file.spec.slots, file.spec.dims).params
    known = file.program.constants
    found |= {name: value for name, value in known.items() if name in used and name not in found}
    return "\n".join(f"{name} = {_number(value)}" for name, value in found.items())


def _number(value: object) -> str:
    return f"{value:_}" if type(value) is int else ast.unparse(literal(value))
