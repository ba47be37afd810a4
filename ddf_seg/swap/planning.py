"""What has to change in a config, so that DDF takes part."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config

from ..engine.lookup.configs import kind_of
from ..errors import UsageError
from .heads import applied, check_refused, swap_decode_head
from .surroundings import swap_backbone, swap_upsampling

MODULE = 'ddf_seg.openmmlab'


@dataclass
class Swap:
    """What has to change in a config, and why.

    Attributes:
        options: the changes, nested as a config that inherits the original holds them.
        notes: the same in words, one line each.
    """

    options: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def swap_heads(
    cfg: Config,
    head: bool = True,
    upsample: bool = False,
    convs: bool = False,
    backbone: bool = False,
) -> Config:
    """The DDF counterpart of a config.

    Args:
        cfg: any config of mmsegmentation, or one that inherits from it. It stays as it is.
        head: swap the decode head (auxiliary heads, which only help in training, stay).
        upsample: put DDF-Up into an FPN neck or a UNet.
        convs: make the 3×3 convolutions of the decode head that follow `conv_cfg` DDF.
        backbone: make a ResNet a DDF-ResNet.

    Returns:
        A config that differs from `cfg` by what `plan_swap` says.

    Raises:
        UsageError: one of these makes no sense for this config; the message says why.
    """
    return swapped_config(cfg, plan_swap(cfg, head, upsample, convs, backbone))


def swapped_config(cfg: Config, swap: Swap) -> Config:
    """A config with the changes of a swap; `cfg` stays as it is."""
    swapped = copy.deepcopy(cfg)
    swapped.merge_from_dict(copy.deepcopy(swap.options))
    return swapped


def plan_swap(
    cfg: Config,
    head: bool = True,
    upsample: bool = False,
    convs: bool = False,
    backbone: bool = False,
) -> Swap:
    """What `swap_heads` changes; see there."""
    if not (head or upsample or convs or backbone):
        raise UsageError('nothing to swap: expected head, upsample, convs or backbone')
    model: dict[str, Any] = cfg.to_dict().get('model') or {}
    check_refused(kind_of(model.get('decode_head')), 'decode_head')
    if 'backbone' not in model or 'decode_head' not in model:
        raise UsageError(
            'the config has no model with a backbone and a decode_head: it describes no segmentor'
        )
    imports = _union_of_imports(cfg.get('custom_imports'))
    if 'custom_imports' in cfg and cfg.custom_imports is None:
        imports['_delete_'] = True
    swap = Swap(dict(custom_imports=imports, model={}))
    changes = swap.options['model']
    if backbone:
        _merge(changes, dict(backbone=swap_backbone(model, swap.notes)))
    if upsample:
        _merge(changes, swap_upsampling(model, swap.notes))
    if head or convs:
        # The head has to fit what backbone and neck become.
        base = applied(model, changes)
        changes['decode_head'] = swap_decode_head(base, head, convs, swap.notes)
    return swap


def _union_of_imports(custom_imports: dict[str, Any] | None) -> dict[str, Any]:
    """A config's list of imports replaces its parent's, so ours has to hold theirs."""
    theirs = (custom_imports or {}).get('imports', [])
    theirs = [theirs] if isinstance(theirs, str) else list(theirs)
    imports = [*theirs, *([] if MODULE in theirs else [MODULE])]
    allow = bool((custom_imports or {}).get('allow_failed_imports', False))
    return dict(imports=imports, allow_failed_imports=allow)


def _merge(changes: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(changes.get(key), dict):
            _merge(changes[key], value)
        else:
            changes[key] = value
