"""DDF in segmentation_models.pytorch: importing this adds the architecture 'ddf'.

::

    import segmentation_models_pytorch as smp
    import ddf_seg.integrations.smp

    model = smp.create_model('ddf', encoder_name='resnet34', classes=11)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

try:
    import segmentation_models_pytorch as smp
except ModuleNotFoundError as error:
    if error.name != 'segmentation_models_pytorch':
        raise
    raise ImportError(
        'ddf_seg.integrations.smp needs segmentation-models-pytorch 0.5 or newer: '
        "pip install 'segmentation-models-pytorch>=0.5'"
    ) from error
from segmentation_models_pytorch.base import (
    ClassificationHead,
    SegmentationHead,
    SegmentationModel,
    initialization,
)
from segmentation_models_pytorch.base.hub_mixin import supports_config_loading
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor

from ..decoders import DDFDecoder


class Decoder(DDFDecoder):
    """`DDFDecoder` over the features of one of smp's encoders.

    Args:
        encoder_channels: channels of the features, that of the image first.
        encoder_strides: their strides, 1 first.
        channels: width of all levels, or of each, finest first.
        stride: of the finest level to decode.
        ddf_cfg: as for `DDFDecoder`.

    Raises:
        ValueError: the encoder has no level of that stride, or the widths do not fit its levels.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        encoder_strides: Sequence[int],
        channels: int | Sequence[int],
        stride: int,
        ddf_cfg: dict[str, Any] | None,
    ) -> None:
        # Encoders without a level of stride 2 have one of 0 channels in its place.
        usable = [s for s, c in zip(encoder_strides, encoder_channels, strict=True) if c]
        if stride not in usable:
            raise ValueError(
                f'decoder_stride: expected the stride of one of the levels, {usable}, got {stride}'
            )
        first = list(encoder_strides).index(stride)
        levels = list(encoder_channels[first:])
        widths = [channels] * len(levels) if isinstance(channels, int) else list(channels)
        if len(widths) != len(levels):
            raise ValueError(
                f'decoder_channels: expected one value, or {len(levels)} (one for each level from '
                f'stride {stride} on), got {channels}'
            )
        super().__init__(
            levels, widths[0], widths=widths, strides=encoder_strides[first:], ddf_cfg=ddf_cfg
        )
        self.first = first
        self.out_channels = widths[0]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's features to (B, out_channels, H, W) at the finest level decoded."""
        return super().forward(features[self.first :])


class DDF(SegmentationModel):
    """A top-down decoder with decoupled dynamic filters on one of smp's encoders.

    Args:
        encoder_name: one of smp's encoders, or `tu-…` for one of timm's.
        encoder_depth: levels of the encoder, each half of the one before, 3 to 5.
        encoder_weights: pretrained weights as for every model of smp; None: none.
        decoder_channels: width of all of the decoder's levels, or of each, finest first.
        decoder_stride: stride of the finest level that the decoder reaches.
        ddf_cfg: as for `ddf_seg.decoders.DDFDecoder`.
        in_channels: channels of the image.
        classes: channels of the output.
        activation: after the last convolution; see smp.
        upsampling: factor of the last interpolation; default: `decoder_stride`, so that the output
            has the size of the image.
        aux_params: of a classification head; see smp.
        kwargs: for the encoder.

    Raises:
        ValueError: the decoder does not fit the encoder.
    """

    # The operators have no TorchScript form; torch.export and torch.compile take them.
    _is_torch_scriptable = False

    @supports_config_loading
    def __init__(
        self,
        encoder_name: str = 'resnet34',
        encoder_depth: int = 5,
        encoder_weights: str | None = 'imagenet',
        decoder_channels: int | Sequence[int] = 128,
        decoder_stride: int = 4,
        ddf_cfg: dict[str, Any] | None = None,
        in_channels: int = 3,
        classes: int = 1,
        activation: str | Callable[..., Any] | None = None,
        upsampling: int | None = None,
        aux_params: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.encoder = get_encoder(
            encoder_name,
            in_channels=in_channels,
            depth=encoder_depth,
            weights=encoder_weights,
            **kwargs,
        )
        channels = self.encoder.out_channels
        coarsest = self.encoder.output_stride
        self.decoder = Decoder(
            channels,
            [min(2**level, coarsest) for level in range(len(channels))],
            decoder_channels,
            decoder_stride,
            ddf_cfg,
        )
        self.segmentation_head = SegmentationHead(
            in_channels=self.decoder.out_channels,
            out_channels=classes,
            activation=activation,
            kernel_size=1,
            upsampling=decoder_stride if upsampling is None else upsampling,
        )
        self.classification_head = (
            ClassificationHead(in_channels=channels[-1], **aux_params)
            if aux_params is not None
            else None
        )
        self.name = f'ddf-{encoder_name}'
        self.initialize()

    def initialize(self) -> None:
        """Initialises the heads as smp does; the decoder's layers bring their own."""
        for head in (self.segmentation_head, self.classification_head):
            if head is not None:
                initialization.initialize_head(head)


# Where `smp.create_model` looks for the name, and `smp.from_pretrained` for the class.
smp.MODEL_ARCHITECTURES_MAPPING[DDF.__name__.lower()] = DDF
smp.DDF = DDF
