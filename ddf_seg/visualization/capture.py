"""Records what the DDF operators of a network receive, and the layer that each call belongs to.

The recording sits at torch's dispatcher, below autograd and autocast, so that it sees every call
with the tensors that the kernels see. The layers know nothing of it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..layers import DDFUpPack
from ..ops import reference
from .calls import FilterCall


class MissingLayerError(ValueError):
    """A network has none of the DDF layers asked for."""


class _Recorder(TorchDispatchMode):
    def __init__(self, model: nn.Module, wanted: Sequence[str] | None) -> None:
        super().__init__()
        # A network without parents in its path is named by its class.
        self.paths = {
            module: path or type(model).__name__ for path, module in model.named_modules()
        }
        self.modules = {**dict(model.named_modules()), type(model).__name__: model}
        self.wanted = wanted
        self.calls: list[FilterCall] = []
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.name() in ('ddf_seg::ddf', 'ddf_seg::ddf_upsample'):
            layer, source = self._running()
            self.seen.append(layer)
            if self.wanted is None or any(_could_be(layer, name) for name in self.wanted):
                call = _record(func.name(), layer, self.seen.count(layer), args)
                self._describe(call, layer, source)
                self.calls.append(call)
        return func(*args, **(kwargs or {}))

    def _running(self) -> tuple[str, Any]:
        """The path of the innermost module that a method runs of.

        Hooks would see forward alone, and not a layer that is told to upsample several maps. Of
        such a map: the size of what it was interpolated from, which its filters continue.
        """
        frame = sys._getframe()
        while frame := frame.f_back:  # type: ignore[assignment]
            module = frame.f_locals.get('self')
            if isinstance(module, nn.Module) and module in self.paths:
                above = frame.f_back
                alike = above and above.f_code is DDFUpPack.upsample_alike.__code__
                return self.paths[module], above.f_locals['source'] if above and alike else None
        return next(iter(self.paths.values())), None

    def _describe(self, call: FilterCall, layer: str, source: Any) -> None:
        """Adds what the layer says of its upsampling, and the block around it of a gain."""
        if call.operator != 'ddf_upsample':
            return
        module = self.modules.get(layer)
        if isinstance(module, DDFUpPack):
            call.guided = module.joint_channels > 0
            if module.interpolation is not None:
                call.mode = module.interpolation.mode
                call.align_corners = module.interpolation.align_corners
                call.source = source
                branch = module.spatial_branch
                call.compares = bool(getattr(branch, 'affinity_channels', 0))
        block: Any = self.modules.get(layer.rpartition('.')[0])
        gain = getattr(block, 'gain', None)
        if isinstance(gain, Tensor) and gain.shape == (call.channels, 1, 1):
            call.gain = gain.detach().flatten().to('cpu', torch.float32, copy=True)
            resize = getattr(block, 'resize_cfg', {})
            call.mode = resize.get('mode', call.mode)
            call.align_corners = bool(resize.get('align_corners'))


def _record(name: str, layer: str, number: int, args: tuple[Any, ...]) -> FilterCall:
    # Copies: what follows may work in place.
    x, f, s = (None if t is None else t.detach().to('cpu', copy=True) for t in args[:3])
    assert x is not None
    upsamples = name == 'ddf_seg::ddf_upsample'
    kernel, second, third, combine = args[3:]
    dilation, stride, scale = (third, (1, 1), second) if upsamples else (second, third, 1)
    # A filter that is missing is drawn as one that changes nothing.
    neutral = x.new_full((), combine == 'mul')
    if f is None:
        f = neutral.expand(*x.shape[:2], *kernel)
    if s is None:
        size = (
            reference.upsampled_size(x, s, scale)
            if upsamples
            else reference.strided_size(x, s, stride)
        )
        s = neutral.expand(x.shape[0], kernel[0] * kernel[1], *size)
    return FilterCall(
        f'{layer}#{number}',
        'ddf_upsample' if upsamples else 'ddf',
        x,
        f,
        s,
        kernel_size=(kernel[0], kernel[1]),
        dilation=(dilation[0], dilation[1]),
        stride=(stride[0], stride[1]),
        scale_factor=scale,
        kernel_combine=combine,
    )


def _could_be(layer: str, name: str) -> bool:
    path = name.partition('#')[0]
    return layer == path or layer.startswith(f'{path}.')


def _is(call: str, name: str) -> bool:
    return call == name or call.startswith((f'{name}#', f'{name}.'))


def calls_of(calls: Sequence[str], names: Sequence[str]) -> list[str]:
    """The calls that names of calls or modules stand for, in the order of the calls.

    Raises:
        ValueError: a name stands for none; the message lists the calls.
    """
    for name in names:
        if not any(_is(call, name) for call in calls):
            near = get_close_matches(name, calls, n=1)
            meant = f' (did you mean {near[0]!r}?)' if near else ''
            raise MissingLayerError(
                f'layer: {name!r} makes no DDF call{meant}; those that do: {", ".join(calls)}'
            )
    return [call for call in calls if any(_is(call, name) for name in names)]


class FilterCalls(list[FilterCall]):
    """Calls in the order of the network; a notebook shows them as a table with pictures."""

    def _repr_html_(self) -> str:
        # Needs OpenCV and SciPy
        from .showing import calls_html

        return calls_html(self)


@contextmanager
def capture_filters(model: nn.Module, layers: Sequence[str] | None = None) -> Iterator[FilterCalls]:
    """Records the DDF calls of what runs inside the context; the list is filled at its end.

    Args:
        model: the network whose module paths name the calls.
        layers: names of calls or modules; a module stands for all calls within. None: all calls.

    Raises:
        ValueError: there was no DDF call, or a name belongs to none; the message lists the names.
    """
    recorder = _Recorder(model, layers)
    found = FilterCalls()
    with recorder:
        yield found
    repeated = Counter(recorder.seen)
    names = []
    for layer, number in repeated.items():
        names += [layer] if number == 1 else [f'{layer}#{n + 1}' for n in range(number)]
    for call in recorder.calls:
        if repeated[call.layer.rpartition('#')[0]] == 1:
            call.layer = call.layer.rpartition('#')[0]
    if not names:
        raise MissingLayerError(
            f'{type(model).__name__} has no DDF layer: it ran without a call of '
            'ddf_seg.ops.ddf or ddf_upsample'
        )
    wanted = set(names if layers is None else calls_of(names, layers))
    found += [call for call in recorder.calls if call.layer in wanted]
