"""Upsampling filters that start as interpolation: a softmax around its own weights."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..ops.interpolation_softmax import interpolation_softmax, table_dtype
from ..ops.torch_internals import are_transforms_active, is_known, no_modes

Size = tuple[int, int]

MODES = ('bilinear', 'nearest')
# What each axis' weights are raised by before their logarithm is taken: where interpolation has a
# weight of 0, a filter can still grow one.
_FLOOR = 0.05
# The logarithm of nothing, for taps outside the map. float16 holds it, and its exponential is 0.
OUTSIDE = -1e4


# Farther than taps can lie from a target, in the units of `_weights_on_a_line`; int32 holds it.
_FAR = 2**30


def _positions(source: int, size: int, align_corners: bool) -> tuple[Tensor, int]:
    """Where the samples of a map lie, counted in samples of the map it is interpolated from.

    Exactly, as numerators (size) and their denominator: in float32 other runtimes would lose
    digits, and find samples on the wrong side of each other.
    """
    samples = torch.arange(size)
    if align_corners:
        return samples * (source - 1), torch.sym_max(size - 1, 1)
    doubled = (2 * samples + 1) * source - size
    return doubled.clamp(0, 2 * size * (source - 1)), 2 * size


def axis_weights(
    source: int,
    low: int,
    high: int,
    scale_factor: int,
    kernel_size: int,
    mode: str,
    align_corners: bool,
) -> tuple[Tensor, Tensor]:
    """Interpolation from `low` to `high` samples, as filters around each sample's parent.

    The parent of fine sample y is min(y // r, low − 1), as for `ddf_upsample`; its taps lie at
    parent − (k − 1) / 2 and on. The `low` samples are themselves interpolated from `source` ones,
    and the filters continue that interpolation: what comes out is the one from `source` to `high`,
    as torch.nn.functional.interpolate makes it. Interpolation is linear between neighbouring
    samples of the source, so a line through two `low` samples between the same neighbours meets it
    exactly, and may be followed beyond them. Where there are no two (sizes that are no multiples),
    the weights are those from `low` to `high`.

    Returns:
        The weights, (kernel_size, high), float32, and where taps lie inside, of the same shape.
    """
    fine = torch.arange(high)
    parent = torch.div(fine, scale_factor, rounding_mode='floor').clamp(max=low - 1)
    taps = parent + torch.arange(kernel_size)[:, None] - kernel_size // 2
    inside = (taps >= 0) & (taps < low)
    if mode == 'nearest':
        # Nearest neighbours of nearest neighbours are those of the source at multiples.
        nearest = torch.div(fine * low, high, rounding_mode='floor')
        return (taps == nearest).float(), inside
    target, unit = _positions(low, high, align_corners)
    plain = (unit - (taps * unit - target).abs()).clamp(min=0).float() / unit
    if is_known(source == low):
        return plain, inside
    continued, solved = _weights_on_a_line(
        _positions(source, high, align_corners),
        _positions(source, low, align_corners),
        taps.clamp(0, low - 1),
        inside,
    )
    return continued.where(solved, plain), inside


def _weights_on_a_line(
    target: tuple[Tensor, int], samples: tuple[Tensor, int], taps: Tensor, inside: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights that meet, at each target, the line through two taps of its interval.

    Args:
        target: positions to reach, (high), and their unit.
        samples: positions of the low samples, (low), ascending, and their unit.
        taps: indices of samples, (k, high).
        inside: which taps are in the map.

    Returns:
        (k, high); and where they do so, (1, high): not where no tap, or a single one beside the
        target, is in the interval.
    """
    start = target[0] // target[1]
    # From the interval's start in units of a sample, then from the target in units of both.
    at = samples[0][taps] - start * samples[1]
    beyond = at * target[1] - (target[0] - start * target[1]) * samples[1]
    usable = inside & (at >= 0) & (at <= samples[1])
    distance = beyond.abs().where(usable, _FAR)
    first = distance.argmin(dim=0, keepdim=True)
    near = beyond.gather(0, first)
    # Clamped ends put several samples in one place, which make no line.
    distance = distance.where(beyond != near, _FAR)
    second = distance.argmin(dim=0, keepdim=True)
    span = near - beyond.gather(0, second)
    is_line = distance.gather(0, second) < _FAR
    part = near.where(is_line, 0).float() / span.where(is_line, 1)
    index = torch.arange(taps.shape[0])[:, None]
    weights = (1 - part).where(index == first, 0.0) + part.where(index == second, 0.0)
    return weights, is_line | (near == 0)


def axis_table(
    sources: Sequence[int],
    low: int,
    high: int,
    scale_factor: int,
    kernel_size: int,
    mode: str,
    align_corners: bool,
) -> Tensor:
    """What `interpolation_softmax` has to know of an axis, for maps of several sources.

    Returns:
        (2 + sources, kernel_size, high), float32: the prior's logarithm, its softmax, and each
        source's `axis_weights`.
    """
    others = (low, high, scale_factor, kernel_size, mode, align_corners)
    weights, inside = axis_weights(low, *others)
    prior = torch.where(inside, (weights + _FLOOR).log(), OUTSIDE)
    by_source = (axis_weights(source, *others)[0] for source in sources)
    return torch.stack([prior, prior.softmax(dim=0), *by_source])


@functools.lru_cache(maxsize=512)
def _cached_table(dtype: torch.dtype, device: torch.device, *arguments: Any) -> Tensor:
    # With values, also while a program is exported: there they become constants. And autograd can
    # keep them, also where the first call ran in inference mode.
    with no_modes(), torch.device('cpu'), torch.inference_mode(False):
        return axis_table(*arguments).to(device, dtype)


@torch.library.custom_op('ddf_seg::axis_table', mutates_args=())
def _table_operator(
    sources: Sequence[int],
    low: int,
    high: int,
    scale_factor: int,
    kernel_size: int,
    mode: str,
    align_corners: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    others = (low, high, scale_factor, kernel_size, mode, align_corners)
    # A copy: compiled code may write into what an operator returns.
    return _cached_table(dtype, device, tuple(sources), *others).clone()


@_table_operator.register_fake
def _(sources: Any, low: Any, high: Any, scale: Any, kernel_size: Any, *others: Any) -> Tensor:
    *_, dtype, device = others
    return torch.empty(2 + len(sources), kernel_size, high, dtype=dtype, device=device)


def _axis_table(dtype: torch.dtype, device: torch.device, sources: Any, *others: Any) -> Tensor:
    """`axis_table`, from a cache where sizes are numbers.

    A compiler sees one operator: Inductor fails at the argmin over a gather of some sizes, and
    would compute the table anew at each call.
    """
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        table: Tensor = _table_operator(sources, *others, dtype, device)
        return table
    sizes = (*sources, *others[:2])
    if are_transforms_active() or not all(isinstance(n, int) for n in sizes):
        return axis_table(sources, *others).to(device, dtype)
    return _cached_table(dtype, device, tuple(sources), *others)


class InterpolationSoftmax(nn.Module):
    r"""Upsampling filters whose logits, while they are 0, give interpolation exactly.

    .. math::
        K_i(p) = b_i(p) + softmax_i(\log b'(p) + l(p)) - softmax_i(\log b'(p))

    with b the weights that interpolation gives to the k² taps around fine pixel p, b' these
    weights, raised by a little along each axis, and l the logits. Every filter sums to 1, whatever
    its logits, so a constant map stays as it is; large logits reach any single tap. Taps outside
    the map have no weight: at its border filters do as interpolation, which clamps.

    Args:
        groups: filters a pixel.
        kernel_size: side k of the filters, odd; at least 3, and 5 for a scale factor above 2, where
            interpolation of maps whose sizes are no multiples reaches two pixels far.
        scale_factor: r of the upsampling.
        mode: 'bilinear' or 'nearest', the interpolation to start from.
        align_corners: as for torch.nn.functional.interpolate.

    Raises:
        ValueError: an argument outside its range.
    """

    def __init__(
        self,
        groups: int,
        kernel_size: int,
        scale_factor: int,
        mode: str = 'bilinear',
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        least = 3 if scale_factor <= 2 else 5
        if kernel_size < least or kernel_size % 2 == 0:
            raise ValueError(
                f'kernel_size: expected an odd value of at least {least} for filters that start '
                f'as interpolation by {scale_factor}, got {kernel_size}'
            )
        if mode not in MODES:
            raise ValueError(f'mode: expected one of {MODES}, got {mode!r}')
        self.groups = groups
        self.kernel_size = kernel_size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = bool(align_corners)

    def filters(
        self,
        logits: Tensor,
        low: Size,
        sources: Sequence[Size] | None = None,
        query: Tensor | None = None,
        key: Tensor | None = None,
    ) -> list[Tensor]:
        """Filters of several maps that share their logits.

        Args:
            logits: (B, groups·k², H', W').
            low: size of the maps.
            sources: the size that each map was interpolated from, by other steps such as this: its
                filters continue that interpolation. Default: of one map, `low`.
            query: (B, groups·d, H', W'), whose products with the key, by groups, are added to the
                logits; default: none.
            key: (B, groups·d, H, W), with `low` (H, W); given with the query.

        Returns:
            For each map (B, groups·k², H', W').
        """
        rows, columns = self.tables(logits, low, sources or [low])
        made = interpolation_softmax(logits, query, key, rows, columns, self.scale_factor)
        return [made] if sources is None else list(made.split(logits.shape[1], dim=1))

    def tables(self, logits: Tensor, low: Size, sources: Sequence[Size]) -> tuple[Tensor, Tensor]:
        """Rows and columns for `interpolation_softmax`; arguments as for `filters`."""
        settings = (self.scale_factor, self.kernel_size, self.mode, self.align_corners)
        sizes = zip(zip(*sources, strict=True), low, logits.shape[2:], strict=True)
        rows, columns = (
            _axis_table(table_dtype(logits), logits.device, of_maps, n, high, *settings)
            for of_maps, n, high in sizes
        )
        return rows, columns

    def forward(self, logits: Tensor, low: Size) -> Tensor:
        """Logits (B, groups·k², H', W') for maps of size `low` to filters of the same shape."""
        return self.filters(logits, low)[0]

    def extra_repr(self) -> str:
        return (
            f'{self.groups}, kernel_size={self.kernel_size}, scale_factor={self.scale_factor}, '
            f'mode={self.mode!r}, align_corners={self.align_corners}'
        )
