"""The frames that an error came through: their variables know what the message does not say."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any


def frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """The frames from where an error was caught to where it was raised, with their lines."""
    return traceback.walk_tb(error.__traceback__)


def variables_of(error: BaseException, function: str) -> dict[str, Any]:
    """The variables of a function's innermost call; none where the error did not come through."""
    found: dict[str, Any] = {}
    for frame, _ in frames(error):
        if frame.f_code.co_name == function:
            found = frame.f_locals
    return found


def innermost_value(error: BaseException, variable: str) -> Any:
    """What the innermost function that has a variable of this name holds in it; else None."""
    value = None
    for frame, _ in frames(error):
        value = frame.f_locals.get(variable, value)
    return value
