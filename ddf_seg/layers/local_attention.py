"""Upsamplers of foundation models' features that attend to a window around each coarse pixel.

They compute what their published code does, on `affinity` and `ddf_upsample` without a channel
filter: without NATTEN or Triton, and without a copy of the map for every tap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ..ops import affinity, ddf_upsample
from ..ops.checks import check_int, check_kinds
from .branches import few_outputs
from .checks import check_channels, check_flag, check_map, check_odd

# The radius of each neighbourhood, and which distances in y and x belong to it.
_NEIGHBORHOODS: dict[int, tuple[int, Callable[[int, int], bool]]] = {
    5: (1, lambda y, x: y + x <= 1),
    9: (1, lambda y, x: True),
    13: (2, lambda y, x: y + x <= 2),
    17: (2, lambda y, x: y == x or min(y, x) == 0),
    25: (2, lambda y, x: True),
}


class LocalAttender(nn.Module):
    r"""UPLiFT's attention to a fixed set of offsets, with weights from a guide alone.

    .. math::
        O_c(p) = \sum_j softmax_j(l(p)) \cdot V_c(p // r + o_j), \quad l(p) = W g(p) + b [+ g(p)]

    for guide g at fine pixel p, values V, replicated beyond the map, and the offsets o of a plus
    (5), a square (9, 25), a diamond (13) or a star (17), in row-major order. The residual, in
    brackets, takes the guide's first channels, or 0 where it has too few. From "UPLiFT: Efficient
    Pixel-Dense Feature Upsampling with Local Attenders" (arXiv 2601.17950). Parameters are named as
    in the published code: conv1.weight, conv1.bias.

    Args:
        in_channels: channels of the guide.
        num_connected: number of offsets: 5, 9, 13, 17 or 25.
        conv_res: whether the guide is added to the logits.

    Raises:
        TypeError: an argument of another type.
        ValueError: one outside its range; the message names it.
    """

    def __init__(self, in_channels: int, num_connected: int = 5, conv_res: bool = True) -> None:
        super().__init__()
        check_int('in_channels', in_channels)
        check_int('num_connected', num_connected)
        if num_connected not in _NEIGHBORHOODS:
            raise ValueError(
                f'num_connected: expected one of {", ".join(map(str, _NEIGHBORHOODS))}, '
                f'got {num_connected}'
            )
        check_flag('conv_res', conv_res)
        self.num_connected = num_connected
        self.conv_res = conv_res
        self.conv1 = nn.Conv2d(in_channels, num_connected, 1)
        radius, belongs = _NEIGHBORHOODS[num_connected]
        self.kernel_size = k = 2 * radius + 1
        taps = [t for t in range(k * k) if belongs(abs(t // k - radius), abs(t % k - radius))]
        self.register_buffer('taps', torch.tensor(taps), persistent=False)

    def forward(self, guide: Tensor, value: Tensor) -> Tensor:
        """Guide (B, in_channels, r·H, r·W) and values (B, C, H, W) to (B, C, r·H, r·W).

        Raises:
            TypeError: dtypes are unsupported or differ.
            ValueError: a shape or device does not fit; the message names it.
        """
        check_kinds((('guide', guide), ('value', value)))
        check_channels('guide', guide, self.conv1.in_channels)
        check_map('value', value, guide, 'guide')
        r = _scale_factor('guide', guide, 'value', value)
        k, weight = self.kernel_size, self.conv1.weight
        if self.conv_res:
            # What adding the guide amounts to, for fewer and for more channels than offsets.
            identity = torch.eye(*weight.shape[:2], dtype=weight.dtype, device=weight.device)
            weight = weight + identity[:, :, None, None]
        weights = few_outputs(guide, weight, cast(Tensor, self.conv1.bias)).softmax(dim=1)
        filters = weights.new_zeros(weights.shape[0], k * k, *weights.shape[2:])
        filters.index_copy_(1, cast(Tensor, self.taps), weights)
        fold_border(filters, k, value.shape[2:], r, reflect=False)
        return ddf_upsample(value, None, filters, k, r)

    def extra_repr(self) -> str:
        return f'num_connected={self.num_connected}, conv_res={self.conv_res}'


class NeighborhoodCrossAttention(nn.Module):
    r"""NAF's attention of fine queries to the k × k coarse pixels around them.

    .. math::
        O_h(p) = \sum_{i \in N(p // r)} softmax_i(⟨Q_h(p), K_h(i)⟩ / \sqrt{d}) \cdot V_h(i)

    for every head h, with d channels of the queries. N are neighbourhood attention's windows (arXiv
    2204.07143): at the border they are shifted inwards, so that each has k × k pixels of the map.
    From "NAF: Zero-Shot Feature Upsampling via Neighborhood Attention Filtering" (arXiv
    2511.18452), which calls NATTEN with a dilation of r on keys and values repeated r × r times.
    There are no parameters.

    Args:
        num_heads: number of heads; each takes consecutive channels.
        kernel_size: k, odd, at least 3.

    Raises:
        TypeError: an argument of another type.
        ValueError: one outside its range; the message names it.
    """

    def __init__(self, num_heads: int = 4, kernel_size: int = 9) -> None:
        super().__init__()
        self.num_heads = check_int('num_heads', num_heads)
        check_odd('kernel_size', kernel_size, least=3)
        self.kernel_size = kernel_size

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Queries (B, dim, r·H, r·W), keys (B, dim, H, W), values (B, C, H, W) to (B, C, r·H, r·W).

        H and W are at least k.

        Raises:
            TypeError: dtypes are unsupported or differ.
            ValueError: a shape or device does not fit; the message names it.
        """
        r = self._check(query, key, value)
        heads, k = self.num_heads, self.kernel_size
        key = key * (query.shape[1] // heads) ** -0.5
        q, by_head, v = (x.unflatten(1, (heads, -1)).flatten(0, 1) for x in (query, key, value))
        weights = affinity(q, by_head, k, r).softmax(dim=1)
        weights = weights.unflatten(0, (-1, heads)).flatten(1, 2)
        # Right where the windows lie inside; the others are written over.
        out = ddf_upsample(value, None, weights, k, r)
        edge = k // 2 * r
        inner = slice(edge, -edge)
        for first, last in ((slice(edge), slice(k)), (slice(-edge, None), slice(-k, None))):
            rows = _attend_along(q[:, :, first], by_head[:, :, last], v[:, :, last], r)
            out[:, :, first] = rows.reshape(out[:, :, first].shape)
            columns = _attend_along(
                q[:, :, inner, first].mT, by_head[..., last].mT, v[..., last].mT, r
            )
            out[:, :, inner, first] = columns.mT.reshape(out[:, :, inner, first].shape)
        return out

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> int:
        check_kinds((('query', query), ('key', key), ('value', value)))
        check_map('query', query)
        check_map('key', key, query, 'query')
        check_map('value', value, query, 'query')
        if key.shape[1] != query.shape[1]:
            raise ValueError(
                f'key: expected {query.shape[1]} channels (those of query), got {key.shape[1]}'
            )
        if key.shape[2:] != value.shape[2:]:
            raise ValueError(
                f'key: expected height and width {tuple(value.shape[2:])} (those of value), '
                f'got {tuple(key.shape[2:])}'
            )
        for name, x in (('query', query), ('value', value)):
            if x.shape[1] % self.num_heads:
                raise ValueError(
                    f'{name}: expected channels that {self.num_heads} heads can share, '
                    f'got {x.shape[1]}'
                )
        if min(key.shape[2:]) < self.kernel_size:
            raise ValueError(
                f'key: expected a height and width of at least {self.kernel_size} (kernel_size), '
                f'got {tuple(key.shape[2:])}'
            )
        return _scale_factor('query', query, 'key', key)

    def extra_repr(self) -> str:
        return f'num_heads={self.num_heads}, kernel_size={self.kernel_size}'


def _scale_factor(name: str, fine: Tensor, of: str, coarse: Tensor) -> int:
    r = fine.shape[2] // coarse.shape[2]
    if r < 1 or any(h != r * n for h, n in zip(fine.shape[2:], coarse.shape[2:], strict=True)):
        raise ValueError(
            f'{name}: expected a height and width that are the same multiple of those of {of}, '
            f'{tuple(coarse.shape[2:])}, got {tuple(fine.shape[2:])}'
        )
    return r


def fold_border(
    filters: Tensor, k: int, low: Sequence[int], scale_factor: int, reflect: bool
) -> None:
    """Gives the weights of taps outside a map to the taps that padding would copy, in place.

    The operators count the map as 0 outside, so the weights that stay there do nothing.

    Args:
        filters: (B, k², r·H, r·W).
        low: size (H, W) of the map that they filter.
        reflect: padding reflects the map, which is larger than the radius; else it replicates.
    """
    by_pixel = filters.unflatten(1, (k, k))
    for axis, length in enumerate(low):
        lines = by_pixel.movedim((3 + axis, 1 + axis), (0, 1))
        for pixel in range(length):
            # Taps first to last are inside.
            first = max(k // 2 - pixel, 0)
            last = min(k // 2 + length - 1 - pixel, k - 1)
            if first == 0 and last == k - 1:
                continue
            line = lines[pixel * scale_factor : (pixel + 1) * scale_factor].transpose(0, 1)
            before, after = line[:first], line[last + 1 :]
            if reflect:
                line[first + 1 : 2 * first + 1].add_(before.flip(0))
                line[last - after.shape[0] : last].add_(after.flip(0))
            else:
                line[first].add_(before.sum(0))
                line[last].add_(after.sum(0))


def _attend_along(query: Tensor, key: Tensor, value: Tensor, r: int) -> Tensor:
    """Attention along a border, where all windows hold the same k coarse rows.

    Args:
        query: (N, d, rows, r·n), those of all W coarse columns, or of the middle ones.
        key: (N, d, k, W).
        value: (N, c, k, W).

    Returns:
        (N, c, rows, r·n).
    """
    k, width = key.shape[2:]
    parents = query.shape[3] // r
    middle = torch.arange(parents, device=key.device) + (width - parents) // 2
    start = (middle - k // 2).clamp(0, width - k)
    keys, values = (x.unfold(3, k, 1).index_select(3, start) for x in (key, value))
    queries = query.unflatten(3, (parents, r)).permute(0, 3, 2, 4, 1).flatten(2, 3)
    weights = (queries @ keys.permute(0, 3, 1, 2, 4).flatten(3)).softmax(dim=-1)
    out = weights @ values.permute(0, 3, 2, 4, 1).flatten(2, 3)
    return out.unflatten(2, (-1, r)).permute(0, 4, 2, 1, 3).flatten(3)
