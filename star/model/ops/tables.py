"""Tables of positions, cached between passes."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import torch


def is_traced() -> bool:
    """Return whether a new tensor belongs to a trace: the model is exported, compiled or run on fake tensors."""
    is_plain = type(torch.empty(0)) is torch.Tensor
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or not is_plain


def table_length(num_rows: int) -> int:
    """Return the number of rows to compute so that one table serves many steps of decoding: the next power of two."""
    return num_rows if is_traced() else 1 << (num_rows - 1).bit_length()


def keep_tables(maxsize: int) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function that returns tensors so that its results are cached by its arguments.

    A tensor that is made under a trace or in inference mode is of no use outside: the one is never kept, and the other
    is made as if there were no such mode.
    """

    def decorate(make: Callable[..., Any]) -> Any:
        kept = lru_cache(maxsize)(make)

        @wraps(make)
        def find(*key: Any) -> Any:
            if is_traced():
                return make(*key)
            with torch.inference_mode(False):
                return kept(*key)

        find.cache_clear, find.cache_info = kept.cache_clear, kept.cache_info
        return find

    return decorate
