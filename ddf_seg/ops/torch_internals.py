"""What the operators need of torch that it does not promise to keep, in one place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _disable_current_modes

# torch.func's transforms (grad, vmap, jvp …) are nested levels; whether there is one.
are_transforms_active: Callable[[], bool] = torch._C._are_functorch_transforms_active
# Whether a gradient stands for several (torch.autograd.grad's is_grads_batched).
is_several: Callable[[Tensor], bool] = torch._C._functorch.is_legacy_batchedtensor
# The key under which a transform sees an operator before all else.
TRANSFORMS_KEY = 'FuncTorchDynamicLayerFrontMode'
# Calls of operators within go past their autograd kernels.
below_autograd: Callable[[], AbstractContextManager[None]] = torch._C._AutoDispatchBelowAutograd

# Tensors made within have values, whatever traces the code around them.
no_modes: Callable[[], AbstractContextManager[Any]] = _disable_current_modes


def is_known(condition: Any) -> bool:
    """Whether a comparison of sizes holds for all sizes that they stand for.

    While a program with free sizes is exported or compiled they are symbols, and to take a branch
    by the sizes at hand would bind the program to these.
    """
    if not isinstance(condition, torch.SymBool):
        # torch.jit.trace, which counts operations for mmengine, has tensors for sizes.
        return bool(condition)
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # brings sympy

    return statically_known_true(condition)


def excluded(key: str) -> AbstractContextManager[None]:
    """Calls of operators within go past the kernels of a dispatch key."""
    keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))
    return torch._C._ExcludeDispatchKeyGuard(keys)


def needs_derivative(arguments: tuple[Any, ...]) -> bool:
    """Whether autograd, in reverse or forward mode, has to see a call with these arguments."""
    return forward_ad._current_level >= 0 or (
        torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments)
    )


def apply_outside_transforms(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    """`function.apply`, without its preparations for transforms, which take as long again."""
    return super(torch.autograd.Function, function).apply(*arguments)  # type: ignore[misc]


def outer_tangents(
    function: Callable[[tuple[Any, ...], tuple[Any, ...]], Any],
    arguments: tuple[Any, ...],
    tangents: tuple[Any, ...],
) -> Any:
    """`function(arguments, tangents)` within an autograd.Function's jvp.

    torch switches forward mode off there, which loses the tangents of the transforms further out:
    a jvp of a jvp would be a silent 0. Switched on, only this level's own tangents must not count.
    """
    if not are_transforms_active():
        return function(arguments, tangents)
    with forward_ad._set_fwd_grad_enabled(True):
        primals = tuple(
            forward_ad.unpack_dual(x, level=0).primal if isinstance(x, Tensor) else x
            for x in arguments
        )
        return function(primals, tangents)


def is_functionalizing() -> bool:
    """Whether the innermost transform is torch.func.functionalize."""
    interpreter = torch._C._functorch.peek_interpreter_stack()
    return (
        interpreter is not None
        and interpreter.key() == torch._C._functorch.TransformType.Functionalize
    )


def functionalized(op: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Calls an operator that changes none of its arguments under torch.func.functionalize."""
    from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter
    from torch._subclasses.functional_tensor import FunctorchFunctionalizeAPI

    interpreter: Any = retrieve_current_functorch_interpreter()
    level: Any = FunctorchFunctionalizeAPI(interpreter)
    with level.redispatch_to_next():
        results = op(*level.unwrap_tensors(arguments))
    return level.wrap_tensors(results)
