"""Records what the DDF operators of a network receive, and the layer that each call belongs to.

The recording sits at torch's dispatcher, below autograd and autocast, so that it sees every call
with the tensors that the kernels see. The layers know nothing of it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Pair = tuple[int, int]


class MissingLayerError(ValueError):
    """A network has none of the DDF layers asked for."""


@dataclass
class FilterCall:
    """One call of `ddf` or `ddf_upsample`, its tensors copied to the CPU.

    Attributes:
        layer: path of the module that made the call, with '#n' where it made several.
        operator: 'ddf' or 'ddf_upsample'.
        features: (B, C, H, W).
        channel_filter: (B, C, kh, kw), or for an upsampling call (B, r², C, kh, kw).
        spatial_filter: (B, G·kh·kw, H', W').
        kernel_size, dilation, stride: as the operator has them; an upsampling call has stride 1.
        scale_factor: r; 1 for `ddf`.
        kernel_combine: 'mul' or 'add'.
    """

    layer: str
    operator: str
    features: Tensor
    channel_filter: Tensor
    spatial_filter: Tensor
    kernel_size: Pair
    dilation: Pair
    stride: Pair
    scale_factor: int
    kernel_combine: str

    @property
    def channels(self) -> int:
        return self.features.shape[1]

    @property
    def taps(self) -> int:
        return self.kernel_size[0] * self.kernel_size[1]

    @property
    def groups(self) -> int:
        """Spatial filters per pixel."""
        return self.spatial_filter.shape[1] // self.taps

    @property
    def size(self) -> Pair:
        """(H', W'): the pixels that have filters of their own."""
        return self.spatial_filter.shape[2], self.spatial_filter.shape[3]

    @property
    def phases(self) -> int:
        """r² where each phase has channel filters of its own, otherwise 1."""
        return self.channel_filter.shape[1] if self.channel_filter.dim() == 5 else 1

    @property
    def channels_neutral(self) -> bool:
        """Whether the channel filters change nothing, as those of a layer without that branch."""
        return bool((self.channel_filter == (self.kernel_combine == 'mul')).all())

    def channel_filters(self, image: int = 0) -> Tensor:
        """The channel filters of one image, (phases, C, kh, kw), float32."""
        return self.channel_filter[image].float().view(-1, self.channels, *self.kernel_size)

    def spatial_filters(self, image: int = 0) -> Tensor:
        """The spatial filters of one image, (G, kh, kw, H', W'), float32."""
        return self.spatial_filter[image].float().unflatten(0, (self.groups, *self.kernel_size))

    def group(self, channel: int) -> int:
        """The group whose spatial filters a channel shares."""
        return channel // (self.channels // self.groups)

    def phase(self, y: int, x: int) -> int:
        """Which of the channel filters serves the output pixel (y, x)."""
        r = self.scale_factor
        return (y % r) * r + x % r if self.phases > 1 else 0

    def effective_filter(self, y: int, x: int, channel: int, image: int = 0) -> Tensor:
        """What the output pixel (y, x) of a channel is filtered with, F ∘ S, (kh, kw)."""
        of_channel = self.channel_filters(image)[self.phase(y, x), channel]
        of_pixel = self.spatial_filters(image)[self.group(channel), :, :, y, x]
        multiplies = self.kernel_combine == 'mul'
        return of_channel * of_pixel if multiplies else of_channel + of_pixel

    def centre(self, y: int, x: int) -> Pair:
        """The pixel of the features that the filter at the output pixel (y, x) is centred on."""
        if self.operator == 'ddf':
            return y * self.stride[0], x * self.stride[1]
        height, width = self.features.shape[2:]
        r = self.scale_factor
        return min(y // r, height - 1), min(x // r, width - 1)


class _Recorder(TorchDispatchMode):
    def __init__(self, model: nn.Module, wanted: Sequence[str] | None) -> None:
        super().__init__()
        # A network without parents in its path is named by its class.
        self.paths = {
            module: path or type(model).__name__ for path, module in model.named_modules()
        }
        self.wanted = wanted
        self.calls: list[FilterCall] = []
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.name() in ('ddf_seg::ddf', 'ddf_seg::ddf_upsample'):
            layer = self._running()
            self.seen.append(layer)
            if self.wanted is None or any(_could_be(layer, name) for name in self.wanted):
                self.calls.append(_record(func.name(), layer, self.seen.count(layer), args))
        return func(*args, **(kwargs or {}))

    def _running(self) -> str:
        """The path of the innermost module that a method runs of.

        Hooks would see forward alone, and not a layer that is told to upsample several maps.
        """
        frame = sys._getframe()
        while frame := frame.f_back:  # type: ignore[assignment]
            module = frame.f_locals.get('self')
            if isinstance(module, nn.Module) and module in self.paths:
                return self.paths[module]
        return next(iter(self.paths.values()))


def _record(name: str, layer: str, number: int, args: tuple[Any, ...]) -> FilterCall:
    # Copies: what follows may work in place.
    tensors = [x.detach().to('cpu', copy=True) for x in args[:3]]
    upsamples = name == 'ddf_seg::ddf_upsample'
    kernel, second, third, combine = args[3:]
    dilation, stride, scale = (third, (1, 1), second) if upsamples else (second, third, 1)
    return FilterCall(
        f'{layer}#{number}',
        'ddf_upsample' if upsamples else 'ddf',
        tensors[0],
        tensors[1],
        tensors[2],
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


@contextmanager
def capture_filters(
    model: nn.Module, layers: Sequence[str] | None = None
) -> Iterator[list[FilterCall]]:
    """Records the DDF calls of what runs inside the context; the list is filled at its end.

    Args:
        model: the network whose module paths name the calls.
        layers: names of calls or modules; a module stands for all calls within. None: all calls.

    Raises:
        ValueError: there was no DDF call, or a name belongs to none; the message lists the names.
    """
    recorder = _Recorder(model, layers)
    found: list[FilterCall] = []
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
