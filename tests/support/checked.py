"""Check every annotation of a package while it is tested, shapes of tensors included.

jaxtyping's own import hook checks the arguments of a call twice and binds them to the signature once more, which took
most of the time of a small model. Here beartype checks them once, in a context of jaxtyping in which a named dimension
has one size from the arguments to what is returned.
"""

import ast
import functools
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder, SourceFileLoader

from beartype import beartype
from jaxtyping import jaxtyped

ONE_CALL = jaxtyped("context")


def checked(function: Callable) -> Callable:
    """Return a function that checks what it is called with and what it returns."""
    beartyped = beartype(function)
    if beartyped is function:  # nothing is annotated
        return function

    @functools.wraps(function)
    def call(*args, **kwargs):
        with ONE_CALL:
            return beartyped(*args, **kwargs)

    return call


class _Decorate(ast.NodeTransformer):
    """Decorate every function, below the decorators that it has; and every dataclass, whose fields are annotated."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.decorator_list.append(ast.Name("__checked__", ast.Load()))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
            node.decorator_list.insert(0, ast.Name("__checked_dataclass__", ast.Load()))
        return node


def _checked_dataclass(cls: type) -> type:
    cls.__init__ = checked(cls.__init__)
    return cls


class _Loader(SourceFileLoader):
    """Compile a module with its functions decorated, anew in each process: the cache is for the module as it is."""

    def get_code(self, fullname: str):
        tree = _Decorate().visit(ast.parse(self.get_data(self.path), self.path))
        return compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)

    def exec_module(self, module) -> None:
        vars(module).update(__checked__=checked, __checked_dataclass__=_checked_dataclass)
        super().exec_module(module)


class _Finder:
    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, fullname, path=None, target=None):
        if not any(fullname == name or fullname.startswith(f"{name}.") for name in self._names):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def check_annotations(*names: str) -> None:
    """Check the annotations of these modules, and of all within them, that are imported from now on."""
    sys.meta_path.insert(0, _Finder(names))
