"""The configs that mmsegmentation ships, and the different models among them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import mmseg
from mmengine.config import Config
from mmseg.models.backbones import ResNeSt, ResNet, ResNeXt

from ddf_seg.engine.lookup.configs import walk
from ddf_seg.errors import UsageError

ZOO = Path(mmseg.__file__).parent / '.mim' / 'configs'


def find_configs(root: Path = ZOO) -> list[str]:
    """All configs but the bases, relative to the root."""
    paths = (path.relative_to(root) for path in root.rglob('*.py'))
    return sorted(path.as_posix() for path in paths if path.parts[0] != '_base_')


def group_models(configs: Iterable[str], root: Path = ZOO) -> dict[str, list[str]]:
    """The configs of each different model, by the first of them."""
    groups: dict[str, list[str]] = {}
    for config in configs:
        # What they import may be missing.
        model = Config.fromfile(root / config, import_custom_modules=False).get('model')
        groups.setdefault(_essence(model), []).append(config)
    return {members[0]: members for members in groups.values()}


def _essence(model: Any) -> str:
    """A model without class count, preprocessor, initialisation, and how it is tested."""
    model = {} if model is None else model.to_dict()
    for key in ('data_preprocessor', 'pretrained', 'test_cfg'):
        model.pop(key, None)
    for _, node in walk(model):
        for key in ('num_classes', 'init_cfg', 'class_weight', 'pretrained', 'out_channels'):
            if key != 'out_channels' or 'num_classes' in node:
                node.pop(key, None)
    return json.dumps(model, sort_keys=True, default=str)


def shallow_resnets() -> dict[Any, dict[int, Any]]:
    """ResNets' `arch_settings` with one block a stage: every layer has its kind and width."""
    return {
        kind: {depth: (block, (1, 1, 1, 1)) for depth, (block, _) in kind.arch_settings.items()}
        for kind in (ResNet, ResNeSt, ResNeXt)
    }


def select(configs: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Those of some names or families; all where nothing is wanted.

    Raises:
        UsageError: there is none.
    """
    selected = [
        c for c in configs if not wanted or any(c == w or c.startswith(f'{w}/') for w in wanted)
    ]
    if not selected:
        raise UsageError(f'configs: mmsegmentation ships none of {", ".join(wanted)}')
    return selected
