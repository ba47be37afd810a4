"""Explains which file, and which step of a dataset's pipeline, an error is about."""

from __future__ import annotations

from typing import Any

from ...errors import UsageError
from ..images.pictures import why_unreadable
from ..lookup.datasets import steps
from .tracebacks import frames


def explain_preparing(dataset: Any, index: int, error: Exception) -> Exception | None:
    """What to show for an error of a dataset's pipeline, or None where no step raised it.

    Args:
        dataset: as mmengine builds it.
        index: of the image that was being prepared.
        error: what came through.
    """
    step = _failing_step(dataset, error)
    if step is None:
        return None
    info = dataset.get_data_info(index)
    image, label = info.get('img_path'), info.get('seg_map_path')
    name = type(step).__name__
    for kind, what, file in (('LoadImage', 'image', image), ('LoadAnno', 'label', label)):
        if kind in name and file:
            return UsageError(f'{file}: the {what} cannot be read: {why_unreadable(file, error)}')
    message = f'{name} failed on {image} with label {label}: {type(error).__name__}: {error}'
    # In code of the user's own, the traceback tells more.
    ours = type(step).__module__.partition('.')[0] in ('mmcv', 'mmseg')
    return UsageError(message) if ours else RuntimeError(message)


def _failing_step(dataset: Any, error: Exception) -> Any:
    """The innermost transform of a dataset that an error came through; None if through none."""
    known = {id(step) for step in steps(dataset)} - {id(dataset.pipeline)}
    found = None
    for frame, _ in frames(error):
        for name in ('self', 't'):
            if id(frame.f_locals.get(name)) in known:
                found = frame.f_locals[name]
    return found
