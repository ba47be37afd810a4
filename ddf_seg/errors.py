"""The error that the tools show without a traceback, and what messages are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class UsageError(Exception):
    """A mistake of the user's, or a file of theirs that is missing or damaged.

    The message names the file, key or id, what was expected, what came, and what to do.
    """

    def __str__(self) -> str:
        # Where it comes from a data loader's process, torch puts that one's traceback before it.
        return super().__str__().rpartition(f'{UsageError.__module__}.UsageError: ')[2].rstrip()


def hint(name: str, valid: Iterable[str], cutoff: float = 0.6) -> str:
    """`" (did you mean 'channels'?)"`, or an empty string where no valid name is near."""
    near = get_close_matches(name, list(valid), n=1, cutoff=cutoff)
    return f' (did you mean {near[0]!r}?)' if near else ''


def counted(number: int, thing: str, things: str = '') -> str:
    """`'1 mask'`, `'2 masks'`; `things` is for words that take more than an s."""
    return f'{number} {thing if number == 1 else things or thing + "s"}'


def listed(items: Sequence[object], most: int = 5) -> str:
    """The first items in a line, and how many more there are: `'a, b and 3 more'`."""
    more = f' and {len(items) - most} more' if len(items) > most else ''
    return ', '.join(map(str, items[:most])) + more


def listed_below(items: Sequence[object], most: int = 5) -> str:
    """As `listed`, each item in an indented line, which begins with the line's end before it."""
    more = [f'… and {len(items) - most} more'] if len(items) > most else []
    return ''.join(f'\n  {item}' for item in [*items[:most], *more])


def in_a_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    said = str(error).strip().partition('\n')[0]
    return f'{type(error).__name__}: {said}'
