"""The images and videos that a tool is given, and what their results are called."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from .errors import UsageError

IMAGES = frozenset({'.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp'})
VIDEOS = frozenset({'.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm'})

# What prediction writes: a table that tells its results from other folders of these names.
RESULTS = ('ids', 'overlays')
CLASS_TABLE = 'classes.csv'
CLASS_COLUMNS = ('id', 'name', 'red', 'green', 'blue')

# The paths, relative to the output's folders, that the results of a file would take.
Claims = Callable[[Path, Path], Iterable[Path]]


@dataclass
class Inputs:
    """What a tool has to work on.

    Attributes:
        names: The path of the results of each file, below the output's folders.
        unreadable: Folders that cannot be listed, and why.
        results: Folders with results of earlier runs, which are left out.
    """

    names: dict[Path, Path] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)
    results: list[Path] = field(default_factory=list)

    @property
    def note(self) -> str:
        """What a user should know about what is left out; else empty."""
        if not self.results:
            return ''
        more = f' and {len(self.results) - 1} more' if len(self.results) > 1 else ''
        return f'{self.results[0]}{more} left out: results of an earlier run, no inputs'


def find_inputs(
    sources: Sequence[Path], suffixes: Set[str], claims: Claims = lambda _, name: [name]
) -> Inputs:
    """Every input, and a name for the results of each that no other has.

    Folders are searched with all below them, through symbolic links, too. Hidden files and folders,
    what is no file, and the results of the tools themselves are left out.

    Args:
        sources: Files, whatever their suffixes, and folders.
        suffixes: Of the files to take from a folder.
        claims: Of a file and its name: which paths its results would take.

    Raises:
        UsageError: If a source does not exist, or a folder holds nothing.
    """
    inputs = Inputs()
    relative: dict[Path, Path] = {}
    for source in sources:
        if source.is_dir():
            found = [file for file in _walk(source, inputs) if file.suffix.lower() in suffixes]
            if not found and not inputs.unreadable:
                kinds = 'image or video' if suffixes & VIDEOS else 'image'
                left_out = f'; {inputs.note}' if inputs.note else ''
                raise UsageError(
                    f'INPUT {source} holds no {kinds} ({" ".join(sorted(suffixes))}){left_out}'
                )
            relative.update((file, file.relative_to(source)) for file in found)
        elif source.exists():
            relative.setdefault(source, Path(source.name))
        else:
            raise UsageError(f'INPUT {source} does not exist')
    inputs.names = _name_results(relative, claims)
    return inputs


def _walk(
    folder: Path, inputs: Inputs, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[Path]:
    """The files below a folder, by name; what cannot be listed is noted."""
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError as error:
        inputs.unreadable[folder] = error.strerror or str(error)
        return
    own = (status.st_dev, status.st_ino)
    if own in above:
        return  # a link to a folder that it lies in
    if _holds_filter_pictures(folder):
        inputs.results.append(folder)
        return
    for entry in entries:
        if entry.name.startswith('.'):
            continue
        if os.path.isdir(entry):
            if entry.name in RESULTS and is_class_table(folder / CLASS_TABLE):
                inputs.results.append(entry)
            else:
                yield from _walk(entry, inputs, above | {own})
        # A link that leads nowhere is an input that cannot be read; to read a pipe takes forever.
        elif os.path.isfile(entry) or not os.path.exists(entry):
            yield entry


def is_class_table(path: Path) -> bool:
    """Whether prediction wrote a file, and with it the folders beside it."""
    try:
        with open(path, 'rb') as table:
            return table.readline().strip() == ','.join(CLASS_COLUMNS).encode()
    except OSError:
        return False


def _holds_filter_pictures(folder: Path) -> bool:
    return all((folder / f'overview.{suffix}').is_file() for suffix in ('png', 'pdf'))


def _name_results(relative: dict[Path, Path], claims: Claims) -> dict[Path, Path]:
    """A name for the results of each file: without its suffix, unless it would clash with others.

    Then the suffix stays, and if that does not help, a number follows.
    """
    tries = dict.fromkeys(relative, 0)
    while True:
        names = {file: _candidate(path, tries[file]) for file, path in relative.items()}
        clashing = _clashes(names, claims)
        if not clashing:
            return names
        without_suffix = [file for file in clashing if tries[file] == 0]
        for file in without_suffix or clashing[-1:]:
            tries[file] += 1


def _candidate(path: Path, number: int) -> Path:
    # '...png' has the stem '..', the parent of the folder of the results.
    if number == 0 and path.stem.strip('.'):
        return path.with_name(path.stem)
    return path.with_name(f'{path.name}-{number}') if number > 1 else path


def _clashes(names: dict[Path, Path], claims: Claims) -> list[Path]:
    """The files whose results would overwrite another's, or lie where another's is no folder."""
    owners: dict[Path, set[Path]] = defaultdict(set)
    for file, name in names.items():
        for claim in claims(file, name):
            owners[claim].add(file)
    clashing: set[Path] = set()
    for claim, files in owners.items():
        if len(files) > 1:
            clashing.update(files)
        clashing.update(*(owners[parent] for parent in claim.parents if parent in owners))
    return [file for file in names if file in clashing]
