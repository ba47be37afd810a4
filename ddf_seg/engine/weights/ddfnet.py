"""The DDF authors' classifiers (github.com/theFoxofSky/ddfnet) as weights of a DDFResNet.

Theirs are timm's ResNets with DDFPack as `conv2`.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...errors import UsageError
from .checkpoints import check_checkpoint

CLASSIFIER = ('fc.weight', 'fc.bias')
DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
# The last normalisation of the three-convolution stem, which timm keeps outside of it.
STEM_END = 7


@dataclass
class Conversion:
    """What became of a checkpoint.

    Args:
        backbone: config of the DDFResNet that the weights are of.
        state_dict: its weights.
        used: keys taken as they are.
        renamed: new names by old ones.
        left_over: keys that a backbone has no use for.
    """

    backbone: dict[str, Any]
    state_dict: dict[str, Tensor]
    used: list[str]
    renamed: dict[str, str]
    left_over: list[str]

    def report(self) -> str:
        """One line a key, then the counts."""
        lines = [
            *(f'used       {key}' for key in self.used),
            *(f'renamed    {old} -> {new}' for old, new in self.renamed.items()),
            *(f'left over  {key}' for key in self.left_over),
            f'{len(self.used)} keys used, {len(self.renamed)} renamed, '
            f'{len(self.left_over)} left over',
        ]
        return '\n'.join(lines)


def convert(checkpoint: dict[str, Any], kernel_combine: str) -> Conversion:
    """Turns a checkpoint of the authors' naming into weights of a DDFResNet.

    Args:
        checkpoint: a state dict, or a dictionary that holds it as 'state_dict'.
        kernel_combine: 'mul' or 'add', which the weights do not tell.

    Raises:
        UsageError: it is none of their networks: names the keys that do not fit.
    """
    weights = checkpoint.get('state_dict', checkpoint)
    backbone = _describe(weights, kernel_combine)
    with torch.device('meta'):
        expected = MODELS.build(backbone).state_dict()
    conversion = Conversion(backbone, {}, [], {}, [])
    for key, value in weights.items():
        name = _rename(key, backbone['deep_stem'])
        if key.removeprefix('module.') in CLASSIFIER:
            conversion.left_over.append(key)
            continue
        if name not in expected:
            raise UsageError(f'{key}: no part of {backbone}, which its other weights look like')
        if value.shape != expected[name].shape:
            raise UsageError(
                f'{key}: expected shape {tuple(expected[name].shape)} (that of {backbone}), '
                f'got {tuple(value.shape)}'
            )
        conversion.state_dict[name] = value
        if name == key:
            conversion.used.append(key)
        else:
            conversion.renamed[key] = name
    if missing := [name for name in expected if name not in conversion.state_dict]:
        raise UsageError(f'expected the weights of {backbone}, but these lack {missing}')
    return conversion


def _describe(weights: dict[str, Any], kernel_combine: str) -> dict[str, Any]:
    """The config of the backbone, read off the keys and shapes."""
    names = {key.removeprefix('module.'): value for key, value in weights.items()}
    blocks = {match.groups() for key in names if (match := re.match(r'layer(\d)\.(\d+)\.', key))}
    counts = tuple(sum(stage == number for stage, _ in blocks) for number in '1234')
    squeeze = names.get('layer4.0.conv2.channel_branch.1.weight')
    if counts not in DEPTHS or squeeze is None:
        raise UsageError(
            'expected the keys of a DDF-ResNet-50, 101 or 152 (layer1.0.conv2.channel_branch…), '
            f'got {counts} blocks and keys such as {list(weights)[:3]}'
        )
    squeezed, channels = squeeze.shape[:2]
    return dict(
        type='DDFResNet',
        depth=DEPTHS[counts],
        deep_stem='conv1.0.weight' in names,
        avg_down='layer2.0.downsample.2.weight' in names,
        ddf_cfg=dict(kernel_combine=kernel_combine, se_ratio=round(squeezed / channels, 2)),
    )


def _rename(key: str, deep_stem: bool) -> str:
    key = key.removeprefix('module.')
    if deep_stem:
        key = re.sub(r'^conv1\.', 'stem.', key)
        key = re.sub(r'^bn1\.', f'stem.{STEM_END}.', key)
    return key


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint; timm's hold the command line's arguments besides the weights.

    Raises:
        UsageError: it is missing, damaged, or holds objects that may not be trusted.
    """
    with torch.serialization.safe_globals([argparse.Namespace]):
        check_checkpoint(path, 'CHECKPOINT')
        checkpoint: dict[str, Any] = torch.load(path, map_location='cpu', weights_only=True)
    return checkpoint


def find_kernel_combine(path: Path, checkpoint: dict[str, Any]) -> str:
    """'mul' or 'add', from the architecture's name, which is in timm's checkpoints or the file's.

    Raises:
        UsageError: neither says.
    """
    for name in (str(checkpoint.get('arch', '')), path.name):
        if match := re.search(r'ddf_(mul|add)_', name):
            return match[1]
    raise UsageError(
        f'--kernel-combine: neither {path} nor its name says ddf_mul_… or ddf_add_…; '
        'give --kernel-combine mul or add'
    )
