"""A segmentor made faster, which computes the same."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import fuse_conv_bn
from torch import Tensor, nn

from ...errors import UsageError, in_a_line

# Sizes of images that a network is compiled for; further ones run as they are.
_MOST_SIZES = 4
# Of the range of the scores
_TOLERANCE = 1e-4


def fold_normalization(model: Any) -> Any:
    """The segmentor with BatchNorm folded into the convolutions before it.

    mmcv folds what stands behind a convolution in the order of definition. Where a network
    computes in another order, that would change what it says: then it stays as it is, and a warning
    says so. A convolution that has modules of its own, such as `GatedDDFConv2d`, is left out: its
    weights are not all of it.

    Args:
        model: the segmentor, in evaluation mode; stays as it is.
    """
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        return model
    device = next(model.parameters()).device
    # Not zeros, for which only biases would count
    image = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        folded = _folded(copy.deepcopy(model))
        plain, quick = (_scores(each, 2 * image - 1) for each in (model, folded))
    except Exception as error:
        # It takes no such image (other channels, another size), so it cannot be compared.
        return _unfolded(model, in_a_line(error))
    limit = _TOLERANCE * (plain.max() - plain.min())
    if (plain - quick).abs().max() <= limit:
        return folded
    return _unfolded(model, 'it would change the scores')


class _Hidden(nn.Module):
    """A convolution that mmcv takes for none."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv


def _folded(model: nn.Module) -> Any:
    composite = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Conv2d) and any(True for _ in child.children())
    ]
    for parent, name, child in composite:
        setattr(parent, name, _Hidden(child))
    folded = fuse_conv_bn(model)
    for parent, name, child in composite:
        setattr(parent, name, child)
    return folded


def _unfolded(model: Any, reason: str) -> Any:
    warnings.warn(f'runs a little slower, with BatchNorm not folded: {reason}', stacklevel=3)
    return model


def compile_network(model: Any) -> None:
    """Has torch.compile compile the segmentor for each size that it meets, up to four.

    Args:
        model: the segmentor; its `encode_decode` changes.
    """
    plain = model.encode_decode
    sizes: set[tuple[int, ...]] = set()

    @torch.compile(dynamic=False)
    def compiled(image: Tensor) -> Tensor:
        scores: Tensor = plain(image, _metas(image))
        return scores

    def encode_decode(image: Tensor, metas: Sequence[dict[str, Any]]) -> Tensor:
        size = tuple(image.shape)
        if size not in sizes and len(sizes) == _MOST_SIZES:
            found: Tensor = plain(image, metas)
            return found
        sizes.add(size)
        try:
            return compiled(image)
        except torch._dynamo.exc.TorchDynamoException as error:
            cause = getattr(error, 'inner_exception', error)
            raise UsageError(
                f'--optimize: torch cannot compile the network: {in_a_line(cause)}. Is there a C++ '
                'compiler (g++, or what CXX names)? Without --optimize, none is needed'
            ) from error

    model.encode_decode = encode_decode


def _scores(model: Any, image: Tensor) -> Tensor:
    with torch.no_grad():
        scores: Tensor = model.encode_decode(image, _metas(image))
    return scores


def _metas(image: Tensor) -> list[dict[str, Any]]:
    """What heads ask of an image's meta data: its size. Paths would be compiled in."""
    size = tuple(image.shape[2:])
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size, padding_size=[0] * 4)
    return [meta] * image.shape[0]
