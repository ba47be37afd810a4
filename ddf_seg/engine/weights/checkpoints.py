"""Opens, checks and writes checkpoint files, with messages that name file and remedy."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ...command_line import output_errors
from ...errors import UsageError, in_a_line, listed
from ...files import write_whole
from ...layers import DDFPack, DDFUpPack
from ...layers.guided_branch import GuidedBranch

_LEGACY_MAGIC = torch.serialization.MAGIC_NUMBER.to_bytes(10, 'little')
# What torch says of a class or function that weights_only=True does not call.
_REFUSED = re.compile(r'GLOBAL ([\w.]+)')

# A DDF layer's with the paper's filters, which heads had before those that start as interpolation
_PAPERS_FILTERS = re.compile(r'\.(ddf|ddf_up)\.spatial_branch\.\d\.')
_FOR_OLDER = (
    "; if that is of before DDF's heads started as interpolation, add to the head "
    "ddf_cfg=dict(normalization='filter_norm')"
)


def check_checkpoint(path: str | Path, purpose: str) -> None:
    """Makes sure that a local checkpoint exists and torch can open it.

    Weights are mapped, not read: this takes milliseconds whatever their size.

    Args:
        path: the file.
        purpose: where it is asked for, as the message should say, e.g. 'load_from'.

    Raises:
        UsageError: the file is missing, truncated, no checkpoint, or holds what is not loaded.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UsageError(f'{purpose}: checkpoint {path} does not exist{_neighbours(path)}')
    opened = open_checkpoint(path)
    if opened.refusal:
        raise refused(opened.refusal, f'{purpose}: checkpoint {path}')
    if opened.damage:
        raise UsageError(
            f'{purpose}: checkpoint {path} ({path.stat().st_size} bytes) cannot be read, it is '
            f'truncated, damaged, or no checkpoint: {opened.damage}. Copy or download it again, or '
            f'give another one{_neighbours(path)}'
        )


def find_damage(path: Path) -> str:
    """Why torch cannot open a checkpoint, or an empty string if it can, or refuses to."""
    return open_checkpoint(path).damage


class Opened(NamedTuple):
    """What came of opening a checkpoint.

    Attributes:
        content: as `torch.load` returns it, its weights mapped, not read, where they can be.
        damage: why it cannot be opened; empty if it can.
        refusal: torch's, of what it holds besides weights.
    """

    content: Any = None
    damage: str = ''
    refusal: pickle.UnpicklingError | None = None


def open_checkpoint(path: Path) -> Opened:
    """Opens a checkpoint, without trust in it."""
    if not path.exists():
        return Opened(damage='it does not exist')
    if not path.is_file():
        return Opened(damage='it is not a file')
    archive = zipfile.is_zipfile(path)
    with open(path, 'rb') as file:
        head = file.read(60)
    if not archive and head.startswith(b'PK\x03\x04'):
        return Opened(damage='its end is missing')
    # Files of torch < 1.6 are plain pickles, which cannot be mapped.
    if not archive and _LEGACY_MAGIC not in head[:16]:
        return Opened(damage=f"neither an archive nor a pickle of torch's{_beginning(head)}")
    try:
        return Opened(torch.load(path, map_location='cpu', weights_only=True, mmap=archive))
    except pickle.UnpicklingError as error:
        if _REFUSED.search(str(error)):
            return Opened(refusal=error)
        return Opened(damage=str(error).strip().rpartition('\n')[2])
    except RuntimeError as error:
        return Opened(damage=str(error).partition('\n')[0])
    except (EOFError, OSError, ValueError, KeyError) as error:
        return Opened(damage=in_a_line(error))


def _beginning(head: bytes) -> str:
    """What a file of text begins with: a page of a website, a pointer of Git LFS, a config."""
    text = head.decode(errors='ignore').strip().partition('\n')[0].strip()
    return f'; it begins with {text!r}' if len(text) > 3 and text.isprintable() else ''


def refused(error: pickle.UnpicklingError, what: str) -> UsageError:
    """What to show in place of torch's advice, which is to run whatever code the file holds.

    Args:
        error: torch's.
        what: the checkpoint, as the message shall begin.
    """
    name = _REFUSED.search(str(error))
    return UsageError(
        f'{what} is refused: besides weights it holds {name[1] if name else "other objects"}, and '
        'loading that could run code of the file. If you trust it, save the weights alone: '
        "torch.save({'state_dict': checkpoint['state_dict']}, 'weights.pth')"
    )


def save_checkpoint(content: dict[str, Any], path: Path, source: Path) -> None:
    """Writes a checkpoint that is made from another, whole or not at all.

    Args:
        content: what `torch.save` takes.
        path: the file; its folder is made where there is none.
        source: the other, which is not overwritten.

    Raises:
        UsageError: the file cannot be written, or is the other one.
    """
    if path.exists() and path.samefile(source):
        raise UsageError(f'OUT: {path} is CHECKPOINT itself, which would be lost: give another')
    with output_errors('OUT'):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, checkpoint_bytes(content))


def checkpoint_bytes(content: dict[str, Any]) -> bytes:
    """A checkpoint as `torch.save` writes it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def check_fit(model: nn.Module, checkpoint: dict[str, Any], name: str) -> None:
    """Makes sure that a checkpoint fits a model: all weights, shapes, no other DDF branch.

    mmengine leaves a weight that does not fit as it was initialised, drops a weight that the model
    does not have, and only logs both.

    Args:
        model: what the checkpoint is loaded into.
        checkpoint: as `torch.load` returns it.
        name: the file, for the message.

    Raises:
        UsageError: names the first weight that does not fit, and says how many there are.
    """
    if misfits := _misfits(model, weights_of(checkpoint)):
        others = f' ({len(misfits) - 1} more do not fit)' if len(misfits) > 1 else ''
        older = any(map(_PAPERS_FILTERS.search, weights_of(checkpoint).keys() - model.state_dict()))
        raise UsageError(
            f'checkpoint {name} is of another model than the config describes: {misfits[0]}'
            f'{others}. Give the config that it was trained with'
            f'{_FOR_OLDER if older else ""}'
        )


def weights_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The weights in a checkpoint, by their names in the model."""
    weights = checkpoint.get('state_dict', checkpoint)
    return {key.removeprefix('module.'): value for key, value in weights.items()}


def _misfits(model: nn.Module, weights: dict[str, Any]) -> list[str]:
    weights = dict(weights)
    # What layers take beside their own keys: others' names, and filters without context.
    for name, layer in model.named_modules():
        if isinstance(layer, DDFUpPack):
            layer.translate_keys(weights, f'{name}.')
        elif isinstance(layer, GuidedBranch):
            layer.add_context(weights, f'{name}.')
    expected = model.state_dict()
    misfits = []
    for key, value in expected.items():
        if key not in weights:
            misfits.append(f'it lacks {key}')
        elif weights[key].shape != value.shape:
            misfits.append(f'{key} is {tuple(weights[key].shape)}, expected {tuple(value.shape)}')
    # What else a checkpoint holds is not needed, as an auxiliary head's weights. But a DDF layer
    # without one of its branches filters otherwise than it was trained to.
    layers = [n for n, layer in model.named_modules() if isinstance(layer, DDFPack | DDFUpPack)]
    for key in weights:
        if key not in expected and any(key.startswith(f'{layer}.') for layer in layers):
            misfits.append(f'it has {key}, of a branch that the layer lacks (branches)')
    return misfits


def _newest_first(folder: Path) -> list[Path]:
    # Best checkpoints come without the optimizer's state, which resuming needs.
    files = [file for file in folder.glob('*.pth') if re.match(r'(iter|epoch)_\d+$', file.stem)]
    return sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)


def _neighbours(path: Path) -> str:
    others = [file.name for file in _newest_first(path.parent) if file != path]
    return f'; {path.parent} holds {listed(others)}' if others else ''
