"""The images and videos that a tool is given, and what their results are called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UsageError
from ...files import files_below
from ..images import VIDEOS
from .results import holds_filter_pictures, is_result

# The paths, relative to the output's folders, that the results of a file would take.
Claims = Callable[[Path, Path], Iterable[Path]]


@dataclass
class Inputs:
    """What a tool has to work on.

    Attributes:
        names: the path of the results of each file, below the output's folders.
        unreadable: folders that cannot be listed, and why.
        results: folders with results of earlier runs, which are left out.
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
        sources: files, whatever their suffixes, and folders.
        suffixes: of the files to take from a folder.
        claims: of a file and its name: which paths its results would take.

    Raises:
        UsageError: a source does not exist, or a folder holds nothing.
    """
    inputs = Inputs()
    relative: dict[Path, Path] = {}
    for source in sources:
        if source.is_dir():
            found = [file for file in _files(source, inputs) if file.suffix.lower() in suffixes]
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


def _files(folder: Path, inputs: Inputs) -> list[Path]:
    """The files below a folder; what cannot be listed, and earlier results, are noted."""

    def leave_out(below: Path) -> bool:
        if not is_result(below):
            return False
        inputs.results.append(below)
        return True

    # One of prediction's folders, named itself, is meant; filters' pictures are no scenes.
    if holds_filter_pictures(folder):
        inputs.results.append(folder)
        return []
    return files_below(folder, leave_out, inputs.unreadable)


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
