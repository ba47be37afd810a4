"""DDF-Up as an upsampling layer that mmcv's builders can put anywhere (type 'DDFUp')."""

from __future__ import annotations

from typing import Any

import torch.utils.checkpoint as cp
from torch import Tensor

from ..ops.checks import check_int
from .ddf_up_pack import DDFUpPack


class DDFUpsample(DDFUpPack):
    """DDF-Up in place of nn.Upsample or mmseg's InterpConv.

    Args:
        in_channels: channels of the input (or `channels`, as CARAFE calls it).
        out_channels: channels of the output. If given, a 1×1 convolution with normalisation and
            activation comes first, at low resolution, where it costs r² times less. Filters that
            start as interpolation (normalization 'interpolation') come before the activation, so
            that the layer starts as interpolation, convolution, normalisation, activation.
        scale_factor: r.
        norm_cfg: mmcv config of the normalisation after the 1×1 convolution.
        act_cfg: mmcv config of its activation; None: none.
        with_cp: recompute the layer in the backward pass instead of keeping its intermediate
            results.
        ddf: further arguments of `DDFUpPack` (kernel_size, head, kernel_combine, …).

    Raises:
        ValueError: neither or both of `channels` and `in_channels` given.
    """

    def __init__(
        self,
        in_channels: int | None = None,
        out_channels: int | None = None,
        scale_factor: int = 2,
        *,
        channels: int | None = None,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = None,
        with_cp: bool = False,
        **ddf: Any,
    ) -> None:
        if (in_channels is None) == (channels is None):
            raise ValueError(
                'in_channels: expected exactly one of in_channels and channels, '
                f'got in_channels={in_channels} and channels={channels}'
            )
        width = in_channels if in_channels is not None else channels
        assert width is not None
        check_int('in_channels', width)
        kept = width if out_channels is None else check_int('out_channels', out_channels)
        super().__init__(kept, scale_factor=scale_factor, **ddf)
        self.with_cp = with_cp
        self.projection: Any = None
        if out_channels is not None:
            # Only mmcv's builders ask for this form, so mmcv is there.
            from mmcv.cnn import ConvModule

            self.projection = ConvModule(width, out_channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        # Interpolation commutes with all of the projection but the activation.
        self.activates_last = (
            self.projection is not None
            and self.interpolation is not None
            and self.projection.with_activation
        )

    def init_weights(self) -> None:
        """Keeps the layer's own initialisation where a network initialises every convolution."""
        super().init_weights()
        if self.projection is not None:
            self.projection.init_weights()

    def translate_keys(self, state_dict: dict[str, Any], prefix: str = '') -> None:
        """As the base class; mmseg's InterpConv becomes the projection."""
        super().translate_keys(state_dict, prefix)
        theirs = f'{prefix}interp_upsample.1.'
        for key in [key for key in state_dict if key.startswith(theirs)]:
            state_dict[f'{prefix}projection.{key[len(theirs) :]}'] = state_dict.pop(key)

    def _upsample(self, x: Tensor) -> Tensor:
        if self.projection is not None:
            x = self.projection(x, activate=not self.activates_last)
        x = super().forward(x)
        return self.projection.activate(x) if self.activates_last else x

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(B, in_channels, H, W) to (B, out_channels, r·H, r·W)."""
        if self.with_cp and x.requires_grad:
            return cp.checkpoint(self._upsample, x, use_reentrant=False)
        return self._upsample(x)
