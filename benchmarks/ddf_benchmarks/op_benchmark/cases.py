"""What is measured: the operators' inputs, their baselines, and the proof that they agree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ddf_seg.ops import ddf, ddf_upsample

from ..measure import Ceilings, Run

Shape = tuple[int, int, int, int]
# The paper's first; each of the others is a stage of a network.
SHAPES: tuple[Shape, ...] = (
    (2, 256, 200, 300),
    (1, 256, 128, 256),
    (2, 64, 128, 256),
    (2, 128, 64, 128),
    (2, 256, 32, 64),
    (2, 512, 16, 32),
    (4, 256, 56, 56),
    (8, 128, 28, 28),
    (8, 256, 14, 14),
    (8, 512, 7, 7),
)
UPSAMPLE_SHAPE: Shape = (1, 256, 120, 120)
SCALE = 2
LAYOUTS = {'contiguous': torch.contiguous_format, 'channels_last': torch.channels_last}
_TOLERANCES = {torch.float32: (1e-4, 1e-4), torch.bfloat16: (2e-2, 2e-2)}

# Lanes a tap and output element. Forward: F ∘ S, then a multiply-add with X. Backward: F ∘ S and
# gO · X, then a multiply-add for each gradient.
FORWARD_LANES = 2
BACKWARD_LANES = 5


def text(shape: Shape) -> str:
    return '×'.join(map(str, shape))


@dataclass(frozen=True)
class Floor:
    """The least time that the device can need: the longer of two."""

    memory: float
    arithmetic: float

    @property
    def seconds(self) -> float:
        return max(self.memory, self.arithmetic)

    @property
    def bound(self) -> str:
        return 'memory' if self.memory >= self.arithmetic else 'arithmetic'


@dataclass(frozen=True)
class Case:
    """Inputs of `ddf` (scale 1), or of `ddf_upsample` with a channel filter for each phase."""

    shape: Shape
    dtype: torch.dtype
    device: torch.device
    kernel_size: int = 3
    scale: int = 1

    @property
    def output_shape(self) -> Shape:
        batch, channels, height, width = self.shape
        return batch, channels, self.scale * height, self.scale * width

    @property
    def output_elements(self) -> int:
        return torch.Size(self.output_shape).numel()

    @property
    def feature_bytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    def _random(self, shape: tuple[int, ...], seed: int) -> Tensor:
        generator = torch.Generator(self.device).manual_seed(seed)
        x = torch.randn(shape, generator=generator, device=self.device)
        return x.to(self.dtype)

    @cached_property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Features, channel filter and spatial filter, contiguous."""
        k = self.kernel_size
        phases = (self.scale**2,) if self.scale > 1 else ()
        batch, channels = self.shape[:2]
        return (
            self._random(self.shape, 0),
            self._random((batch, *phases, channels, k, k), 1),
            self._random((batch, k * k, *self.output_shape[2:]), 2),
        )

    @cached_property
    def upstream(self) -> Tensor:
        """The gradient that comes from above."""
        return self._random(self.output_shape, 3)

    def laid_out(self, layout: str) -> tuple[Tensor, Tensor, Tensor]:
        """`tensors`, the maps among them in this memory format."""
        x, f, s = self.tensors
        to = LAYOUTS[layout]
        return x.contiguous(memory_format=to), f, s.contiguous(memory_format=to)

    def floor(self, ceilings: Ceilings, copy_seconds: float, backward: bool = False) -> Floor:
        """The floor, given how long a copy of the same number of bytes takes."""
        lanes = (BACKWARD_LANES if backward else FORWARD_LANES) * self.kernel_size**2
        return Floor(copy_seconds, lanes * self.output_elements / ceilings.fma_rate)

    def copy(self, backward: bool = False, fresh: bool = False) -> Run:
        """A copy that moves as many bytes as the operator must, into an existing tensor or a fresh
        one, whose pages the system has to provide first (as those of any operator's output)."""
        # Each input is read once, each output written once.
        elements = sum(t.numel() for t in self.tensors) * (2 if backward else 1)
        elements += self.output_elements
        source = torch.ones(elements // 2, dtype=self.dtype, device=self.device)
        target = torch.empty_like(source)
        return source.clone if fresh else lambda: target.copy_(source)

    def _operands(self, layout: str, branches: str) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """`laid_out`, without the filter that is not among the branches."""
        x, f, s = self.laid_out(layout)
        return x, None if branches == 'spatial' else f, None if branches == 'channel' else s

    def forward(self, layout: str, branches: str = 'both') -> Run:
        """With both filters, or with one of them, 'spatial' or 'channel'."""
        x, f, s = self._operands(layout, branches)
        if self.scale > 1:
            return lambda: ddf_upsample(x, f, s, self.kernel_size, self.scale)
        return lambda: ddf(x, f, s, self.kernel_size)

    def backward(self, layout: str, branches: str = 'both') -> Run:
        """The gradients of the features and of the filters, one or both."""
        x, f, s = self._operands(layout, branches)
        upstream = self.upstream.contiguous(memory_format=LAYOUTS[layout])
        k, mask = [self.kernel_size] * 2, [True, f is not None, s is not None]
        if self.scale > 1:
            op = torch.ops.ddf_seg.ddf_upsample_backward
            return lambda: op(upstream, x, f, s, k, self.scale, [1, 1], 'mul', mask)
        op = torch.ops.ddf_seg.ddf_backward
        return lambda: op(upstream, x, f, s, k, [1, 1], [1, 1], 'mul', mask)

    # Baselines of `ddf`

    @cached_property
    def _weight(self) -> Tensor:
        """A static depthwise filter: the channel filter of the first image."""
        return self.tensors[1][:1].transpose(0, 1).contiguous()

    def depthwise(self, layout: str) -> Run:
        """nn.functional.conv2d with groups = C."""
        _, x, weight = self._depthwise_tensors(layout)
        return lambda: self._convolve(x, weight)

    def depthwise_backward(self, layout: str) -> Run:
        """The gradients of features and weight by aten's convolution_backward."""
        tensors = self._depthwise_tensors(layout)
        return lambda: self._convolve_backward(*tensors)

    def _depthwise_tensors(self, layout: str) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient from above, features and weight."""
        tensors = self.upstream, self.tensors[0], self._weight
        upstream, x, weight = (t.contiguous(memory_format=LAYOUTS[layout]) for t in tensors)
        return upstream, x, weight

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, None, 1, self.kernel_size // 2, 1, self.shape[1])

    def _convolve_backward(self, upstream: Tensor, x: Tensor, weight: Tensor) -> list[Tensor]:
        pad, mask = [self.kernel_size // 2] * 2, [True, True, False]
        gradients: list[Tensor] = torch.ops.aten.convolution_backward(
            upstream, x, weight, None, [1, 1], pad, [1, 1], False, [0, 0], self.shape[1], mask
        )
        return gradients

    def unfold(self) -> Run:
        """The formula by torch's unfold: every neighbourhood written out."""
        x, f, s = self.tensors
        batch, channels, height, width = self.shape
        k = self.kernel_size

        def run() -> Tensor:
            patches = F.unfold(x, k, padding=k // 2).view(batch, channels, k * k, height, width)
            weights = f.view(batch, channels, k * k, 1, 1) * s.view(batch, 1, k * k, height, width)
            return (patches * weights).sum(2)

        return run

    def assert_one_filter_agrees(self) -> None:
        """With one filter, `ddf` is what it is with ones for the other.

        Raises:
            AssertionError: the values differ by more than rounding.
        """
        rtol, atol = _TOLERANCES[self.dtype]
        x, f, s = self.tensors
        k = self.kernel_size
        for found, want in (
            (ddf(x, None, s, k), ddf(x, torch.ones_like(f), s, k)),
            (ddf(x, f, None, k), ddf(x, f, torch.ones_like(s), k)),
        ):
            torch.testing.assert_close(found, want, rtol=rtol, atol=atol)

    def assert_depthwise_agrees(self, backward: bool = False) -> None:
        """Where S = 1 and F is the same for all images, `ddf` is the depthwise convolution.

        That is computed in float32: on processors without bfloat16, torch sums in it.

        Raises:
            AssertionError: the values differ by more than rounding.
        """
        _, f, s = self.tensors
        rtol, atol = _TOLERANCES[self.dtype]
        k = [self.kernel_size] * 2
        same, ones = f[:1].expand_as(f), torch.ones_like(s)
        for layout in LAYOUTS:
            upstream, features, weight = self._depthwise_tensors(layout)
            exact = [t.float() for t in (upstream, features, weight)]
            if not backward:
                output = ddf(features, same, ones, self.kernel_size).float()
                want = self._convolve(*exact[1:])
                torch.testing.assert_close(output, want, rtol=rtol, atol=atol)
                continue
            grad_x, grad_f, _ = torch.ops.ddf_seg.ddf_backward(
                self.upstream, features, same, ones, k, [1, 1], [1, 1], 'mul', [True] * 3
            )
            want_x, want_f, _ = self._convolve_backward(*exact)
            torch.testing.assert_close(grad_x.float(), want_x, rtol=rtol, atol=atol)
            # Sums over all pixels: their rounding grows with the number of terms.
            scale = want_f.abs().max()
            error = (grad_f.float().sum(0) - want_f.squeeze(1)).abs().max() / scale
            assert error < rtol, f"{self}: the weights' gradients differ by {error:.1e}"

    def assert_unfold_agrees(self) -> None:
        """Raises AssertionError if `ddf` and the unfold formulation differ."""
        rtol, atol = _TOLERANCES[self.dtype]
        got, want = self.forward('contiguous')(), self.unfold()()
        torch.testing.assert_close(got, want, rtol=rtol, atol=atol * self.kernel_size)

    # Baselines of `ddf_upsample`

    def composition(self, layout: str) -> Run:
        """The authors' DDF-Up: r² calls of `ddf`, stack, pixel_shuffle."""
        x, f, s = self.laid_out(layout)
        r = self.scale
        parts = [
            s[:, :, row::r, column::r].contiguous(memory_format=LAYOUTS[layout])
            for row in range(r)
            for column in range(r)
        ]
        filters = [f[:, phase].contiguous() for phase in range(r * r)]

        def run() -> Tensor:
            outputs = [
                ddf(x, one, part, self.kernel_size)
                for one, part in zip(filters, parts, strict=True)
            ]
            return F.pixel_shuffle(torch.stack(outputs, dim=2).flatten(1, 2), r)

        return run

    def interpolate(self, layout: str) -> Run:
        x = self.laid_out(layout)[0]
        return lambda: F.interpolate(
            x, scale_factor=self.scale, mode='bilinear', align_corners=False
        )

    def carafe(self, layout: str) -> Run | None:
        """mmcv's reassembly, with one kernel for all channels; None without mmcv's CUDA kernels."""
        if self.device.type != 'cuda':
            return None
        try:
            from mmcv.ops import carafe
        except ImportError:
            return None
        x, _, s = self.laid_out(layout)
        return lambda: carafe(x, s, self.kernel_size, 1, self.scale)

    def assert_composition_agrees(self) -> None:
        """Raises AssertionError if `ddf_upsample` and the authors' composition differ."""
        rtol, atol = _TOLERANCES[self.dtype]
        for layout in LAYOUTS:
            got, want = self.forward(layout)(), self.composition(layout)()
            torch.testing.assert_close(got, want, rtol=rtol, atol=atol)
