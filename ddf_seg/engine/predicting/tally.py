"""Working through many inputs: one that fails is counted, and Ctrl-C keeps what is finished."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ...errors import UsageError, counted, in_a_line
from ...files import is_disk_error
from ..images.pictures import UnreadableError


class Tally:
    """Counts what becomes of inputs.

    Args:
        total: how many there are.
        failed: those that failed already, and why.
        done: what is done to them: 'segmented'.
        out_dir: where their results go.
    """

    def __init__(self, total: int, failed: Mapping[Path, str], done: str, out_dir: Path) -> None:
        self.total = total + len(failed)
        self.finished: list[Path] = []
        self._failed = dict(failed)
        self._done = done
        self._out_dir = out_dir

    def __str__(self) -> str:
        return f'{len(self.finished)} of {counted(self.total, "input")}'

    @property
    def done(self) -> int:
        """How many inputs are finished, or failed."""
        return len(self.finished) + len(self._failed)

    @contextmanager
    def counting(self, *files: Path, last: bool = True) -> Iterator[None]:
        """Works on an input, or on several together.

        Args:
            files: the inputs.
            last: whether they are finished then, if nothing fails.

        Raises:
            UsageError: nothing can be written any more, or what is wrong is not the input.
        """
        try:
            yield
        except UsageError:
            raise
        except OSError as error:
            if is_disk_error(error):
                raise self._not_written(files[0], f'--out-dir: {error.strerror}') from error
            self._failed.update(dict.fromkeys(files, str(error)))
        except Exception as error:
            self._failed.update(dict.fromkeys(files, _explain(error)))
        else:
            if last:
                self.finished += files

    @contextmanager
    def concluding(self, file: Path) -> Iterator[None]:
        """Writes a file about all inputs.

        Raises:
            UsageError: it is not written; also says which inputs failed before.
        """
        try:
            yield
        except OSError as error:
            reason = f'--out-dir: {error.strerror or error}'
            raise self._not_written(file, reason) from error
        except Exception as error:
            raise self._not_written(file, _explain(error)) from error

    def _not_written(self, file: Path, reason: str) -> UsageError:
        return UsageError(
            f'{reason}, {file} is not written; {self} {self._done}, see {self._out_dir}'
            f'{self._failures()}'
        )

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Works on all inputs.

        Raises:
            KeyboardInterrupt: with what is to be said of it.
        """
        try:
            yield
        except KeyboardInterrupt as error:
            part = f' ({error})' if str(error) else ''
            raise KeyboardInterrupt(
                f'interrupted, {self} done{part}, see {self._out_dir}{self._failures()}'
            ) from None

    def check(self) -> None:
        """At the end: whether all went well.

        Raises:
            UsageError: names the inputs that failed, and why.
        """
        if self._failed:
            raise UsageError(
                f'{len(self._failed)} of {counted(self.total, "input")} could not be {self._done}:'
                f'{self._failures("")}'
            )

    def _failures(self, heading: str = '\nfailed before:') -> str:
        listed = ''.join(f'\n  {file}: {reason}' for file, reason in self._failed.items())
        return f'{heading}{listed}' if listed else ''


def _explain(error: Exception) -> str:
    """Why an input failed, in a line."""
    if isinstance(error, UnreadableError):
        return str(error)
    line = in_a_line(error)
    if isinstance(error, MemoryError) or re.search(
        r"can't allocate|out of memory|allocation failed", line
    ):
        return f'too large for the memory ({line.rstrip(": ")})'
    return line
