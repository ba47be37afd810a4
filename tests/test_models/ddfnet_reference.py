"""DDF-ResNet in plain torch on a state dict of the authors' naming (timm's ResNet)."""

from __future__ import annotations

from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def shapes(depth: int, se_ratio: float = 0.2, deep_stem: bool = False, avg_down: bool = False):
    """Names and shapes, from the paper's figure 2 and section 4.1, the 1000-class fc included."""
    found = {}

    def batch_norm(name, width):
        for part in ('weight', 'bias', 'running_mean', 'running_var'):
            found[f'{name}.{part}'] = (width,)
        found[f'{name}.num_batches_tracked'] = ()

    def conv(name, out, channels, side=1, bias=False):
        found[f'{name}.weight'] = (out, channels, side, side)
        if bias:
            found[f'{name}.bias'] = (out,)

    if deep_stem:
        conv('conv1.0', 32, 3, 3)
        batch_norm('conv1.1', 32)
        conv('conv1.3', 32, 32, 3)
        batch_norm('conv1.4', 32)
        conv('conv1.6', 64, 32, 3)
    else:
        conv('conv1', 64, 3, 7)
    batch_norm('bn1', 64)
    channels = 64
    for stage, blocks in enumerate(BLOCKS[depth], start=1):
        width = 32 * 2**stage
        squeezed = int(width * se_ratio)
        for block in range(blocks):
            name = f'layer{stage}.{block}'
            conv(f'{name}.conv1', width, channels)
            batch_norm(f'{name}.bn1', width)
            conv(f'{name}.conv2.spatial_branch.0', 9, width, bias=True)
            conv(f'{name}.conv2.channel_branch.1', squeezed, width, bias=True)
            conv(f'{name}.conv2.channel_branch.3', 9 * width, squeezed, bias=True)
            found[f'{name}.conv2.channel_branch.4.std'] = (9 * width,)
            batch_norm(f'{name}.bn2', width)
            conv(f'{name}.conv3', 4 * width, width)
            batch_norm(f'{name}.bn3', 4 * width)
            if block == 0:
                conv(f'{name}.downsample.{int(avg_down)}', 4 * width, channels)
                batch_norm(f'{name}.downsample.{1 + avg_down}', 4 * width)
            channels = 4 * width
    found['fc.weight'], found['fc.bias'] = (1000, 2048), (1000,)
    return found


def state_dict(depth: int, **variant: object) -> dict[str, Tensor]:
    """Random weights under which the signal neither dies nor explodes."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in shapes(depth, **variant).items():
        value = torch.randn(shape, generator=generator)
        if name.endswith('num_batches_tracked'):
            value = torch.tensor(1)
        elif name.endswith('running_var') or (len(shape) == 1 and name.endswith('.weight')):
            value = value.abs() * 0.2 + 0.9
        elif name.endswith('.std'):
            value = value * 2**0.5 / 3
        elif len(shape) == 4:
            value = value * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        else:
            value = value * 0.1
        weights[name] = value
    return weights


def ddf_pack(weights, name, x, stride, dilation, kernel_combine):
    """The paper's equations 1, 2, 5 with the authors' eps, by an unfold."""

    def conv(part, x, stride=1):
        return F.conv2d(x, weights[f'{name}.{part}.weight'], weights[f'{name}.{part}.bias'], stride)

    def normalized(filters):
        filters = filters - filters.mean(2, keepdim=True)
        return filters / (filters.std(2, keepdim=True) + 1e-10)

    batch, channels = x.shape[:2]
    of_pixel = conv('spatial_branch.0', x, stride)
    size = of_pixel.shape[2:]
    of_pixel = normalized(of_pixel.reshape(batch, 1, 9, -1)) * 2**0.5 / 3
    hidden = conv('channel_branch.1', x.mean((2, 3), keepdim=True)).relu()
    of_channel = normalized(conv('channel_branch.3', hidden).reshape(batch, channels, 9, 1))
    of_channel = of_channel * weights[f'{name}.channel_branch.4.std'].view(1, channels, 9, 1)
    filters = of_channel * of_pixel if kernel_combine == 'mul' else of_channel + of_pixel
    patches = F.unfold(x, 3, dilation, dilation, stride).view(batch, channels, 9, -1)
    return (filters * patches).sum(2).view(batch, channels, *size)


def levels(
    weights: dict[str, Tensor],
    x: Tensor,
    kernel_combine: str = 'mul',
    strides: tuple[int, ...] = (1, 2, 2, 2),
    dilations: tuple[int, ...] = (1, 1, 1, 1),
) -> list[Tensor]:
    """Outputs of the four stages."""

    def batch_norm(name, x):
        parts = (f'{name}.{part}' for part in ('running_mean', 'running_var', 'weight', 'bias'))
        return F.batch_norm(x, *(weights[part] for part in parts))

    if 'conv1.weight' in weights:
        x = F.conv2d(x, weights['conv1.weight'], stride=2, padding=3)
    else:
        for i in (0, 3):
            x = F.conv2d(x, weights[f'conv1.{i}.weight'], stride=1 if i else 2, padding=1)
            x = batch_norm(f'conv1.{i + 1}', x).relu()
        x = F.conv2d(x, weights['conv1.6.weight'], padding=1)
    x = F.max_pool2d(batch_norm('bn1', x).relu(), 3, 2, 1)
    outs = []
    for stage, stride, dilation in zip('1234', strides, dilations, strict=True):
        for block in count():
            name = f'layer{stage}.{block}'
            if f'{name}.conv1.weight' not in weights:
                break
            step = 1 if block else stride
            out = F.conv2d(x, weights[f'{name}.conv1.weight'])
            out = batch_norm(f'{name}.bn1', out).relu()
            out = ddf_pack(weights, f'{name}.conv2', out, step, dilation, kernel_combine)
            out = batch_norm(f'{name}.bn2', out).relu()
            out = batch_norm(f'{name}.bn3', F.conv2d(out, weights[f'{name}.conv3.weight']))
            if f'{name}.downsample.2.weight' in weights:
                x = F.avg_pool2d(x, step, step, ceil_mode=True, count_include_pad=False)
                x = batch_norm(
                    f'{name}.downsample.2', F.conv2d(x, weights[f'{name}.downsample.1.weight'])
                )
            elif block == 0:
                projection = weights[f'{name}.downsample.0.weight']
                x = batch_norm(f'{name}.downsample.1', F.conv2d(x, projection, stride=step))
            x = (out + x).relu()
        outs.append(x)
    return outs
