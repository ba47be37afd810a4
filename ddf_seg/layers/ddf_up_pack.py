"""DDFUpPack: upsampling by the operator, with the branches that generate its filters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..ops import ddf_upsample
from ..ops.checks import MOST_SCALE, check_int
from .branches import ChannelBranch, PhaseSpatialBranch, SpatialBranch
from .checks import check_channels, check_layer, check_odd
from .ddf_pack import neutral, reset_parts
from .guided_branch import GuidedBranch, fitted
from .guided_upsampling import guided_upsample
from .interpolation import InterpolationSoftmax

# Kept whole by torch.fx, whose stand-ins for tensors have no sizes to decide on.
for _name in ('check_channels', 'fitted'):
    torch.fx.wrap(_name)


class DDFUpPack(nn.Module):
    """DDF upsampling with its branches, from the features alone or guided by a finer map (joint).

    The authors' DDF-Up layer (arXiv 2104.14107, section 3.4) with their constructor arguments. The
    parameters of its r² branches are stored stacked over the phases and run as one; a state dict
    with the authors' keys (`spatial_branch.{phase}.…`, `channel_branch.{phase}.…`) loads too. With
    a guide, there is one spatial branch: a 1×1 convolution on the guide at the guide's resolution.

    Args:
        in_channels: channels of input and output.
        kernel_size: side of the filters, odd, at least 3.
        scale_factor: r.
        dilation: distance between taps, in pixels of the input.
        head: groups of channels with a spatial filter each.
        se_ratio: squeeze of the channel branch.
        nonlinearity: the nonlinearity that follows, for FilterNorm's gain.
        dw_kernel_size: side of the depthwise convolution in the unguided spatial branches, odd.
        joint_channels: channels of the guide; 0 or -1: no guide.
        kernel_combine: 'mul' or 'add'.
        normalization: 'filter_norm', or 'batch_norm', 'sigmoid', 'softmax', 'none' (ablation), or
            'interpolation': spatial filters that start as interpolation and always sum to 1
            (`InterpolationSoftmax`), in place of the paper's; it wants branches 'spatial'.
        branches: 'both', or 'spatial' or 'channel' alone (ablation).
        neutral_start: channel filters that change nothing at first (1 where they multiply, 0 where
            they are added) and learn an offset; default: drawn at random, as the authors do.
        affinity_channels: length of the vectors by which the guide is compared with the features
            (`GuidedBranch`), for normalization 'interpolation' with a guide; 0: not compared.
        interpolation: mode and align_corners of the interpolation to start from.
        context: whether filters are also made from the features, and from neighbours in the guide
            (`GuidedBranch`), for normalization 'interpolation' with a guide.

    Raises:
        TypeError: an argument of another type.
        ValueError: an argument outside its range.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: int = 3,
        scale_factor: int = 2,
        dilation: int = 1,
        head: int = 1,
        se_ratio: float = 0.2,
        nonlinearity: str = 'linear',
        dw_kernel_size: int = 3,
        joint_channels: int = -1,
        kernel_combine: str = 'mul',
        normalization: str = 'filter_norm',
        branches: str = 'both',
        neutral_start: bool = False,
        affinity_channels: int = 0,
        interpolation: dict[str, Any] | None = None,
        context: bool = False,
    ) -> None:
        super().__init__()
        check_layer(
            in_channels,
            kernel_size,
            dilation,
            head,
            se_ratio,
            nonlinearity,
            kernel_combine,
            branches,
            neutral_start,
        )
        check_int('scale_factor', scale_factor, most=MOST_SCALE)
        check_odd('dw_kernel_size', dw_kernel_size, least=1)
        check_int('joint_channels', joint_channels, least=-1)
        self.in_channels = in_channels
        self.kernel_size = kernel_size
        self.scale_factor = scale_factor
        self.dilation = dilation
        self.kernel_combine = kernel_combine
        self.joint_channels = joint_channels
        self.branches = branches
        self.head = head
        self.interpolation: InterpolationSoftmax | None = None
        if normalization == 'interpolation':
            if branches != 'spatial' or dilation != 1:
                raise ValueError(
                    "normalization: 'interpolation' wants branches 'spatial' and dilation 1, got "
                    f"{branches!r} and {dilation}; the paper's filters are 'filter_norm'"
                )
            self.interpolation = InterpolationSoftmax(
                head, kernel_size, scale_factor, **(interpolation or {})
            )
        elif affinity_channels or interpolation or context:
            raise ValueError(
                'affinity_channels, interpolation, context: expected with normalization '
                f"'interpolation' alone, got {affinity_channels}, {interpolation} and {context} "
                f'with {normalization!r}'
            )
        if (affinity_channels or context) and joint_channels < 1:
            raise ValueError(
                'affinity_channels, context: expected 0 and False without a guide, got '
                f'{affinity_channels} and {context}'
            )
        if branches != 'channel':
            self.spatial_branch = self._spatial_branch(
                nonlinearity, dw_kernel_size, normalization, affinity_channels, context
            )
        if branches != 'spatial':
            self.channel_branch = ChannelBranch(
                in_channels,
                kernel_size,
                se_ratio,
                scale_factor**2,
                nonlinearity,
                normalization,
                neutral(kernel_combine) if neutral_start else None,
            )
        self.register_load_state_dict_pre_hook(_translate)

    def _spatial_branch(
        self,
        nonlinearity: str,
        dw_kernel_size: int,
        normalization: str,
        affinity_channels: int,
        context: bool,
    ) -> nn.Module:
        k, groups, r = self.kernel_size, self.head, self.scale_factor
        interpolates = self.interpolation is not None
        if self.joint_channels < 1:
            return PhaseSpatialBranch(
                self.in_channels,
                k,
                groups,
                r,
                dw_kernel_size,
                nonlinearity,
                'none' if interpolates else normalization,
                zero_start=interpolates,
            )
        if interpolates:
            return GuidedBranch(
                self.joint_channels, self.in_channels, k, groups, r, affinity_channels, context
            )
        return SpatialBranch(
            self.joint_channels, k, groups, nonlinearity=nonlinearity, normalization=normalization
        )

    def init_weights(self) -> None:
        """Keeps the layer's own initialisation where a network initialises every convolution."""
        reset_parts(self)

    def translate_keys(self, state_dict: dict[str, Any], prefix: str = '') -> None:
        """Replaces the authors' per-phase entries by ours, where all phases of an entry are there.

        An incomplete entry stays as it is, so that a strict load reports it.

        Args:
            state_dict: is changed.
            prefix: of the layer's own entries.
        """
        phases: dict[str, dict[int, str]] = {}
        for key in list(state_dict):
            match = _PHASE_KEY.fullmatch(key[len(prefix) :]) if key.startswith(prefix) else None
            if match and match[3] in _PARTS[match[1]]:
                ours = f'{prefix}{match[1]}.{_PARTS[match[1]][match[3]]}.{match[4]}'
                phases.setdefault(ours, {})[int(match[2])] = key
        for ours, keys in phases.items():
            if sorted(keys) == list(range(self.scale_factor**2)):
                parts = [state_dict.pop(keys[phase]) for phase in sorted(keys)]
                state_dict[ours] = torch.cat(parts)

    def forward(self, x: Tensor, joint_x: Tensor | None = None) -> Tensor:
        """Upsamples x.

        Args:
            x: (B, in_channels, H, W).
            joint_x: the guide, (B, joint_channels, H', W') with H' from r·H − (r − 1) to
                r·H + (r − 1) and W' alike; required with joint_channels, otherwise not allowed.

        Returns:
            (B, in_channels, r·H, r·W), or with a guide (B, in_channels, H', W').

        Raises:
            ValueError: x or the guide does not fit, or the guide is missing or not expected.
        """
        check_channels('x', x, self.in_channels)
        guided = self.joint_channels > 0
        if not guided and joint_x is not None:
            raise ValueError(
                'joint_x: expected none, since the layer was built without joint_channels'
            )
        if guided:
            if joint_x is None:
                raise ValueError(
                    f'joint_x: expected a guide of {self.joint_channels} channels, got none'
                )
            check_channels('joint_x', joint_x, self.joint_channels)
        if joint_x is not None and self._is_one_operator():
            return self._in_one([x], [(x.shape[2], x.shape[3])], joint_x, x, summed=True)[0]
        batch, channels = x.shape[:2]
        k, r = self.kernel_size, self.scale_factor
        channel_filter = spatial_filter = None
        if self.branches != 'spatial':
            channel_filter = self.channel_branch(x).view(batch, r * r, channels, k, k)
        if self.branches != 'channel':
            spatial_filter = self._spatial_filter(x, joint_x)
        out = ddf_upsample(
            x, channel_filter, spatial_filter, k, r, self.dilation, self.kernel_combine
        )
        if spatial_filter is not None or joint_x is None:
            return out
        return fitted(out, x, joint_x, r)

    def upsample_alike(
        self,
        maps: Sequence[Tensor],
        sources: Sequence[tuple[int, int]],
        joint_x: Tensor,
        features: Tensor | None = None,
        summed: bool = False,
    ) -> list[Tensor]:
        """Upsamples several maps by the same filters, for normalization 'interpolation'.

        Args:
            maps: (B, C, H, W) each; C is a multiple of the groups of channels.
            sources: the size that each map was interpolated from, in steps such as this one: its
                filters start as the rest of that interpolation.
            joint_x: the guide, as for `forward`.
            features: what the filters are made of, (B, in_channels, H, W); default: the first map.
            summed: whether the sum of the upsampled maps is wanted alone.

        Returns:
            (B, C, H', W') each, or their sum.

        Raises:
            ValueError: the features or the guide do not fit.
        """
        assert self.interpolation is not None
        features = maps[0] if features is None else features
        check_channels('x', features, self.in_channels)
        check_channels('joint_x', joint_x, self.joint_channels)
        if self._is_one_operator():
            return self._in_one(maps, sources, joint_x, features, summed)
        low = (features.shape[2], features.shape[3])
        logits, query, key = self.spatial_branch(joint_x, features)
        made = self.interpolation.filters(logits, low, sources, query, key)
        upsampled = []
        # Whoever records the calls reads off `source` what each map was interpolated from.
        for x, source, filters in zip(maps, sources, made, strict=True):  # noqa: B007
            upsampled.append(self._upsample_by(x, filters))
        return [sum(upsampled[1:], start=upsampled[0])] if summed else upsampled

    def _is_one_operator(self) -> bool:
        guided = self.interpolation is not None and self.joint_channels > 0
        return guided and self.head == 1 and torch.compiler.is_exporting()

    def _in_one(
        self,
        maps: Sequence[Tensor],
        sources: Sequence[tuple[int, int]],
        joint_x: Tensor,
        features: Tensor,
        summed: bool,
    ) -> list[Tensor]:
        assert self.interpolation is not None
        parts = cast(GuidedBranch, self.spatial_branch).parts(joint_x, features)
        low = (features.shape[2], features.shape[3])
        rows, columns = self.interpolation.tables(joint_x, low, sources)
        upsampled: list[Tensor] = guided_upsample(
            *parts, rows, columns, list(maps), self.scale_factor, summed
        )
        return upsampled

    def _upsample_by(self, x: Tensor, spatial_filter: Tensor) -> Tensor:
        return ddf_upsample(x, None, spatial_filter, self.kernel_size, self.scale_factor)

    def _spatial_filter(self, x: Tensor, joint_x: Tensor | None) -> Tensor:
        low = (x.shape[2], x.shape[3])
        if isinstance(self.spatial_branch, GuidedBranch):
            assert self.interpolation is not None
            logits, query, key = self.spatial_branch(joint_x, x)
            return self.interpolation.filters(logits, low, None, query, key)[0]
        made: Tensor = self.spatial_branch(x if joint_x is None else joint_x)
        return made if self.interpolation is None else self.interpolation(made, low)


# The authors' names of a phase's parts, and the names of ours.
_PARTS = {
    'spatial_branch': {'0': 'depthwise', '1.0': 'pointwise', '1.1': 'norm'},
    'channel_branch': {'1': '1', '3': '3', '4': '4'},
}
_PHASE_KEY = re.compile(r'(spatial_branch|channel_branch)\.(\d+)\.(1\.0|1\.1|0|1|3|4)\.(\w+)$')


def _translate(module: DDFUpPack, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    module.translate_keys(state_dict, prefix)
