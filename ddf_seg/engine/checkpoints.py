"""Checks checkpoint files before anything is built, with messages that name file and remedy."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..layers import DDFPack, DDFUpPack
from ..layers.ddf_pack import stack_phases
from .errors import UsageError

_LEGACY_MAGIC = torch.serialization.MAGIC_NUMBER.to_bytes(10, 'little')


def check_checkpoint(path: str | Path, purpose: str) -> None:
    """Make sure that a local checkpoint exists and torch can open it.

    Weights are mapped, not read: this takes milliseconds whatever their size.

    Args:
        path: The file.
        purpose: Where it is asked for, as the message should say, e.g. 'load_from'.

    Raises:
        UsageError: If the file is missing, truncated, or no checkpoint.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UsageError(f'{purpose}: checkpoint {path} does not exist{_neighbours(path)}')
    if damage := find_damage(path):
        raise UsageError(
            f'{purpose}: checkpoint {path} ({path.stat().st_size} bytes) cannot be read, it is '
            f'truncated, damaged, or no checkpoint: {damage}. Copy or download it again, or give '
            f'another one{_neighbours(path)}'
        )


def find_damage(path: Path) -> str:
    """Why torch cannot open a checkpoint, or an empty string if it can."""
    if not path.is_file():
        return 'it is not a file'
    archive = zipfile.is_zipfile(path)
    with open(path, 'rb') as file:
        head = file.read(16)
    if not archive and head.startswith(b'PK\x03\x04'):
        return 'its end is missing'
    # Files of torch < 1.6 are plain pickles, which cannot be mapped.
    pickled = _LEGACY_MAGIC in head
    try:
        torch.load(path, map_location='cpu', weights_only=True, mmap=archive)
    except pickle.UnpicklingError:
        # A sound file may hold objects that only its reader knows how to trust.
        return '' if archive or pickled else "neither an archive nor a pickle of torch's"
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        return str(error).partition('\n')[0] or type(error).__name__
    return ''


def check_fit(model: nn.Module, checkpoint: dict[str, Any], name: str) -> None:
    """Make sure that a checkpoint has all weights of a model, in shape, and no DDF branch more.

    mmengine leaves a weight that does not fit as it was initialised, drops one that the model has
    not, and only logs it.

    Args:
        model: What the checkpoint is loaded into.
        checkpoint: As `torch.load` returns it.
        name: The file, for the message.

    Raises:
        UsageError: Names the first weight that does not fit.
    """
    weights = checkpoint.get('state_dict', checkpoint)
    weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    if problem := _misfit(model, weights):
        raise UsageError(
            f'checkpoint {name} is of another model than the config describes: {problem}. Give the '
            'config that it was trained with'
        )


def _misfit(model: nn.Module, weights: dict[str, Any]) -> str:
    # DDF-Up takes the authors' keys, too.
    for name, layer in model.named_modules():
        if isinstance(layer, DDFUpPack):
            stack_phases(layer, weights, f'{name}.')
    expected = model.state_dict()
    for key, value in expected.items():
        if key not in weights:
            return f'it lacks {key}'
        if weights[key].shape != value.shape:
            return f'{key} is {tuple(weights[key].shape)}, expected {tuple(value.shape)}'
    # What else a checkpoint holds is not needed, as an auxiliary head's weights. But a DDF layer
    # without one of its branches filters otherwise than it was trained to.
    layers = [n for n, layer in model.named_modules() if isinstance(layer, DDFPack | DDFUpPack)]
    for key in weights:
        if key not in expected and any(key.startswith(f'{layer}.') for layer in layers):
            return f'it has {key}, of a branch that this layer has not (branches)'
    return ''


def _newest_first(folder: Path) -> list[Path]:
    # Best checkpoints come without the optimizer's state, which resuming needs.
    files = [file for file in folder.glob('*.pth') if re.match(r'(iter|epoch)_\d+$', file.stem)]
    return sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)


def _neighbours(path: Path) -> str:
    others = [file.name for file in _newest_first(path.parent) if file != path]
    return f'; {path.parent} holds {", ".join(others[:5])}' if others else ''
