"""Explains why a config file could not be read."""

from __future__ import annotations

import json
from pathlib import Path

from ...errors import UsageError, hint
from .tracebacks import frames

# OpenMMLab's with configs or models that configs of mmseg import.
PACKAGES = ('mmseg', 'mmdet', 'mmpretrain')


def explain_reading(path: str, error: Exception) -> UsageError:
    """What to show for a config that mmengine could not read.

    Args:
        path: as it was asked for.
        error: mmengine's.
    """
    # mmengine compiles copies of the files: only its frames know which file was being read.
    reading = [path]
    line = error.lineno if isinstance(error, SyntaxError) else None
    for frame, number in frames(error):
        if frame.f_code.co_name in ('_file2dict', '_is_lazy_import', '_parse_lazy_import'):
            reading.append(str(frame.f_locals['filename']))
        elif frame.f_code.co_filename == reading[-1]:
            line = number
    if isinstance(error, FileNotFoundError):
        return UsageError(_explain_missing(reading, error))
    place = reading[-1] + (f', line {line}' if line else '')
    return UsageError(f'{place}: {_reason(error)}')


def _reason(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return error.msg + (f': {error.text.strip()}' if error.text else '')
    if isinstance(error, ImportError) and error.__cause__ is not None:
        cause = error.__cause__.__context__ or error.__cause__
        name = cause.name.partition('.')[0] if isinstance(cause, ImportError) and cause.name else ''
        install = f'. Install it: pip install {name}' if name in PACKAGES else ''
        return f'custom_imports: {cause}{install}'
    if isinstance(error, json.JSONDecodeError):
        return str(error)
    if isinstance(error, RuntimeError) and not str(error):
        # What LazyObject raises, without a word
        return (
            'calls what was imported. In a config with imports (or read_base) mmengine keeps names '
            'of classes and functions only: write down the value, or register a function and give '
            'its name'
        )
    return f'{type(error).__name__}: {error}'


def _explain_missing(reading: list[str], error: FileNotFoundError) -> str:
    # check_file_exist: 'file "…" does not exist'
    missing = Path(error.filename or str(error).partition('"')[2].rpartition('"')[0] or reading[-1])
    message = f'{missing} does not exist{_near(missing)}'
    readers = [file for file in reading[1:] if Path(file).absolute() != missing.absolute()]
    return f'{readers[-1]}: _base_ {message}' if readers else f'config file {message}'


def _near(missing: Path) -> str:
    """A hint at what is near to the first part of a path that is not there."""
    above = next((parent for parent in missing.parents if parent.is_dir()), None)
    if above is None:
        return ''
    return hint(missing.relative_to(above).parts[0], [file.name for file in above.iterdir()])
