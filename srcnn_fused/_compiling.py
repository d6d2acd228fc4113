"""A mark for torch.compile that does not import the compiler, as its own decorators do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["constant_in_a_graph"]

_Function = TypeVar("_Function", bound=Callable[..., object])


def constant_in_a_graph(function: _Function) -> _Function:
    """Makes torch.compile call the function as it compiles, and keep the answer in the graph.

    This is all that torch.compiler.assume_constant_result does, but for the import of
    torch._dynamo, which takes about as long as that of torch.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
