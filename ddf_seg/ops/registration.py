"""The operators as torch knows them: schemas, kernels in plain torch, autograd, autocast, FLOPs.

The schemas belong to Python, so the operators exist and work without any compiled library; a
library that is loaded later only adds kernels for its own device (`native.py`), which torch's
dispatcher prefers to the plain-torch kernels registered here for every device.

What every implementation must keep:
- An output, and each gradient, is channels_last where the tensor it belongs to (features for the
  output) is channels_last and not contiguous; otherwise contiguous.
- Sums run in float32 or wider.
- A gradient that `output_mask` does not ask for comes back as an empty tensor of shape (0,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from . import reference
from .reference import is_channels_last

_TENSORS = 'Tensor features, Tensor channel_filter, Tensor spatial_filter'
_DDF = 'int[2] kernel_size, int[2] dilation, int[2] stride, str kernel_combine'
_UPSAMPLE = 'int[2] kernel_size, int scale_factor, int[2] dilation, str kernel_combine'
_BACKWARD = '(Tensor grad_output, {}, {}, bool[3] output_mask) -> (Tensor, Tensor, Tensor)'

SCHEMAS = {
    'ddf': f'({_TENSORS}, {_DDF}) -> Tensor',
    'ddf_backward': _BACKWARD.format(_TENSORS, _DDF),
    'ddf_upsample': f'({_TENSORS}, {_UPSAMPLE}) -> Tensor',
    'ddf_upsample_backward': _BACKWARD.format(_TENSORS, _UPSAMPLE),
}
_PLAIN_TORCH: dict[str, Callable[..., Any]] = {
    'ddf': reference.ddf_forward,
    'ddf_backward': reference.ddf_backward,
    'ddf_upsample': reference.ddf_upsample_forward,
    'ddf_upsample_backward': reference.ddf_upsample_backward,
}


def _plain_torch(name: str) -> Callable[..., Any]:
    """The kernel that runs where no compiled one is registered; a slow fallback says so, once."""
    function = _PLAIN_TORCH[name]

    def kernel(*arguments: Any) -> Any:
        from .native import check_device, warn_if_missing

        check_device(arguments[0].device.type)
        warn_if_missing()
        return function(*arguments)

    return kernel


_library = torch.library.Library('ddf_seg', 'DEF')
for _name, _schema in SCHEMAS.items():
    _library.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(_name, _plain_torch(_name), 'CompositeExplicitAutograd')


def empty_like_layout(x: Tensor, shape: tuple[int, ...], like: Tensor) -> Tensor:
    layout = torch.channels_last if is_channels_last(like) else torch.contiguous_format
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def _fake_forward(
    features: Tensor, channel_filter: Tensor, spatial_filter: Tensor, *_: Any
) -> Tensor:
    shape = (*features.shape[:2], *spatial_filter.shape[2:])
    return empty_like_layout(features, shape, features)


def _fake_backward(
    grad_output: Tensor,
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    *arguments: Any,
) -> tuple[Tensor, ...]:
    return tuple(
        empty_like_layout(x, tuple(x.shape), x) if needed else x.new_empty(0)
        for x, needed in zip((features, channel_filter, spatial_filter), arguments[-1], strict=True)
    )


def call(op: Callable[..., Any], *arguments: Any) -> Any:
    """Calls an operator, past its autograd kernel where no gradient is asked for.

    torch runs that kernel in Python, which takes longer than the operator needs for a small map.
    """
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return op(*arguments)
    if torch.is_grad_enabled() and any(
        isinstance(x, Tensor) and x.requires_grad for x in arguments
    ):
        return op(*arguments)
    with torch._C._AutoDispatchBelowAutograd():
        return op(*arguments)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.arguments = inputs[3:]


def _register_autograd(name: str) -> None:
    backward_op = getattr(torch.ops.ddf_seg, f'{name}_backward')

    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        mask = list(ctx.needs_input_grad[:3])
        gradients = call(backward_op, grad_output, *ctx.saved_tensors, *ctx.arguments, mask)
        kept = [g if needed else None for g, needed in zip(gradients, mask, strict=True)]
        return (*kept, *[None] * len(ctx.arguments))

    def no_double_backward(ctx: Any, *_: Any) -> None:
        raise NotImplementedError(
            f'{name}: second derivatives are not implemented by ddf_seg.ops; '
            f'ddf_seg.ops.reference.{name} computes them in plain torch'
        )

    torch.library.register_autograd(
        f'ddf_seg::{name}', backward, setup_context=_setup_context, lib=_library
    )
    torch.library.register_autograd(f'ddf_seg::{name}_backward', no_double_backward, lib=_library)


_AUTOCAST_KEYS = (('cpu', 'AutocastCPU'), ('cuda', 'AutocastCUDA'))


def register_autocast(name: str, library: torch.library.Library) -> None:
    """Casts all tensors to autocast's current dtype, whatever it is set to at the call.

    torch.library.register_autocast would fix one dtype at registration.
    """
    op = getattr(torch.ops.ddf_seg, name)
    for device_type, key in _AUTOCAST_KEYS:
        keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

        def kernel(*arguments: Any, keys: Any = keys, device_type: str = device_type) -> Any:
            dtype = torch.get_autocast_dtype(device_type)
            with torch._C._ExcludeDispatchKeyGuard(keys):
                return op(*(a.to(dtype) if isinstance(a, Tensor) else a for a in arguments))

        library.impl(name, kernel, key)


def multiply_adds(output_elements: int, kernel_size: tuple[int, int]) -> int:
    """Multiply-adds of a forward pass, as mmengine and the papers of the field count.

    Two a tap and output element: F ∘ S (a multiplication or addition that no other operation
    follows, but that costs as much), then · X with its sum.
    """
    return 2 * kernel_size[0] * kernel_size[1] * output_elements


def _flops(output_shape: tuple[int, ...], kernel_size: tuple[int, int]) -> int:
    """Floating point operations of a forward pass: F ∘ S, · X and the sum, for each tap."""
    elements = 1
    for n in output_shape:
        elements *= n
    return 3 * kernel_size[0] * kernel_size[1] * elements


def _register_flops(name: str) -> None:
    @register_flop_formula(getattr(torch.ops.ddf_seg, name))
    def forward_flops(
        features: Any,
        channel_filter: Any,
        spatial_filter: Any,
        kernel_size: Any,
        *_: Any,
        **__: Any,
    ) -> int:
        return _flops((*features[:2], *spatial_filter[2:]), kernel_size)

    @register_flop_formula(getattr(torch.ops.ddf_seg, f'{name}_backward'))
    def backward_flops(
        grad_output: Any,
        features: Any,
        channel_filter: Any,
        spatial_filter: Any,
        kernel_size: Any,
        *arguments: Any,
        **_: Any,
    ) -> int:
        # Besides F ∘ S and gO · X, which the gradients share: a product and a sum per tap for
        # each gradient ('mul'); counted alike for 'add', whose products with 1 are not made.
        per_tap = 2 + 2 * sum(arguments[-1])
        return per_tap * _flops(grad_output, kernel_size) // 3


for _name in ('ddf', 'ddf_upsample'):
    torch.library.register_fake(f'ddf_seg::{_name}', _fake_forward, lib=_library)
    torch.library.register_fake(f'ddf_seg::{_name}_backward', _fake_backward, lib=_library)
    _register_autograd(_name)
    register_autocast(_name, _library)
    _register_flops(_name)
