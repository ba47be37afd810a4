"""One way to define an operator: all that torch has to know of it, in one call of `define`.

The schemas belong to Python, so the operators exist and work without any compiled library; a
library that is loaded later only adds kernels for its own device (`native.py`), which torch's
dispatcher prefers to the plain-torch kernels registered here for every device.

What every implementation must keep:
- An output, and each gradient, is channels_last where the tensor it belongs to (the first argument
  for the output) is channels_last and not contiguous; otherwise contiguous.
- Sums run in float32 or wider.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .checks import AUTOCAST_KEYS, autocasts, check_kinds
from .native import warn_if_plain
from .reference import is_channels_last, like_layout
from .torch_internals import (
    TRANSFORMS_KEY,
    apply_outside_transforms,
    are_transforms_active,
    below_autograd,
    excluded,
    functionalized,
    is_functionalizing,
    is_several,
    needs_derivative,
    outer_tangents,
)

Arguments = tuple[Any, ...]
Results = Tensor | tuple[Tensor, ...]

_library = torch.library.Library('ddf_seg', 'DEF')


class Derivatives(Protocol):
    """An operator's derivatives, in terms of operators that have some themselves."""

    def gradients(
        self, arguments: Arguments, upstream: Sequence[Tensor | None], needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        """Reverse mode: the gradient of each argument that is `needed`, from that of each result.

        A result's gradient is None where it is 0.
        """

    def tangents(self, arguments: Arguments, tangents: Sequence[Tensor | None]) -> Results:
        """Forward mode: the tangent of each result, from those of the arguments that have one."""


def call(op: Callable[..., Any], *arguments: Any) -> Any:
    """Calls an operator, past its autograd kernel where no derivative is asked for.

    torch runs that kernel in Python, which takes longer than the operator needs for a small map.
    """
    if torch.compiler.is_compiling() or are_transforms_active() or needs_derivative(arguments):
        return op(*arguments)
    with below_autograd():
        return op(*arguments)


def operator(name: str) -> Any:
    """ddf_seg::`name`, for `call`."""
    return getattr(torch.ops.ddf_seg, name).default


def empty_like_layout(x: Tensor, shape: tuple[int, ...], like: Tensor) -> Tensor:
    layout = torch.channels_last if is_channels_last(like) else torch.contiguous_format
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def define(
    name: str,
    schema: str,
    *,
    plain: Callable[..., Any],
    fake: Callable[..., Any],
    derivatives: Derivatives,
    check: Callable[..., object],
    batched: Sequence[str],
    flops: Callable[..., int] | None = None,
    compiled_for: Sequence[str] = ('cpu',),
    autocast: bool = False,
) -> None:
    """Defines ddf_seg::`name`.

    Args:
        schema: its arguments and results, as torch writes them.
        plain: the kernel in plain torch, for every device without a compiled one.
        fake: results without values, from tensors without values.
        check: raises an error that names what is wrong with the arguments.
        batched: the tensors whose first dimension counts images, if all results have one, too: then
            torch.func.vmap adds images. Of an operator with other results, or where it maps over
            other tensors, it makes one call after the other.
        flops: floating point operations of a call, from shapes in place of the tensors.
        compiled_for: device types that compiled kernels exist for, somewhere.
        autocast: under autocast, cast all tensors to its current dtype.
    """
    _library.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
    op = operator(name)
    _register_kernels(name, op, plain, fake, check, compiled_for)
    _register_derivatives(name, op, derivatives, batched, autocast)
    if flops is not None:
        register_flop_formula(getattr(torch.ops.ddf_seg, name))(flops)
    if autocast:
        _register_autocast(name, op)


def _register_kernels(
    name: str,
    op: Any,
    plain: Callable[..., Any],
    fake: Callable[..., Any],
    check: Callable[..., object],
    compiled_for: Sequence[str],
) -> None:
    """The kernel in plain torch, and the one without values."""
    checked_plain = plain_kernel(op, plain, check, compiled_for)
    _library.impl(name, checked_plain, 'CompositeExplicitAutograd')

    def fake_kernel(*arguments: Any) -> Any:
        _check_tensors(op, arguments)
        return fake(*arguments)

    torch.library.register_fake(f'ddf_seg::{name}', fake_kernel, lib=_library)


def plain_kernel(
    op: Any, plain: Callable[..., Any], check: Callable[..., object], compiled_for: Sequence[str]
) -> Callable[..., Any]:
    """`plain` behind checks; it says so, once, where it stands in for a compiled kernel."""

    def kernel(*arguments: Any) -> Any:
        _check_tensors(op, arguments)
        check(*arguments)
        if (device_type := arguments[0].device.type) in compiled_for:
            warn_if_plain(device_type)
        with as_they_are(device_type):
            return plain(*arguments)

    return kernel


def _check_tensors(op: Any, arguments: Arguments) -> None:
    """torch calls a kernel also where a tensor is on another device or of another layout."""
    named = [
        (p.name, x)
        # torch leaves out what follows the tensors where it is the default.
        for p, x in zip(op._schema.arguments, arguments, strict=False)
        if str(p.type) == 'Tensor' or (str(p.type) == 'Optional[Tensor]' and x is not None)
    ]
    check_kinds(named, one_dtype=False)


def _register_derivatives(
    name: str,
    op: Any,
    derivatives: Derivatives,
    batched: Sequence[str],
    autocast: bool,
) -> None:
    """Autograd in both modes, and torch.func's transforms of it and of batches."""
    foldable = [i for i, p in enumerate(op._schema.arguments) if p.name in batched]

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(*arguments: Any) -> Any:
            with below_autograd():
                return op(*arguments)

        @staticmethod
        def setup_context(ctx: Any, inputs: Arguments, output: Results) -> None:
            tensors = [x for x in inputs if isinstance(x, Tensor)]
            ctx.save_for_backward(*tensors)
            ctx.save_for_forward(*tensors)
            ctx.saved = [isinstance(x, Tensor) for x in inputs]
            ctx.others = [x for x in inputs if not isinstance(x, Tensor)]
            ctx.set_materialize_grads(False)

        @staticmethod
        def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
            needed = ctx.needs_input_grad
            if all(g is None for g in upstream):
                return (None,) * len(needed)
            # Once: under activation checkpointing, torch lets them be read no second time.
            arguments = _arguments_of(ctx)
            first = next(x for x in arguments if isinstance(x, Tensor))
            dense = [None if g is None else _without_expansion(g, first) for g in upstream]
            with as_they_are(first.device.type):
                return tuple(derivatives.gradients(arguments, dense, needed))

        @staticmethod
        def jvp(ctx: Any, *tangents: Tensor | None) -> Results:
            arguments = _arguments_of(ctx)
            with as_they_are(arguments[0].device.type):
                return outer_tangents(derivatives.tangents, arguments, tangents)

        @staticmethod
        def vmap(info: Any, in_dims: Arguments, *arguments: Any) -> tuple[Any, Any]:
            return _vmap(op, foldable, info.batch_size, in_dims, arguments)

    Function.__name__ = Function.__qualname__ = name

    def autograd_kernel(*arguments: Any) -> Any:
        if needs_derivative(arguments):
            return apply_outside_transforms(Function, *arguments)
        return Function.forward(*arguments)

    # torch's autograd kernels do not know of the transforms, whose turn comes before.
    def transforms_kernel(*arguments: Any) -> Any:
        if is_functionalizing():
            return functionalized(op, arguments)
        return Function.apply(*(_autocast(arguments) if autocast else arguments))

    _library.impl(name, autograd_kernel, 'Autograd')
    _library.impl(name, transforms_kernel, TRANSFORMS_KEY)


def _without_expansion(gradient: Tensor, first: Tensor) -> Tensor:
    """A sum's gradient is one value, expanded to a map; the fast kernels are for dense ones."""
    # One that stands for several does not tell its memory format.
    if are_transforms_active() or is_several(gradient) or 0 not in gradient.stride():
        return gradient
    return like_layout(gradient, first) if gradient.dim() == 4 else gradient.contiguous()


def _arguments_of(ctx: Any) -> Arguments:
    tensors, others = iter(ctx.saved_tensors), iter(ctx.others)
    return tuple(next(tensors if is_tensor else others) for is_tensor in ctx.saved)


def _vmap(
    op: Callable[..., Any],
    foldable: Sequence[int],
    count: int,
    in_dims: Sequence[Any],
    arguments: Arguments,
) -> tuple[Any, Any]:
    """The results for `count` values of some arguments, and the dimension that counts them."""
    mapped = [
        i for i, x in enumerate(arguments) if isinstance(x, Tensor) and in_dims[i] is not None
    ]
    values = list(arguments)
    for i in mapped:
        values[i] = values[i].movedim(in_dims[i], 0)
    if set(mapped) <= set(foldable):
        images = 0
        for i in foldable:
            if values[i] is None:
                continue
            x = values[i] if i in mapped else values[i].expand(count, *values[i].shape)
            images = x.shape[1]
            values[i] = x.flatten(0, 1)
        results = op(*values)

        def join(x: Tensor) -> Tensor:
            return x.unflatten(0, (count, images))

        if isinstance(results, Tensor):
            return join(results), 0
        kept = [x if _is_left_out(x) else join(x) for x in results]
    else:
        calls = [
            op(*(x[k] if i in mapped else x for i, x in enumerate(values))) for k in range(count)
        ]
        if isinstance(calls[0], Tensor):
            return torch.stack(calls), 0
        kept = [
            xs[0] if _is_left_out(xs[0]) else torch.stack(xs) for xs in zip(*calls, strict=True)
        ]
    return tuple(kept), tuple(None if _is_left_out(x) else 0 for x in kept)


def _is_left_out(gradient: Tensor) -> bool:
    """Whether it was not asked for (the gradients themselves have more dimensions)."""
    return gradient.shape == (0,)


def _cast(arguments: Arguments, device_type: str) -> Arguments:
    dtype = torch.get_autocast_dtype(device_type)
    return tuple(x.to(dtype) if isinstance(x, Tensor) else x for x in arguments)


def _autocast(arguments: Arguments) -> Arguments:
    """The arguments as the kernels below will see them."""
    device_type = arguments[0].device.type
    if autocasts(device_type):
        return _cast(arguments, device_type)
    return arguments


def as_they_are(device_type: str) -> AbstractContextManager[None]:
    """Calls of operators within get tensors of a device uncast, under autocast, too.

    What an operator is made of, and its derivatives, keep the type that it was called with.
    """
    return excluded(AUTOCAST_KEYS[device_type]) if autocasts(device_type) else nullcontext()


def _register_autocast(name: str, op: Callable[..., Any]) -> None:
    """Casts all tensors to autocast's current dtype, whatever it is set to at the call.

    torch.library.register_autocast would fix one dtype at registration.
    """
    for device_type, key in AUTOCAST_KEYS.items():

        def kernel(*arguments: Any, key: str = key, device_type: str = device_type) -> Any:
            with excluded(key):
                return op(*_cast(arguments, device_type))

        _library.impl(name, kernel, key)
