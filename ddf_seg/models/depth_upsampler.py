"""Depth maps, enlarged by what an image of the scene shows: the paper's joint upsampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..decoders.upsampling import GuidedUpsample

RESIZE = dict(mode='bilinear', align_corners=False)


def low_resolution(depth: Tensor, factor: int) -> Tensor:
    """(…, H, W) to (…, H / factor, W / factor): of every square of pixels the one in its middle.

    As PAC's published code has it ('center'): nothing is averaged across an edge.
    """
    first = (factor - 1) // 2
    return depth[..., first::factor, first::factor]


@MODELS.register_module()
class DepthUpsampler(BaseModel):
    """A small network of joint DDF-Up steps by 2, guided by features of the image.

    The paper puts DDF-Up in place of PAC in such a network (table 7). Here the depth itself climbs
    under the same filters as features that are made of it and of the image at its size; so the
    filters can compare what the image shows at a fine pixel and at the coarse ones around. Two
    convolutions at the end add what filters cannot. They start at 0: with filters that start as
    interpolation, the network starts as bilinear interpolation.

    Args:
        factor: how many times the depth map is enlarged, a power of 2.
        channels: of the depth's features and of the image's.
        farthest: metres; what is as far or farther, such as the sky, counts as this far, and is
            not scored.
        ddf_cfg: as for `GuidedUpsample`; `dict(normalization='filter_norm')` for the paper's
            filters.
        data_preprocessor, init_cfg: as for mmengine's BaseModel.

    Raises:
        ValueError: the factor is no power of 2, or there are less than 2 channels.
    """

    def __init__(
        self,
        factor: int,
        channels: int = 16,
        farthest: float = float('inf'),
        ddf_cfg: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if factor < 2 or factor & (factor - 1):
            raise ValueError(f'factor: expected a power of 2 from 2 on, got {factor}')
        if channels < 2:
            raise ValueError(f'channels: expected at least 2, got {channels}')
        self.factor = factor
        self.farthest = farthest
        steps = factor.bit_length() - 1
        # Finest first; the last has the size of the coarse depth.
        self.guides = nn.ModuleList(
            _convolutions(channels if i else 3, channels, stride=2 if i else 1)
            for i in range(steps + 1)
        )
        self.encode = _convolutions(1 + channels, channels - 1)
        # What context would add here was not measured.
        layers = {'context': False, **(ddf_cfg or {})}
        self.upsamples = nn.ModuleList(
            GuidedUpsample(channels, channels, 2, RESIZE, layers) for _ in range(steps)
        )
        self.refine = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 1, 3, padding=1),
        )
        for parameter in self.refine[-1].parameters():
            nn.init.zeros_(parameter)

    def upsample(self, image: Tensor, low: Tensor) -> Tensor:
        """Depth (B, 1, H, W) to (B, 1, factor·H, factor·W), guided by an image of that size.

        Args:
            image: (B, 3, factor·H, factor·W), as the data preprocessor normalises it.
            low: depth, in any unit.
        """
        guides = []
        for layer in self.guides:
            image = layer(image)
            guides.append(image)
        near, far = low.amin((1, 2, 3), keepdim=True), low.amax((1, 2, 3), keepdim=True)
        # A flat map has no range.
        span = torch.where(far > near, far - near, 1)
        depth = (low - near) / span
        x = torch.cat([depth, self.encode(torch.cat([depth, guides[-1]], dim=1))], dim=1)
        source = (low.shape[2], low.shape[3])
        for guide, upsample in zip(guides[-2::-1], reversed(self.upsamples), strict=True):
            if upsample.gain is None:
                # Each step continues one interpolation.
                x = upsample.shared([x], [source], guide)[0]
            else:
                x = upsample(x, guide)
        return near + span * (x[:, :1] + self.refine(torch.cat([x, guides[0]], dim=1)))

    def forward(
        self, inputs: Tensor, data_samples: Sequence[Any] | None = None, mode: str = 'tensor'
    ) -> Any:
        """A loss or predictions, for depth that is made coarse here.

        Args:
            inputs: images (B, 3, H, W).
            data_samples: their depth in metres, `gt_depth_map.data` of (1, H, W) each. Rows and
                columns beyond a multiple of the factor are left out.
            mode: 'loss' for dict(loss=…), the mean squared error in m², or 'predict' for a
                dict(depth=…, target=…, scored=…) of each image, (H, W).

        Raises:
            ValueError: another mode, no data_samples, or infinite depth where `farthest` is, too.
        """
        if data_samples is None or mode not in ('loss', 'predict'):
            raise ValueError(
                "mode: expected 'loss' or 'predict' with data_samples, or a call of upsample, "
                f'got {mode!r}'
            )
        height, width = (n // self.factor * self.factor for n in inputs.shape[2:])
        inputs = inputs[:, :, :height, :width]
        target = torch.stack([sample.gt_depth_map.data for sample in data_samples])
        target = target[:, :, :height, :width].to(inputs.device).clamp(max=self.farthest)
        if not target.isfinite().all():
            raise ValueError(
                'data_samples: expected finite depth, or farthest=… of the network to count other '
                f'depth as, got farthest={self.farthest} and {target[~target.isfinite()][0].item()}'
            )
        scored = target < self.farthest
        depth = self.upsample(inputs, low_resolution(target, self.factor))
        if mode == 'predict':
            maps = (depth, target, scored)
            return [
                dict(depth=d[0], target=t[0], scored=s[0]) for d, t, s in zip(*maps, strict=True)
            ]
        error = F.mse_loss(depth, target, reduction='none')
        return dict(loss=error.where(scored, 0).sum() / scored.sum().clamp(min=1))


def _convolutions(in_channels: int, channels: int, stride: int = 1) -> nn.Module:
    """Two 3×3 convolutions with ReLU, initialised as He et al. do for these."""
    layers: list[nn.Module] = []
    for before, step in ((in_channels, stride), (channels, 1)):
        conv = nn.Conv2d(before, channels, 3, step, 1)
        nn.init.kaiming_normal_(conv.weight, nonlinearity='relu')
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers)
