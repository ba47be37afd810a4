"""What is wrong with the labels of a split: how they are encoded, and which ids they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from PIL.ImageMode import getmode

from ....errors import counted
from ...explanations.dataset_faults import explain_foreign_ids
from .findings import Finding, Severity
from .scan import Read, Records
from .splits import Part, Split
from .statistics import Statistics


def find_label_faults(
    split: Split, records: Records, statistics: Statistics, complete: bool
) -> Iterator[Finding]:
    """What is wrong with the labels that were decoded.

    Args:
        split: the split.
        records: what was read.
        statistics: how often the classes occur.
        complete: whether every label was decoded: a sample says little of what is not there.
    """
    for part in split.parts:
        read = [
            (pair, records[pair]) for pair in part.pairs if pair in records and records[pair].label
        ]
        yield from _channels(split, read)
        decoded = [(pair, record) for pair, record in read if record.decoded]
        yield from _widths(split, decoded)
        yield from _foreign(split, part, decoded)
    if statistics.ids:
        yield from _classes(split, statistics, complete)


def _channels(split: Split, read: Read) -> Iterator[Finding]:
    modes = {p.label or '': r.label.mode for p, r in read if r.label and r.label.mode}
    colours = {file: mode for file, mode in modes.items() if len(getmode(mode).bands) > 1}
    if colours:
        modes_found = ', '.join(sorted(set(colours.values())))
        yield Finding(
            Severity.ERROR, 'colour-labels', split.name,
            f'{counted(len(colours), "label")} with several channels (mode {modes_found}): '
            'expected one channel of class ids. Does this dataset need one of '
            'tools/dataset_converters?',
            list(colours),
        )  # fmt: skip


def _widths(split: Split, read: Read) -> Iterator[Finding]:
    wide = [
        (pair.label or '', record)
        for pair, record in read
        if record.pixels and record.label and record.label.mode.startswith('I')
    ]
    if wide:
        highest = max(max(record.pixels) for _, record in wide)
        wraps = highest > 255 or min(min(record.pixels) for _, record in wide) < 0
        consequence = (
            f'ids go up to {highest}, and mmseg would take them modulo 256 (class·256 + instance?)'
            if wraps
            else 'their ids fit into 8 bits'
        )
        yield Finding(
            Severity.ERROR if wraps else Severity.WARNING, 'wide-labels', split.name,
            f'{counted(len(wide), "label")} with more than 8 bits a pixel; {consequence}',
            [file for file, _ in wide],
        )  # fmt: skip


def _foreign(split: Split, part: Part, read: Read) -> Iterator[Finding]:
    pixels: Counter[int] = Counter()
    files: dict[str, list[int]] = {}
    seen: set[int] = set()
    for pair, record in read:
        seen |= record.pixels.keys()
        # Wider ids have a finding of their own.
        foreign = [
            index
            for index in record.pixels
            if 0 <= index < 256 and not _is_known(split, part.class_of(index))
        ]
        if foreign:
            files[pair.label or ''] = foreign
            pixels.update({index: record.pixels[index] for index in foreign})
    if files:
        first, ids = next(iter(files.items()))
        counts = ', '.join(
            f'{index} ({counted(pixels[index], "pixel")})' for index in sorted(pixels)
        )
        yield Finding(
            Severity.ERROR, 'foreign-ids', split.name,
            f'{counted(len(files), "label")} with ids that are no class: {counts}. '
            + explain_foreign_ids(
                first, ids, split.num_classes, split.ignore_index, part.name, seen=seen
            ),
            list(files),
        )  # fmt: skip


def _is_known(split: Split, index: int) -> bool:
    return 0 <= index < split.num_classes or index == split.ignore_index


def _classes(split: Split, statistics: Statistics, complete: bool) -> Iterator[Finding]:
    """Too few classes to learn or to score, and those that do not occur."""
    names = dict(enumerate(statistics.classes))
    names.pop(split.ignore_index, None)
    seen = [name for index, name in names.items() if statistics.pixels[index]]
    unseen = [name for index, name in names.items() if not statistics.pixels[index]]
    ignored = f'{statistics.ignored_share:.1f} % of the pixels are ignored'
    which = 'labels' if complete else f'{counted(statistics.images, "label")} that could be read'
    consequence = 'cannot be learned' if split.name == 'train' else 'cannot be scored'
    if not seen:
        if statistics.ignored:
            yield Finding(
                Severity.ERROR, 'no-class', split.name,
                f'none of the {which} has a pixel of a class: {ignored}. Nothing could be learned '
                'or scored',
            )  # fmt: skip
    elif len(seen) == 1 < len(names):
        mask = (
            '. Masks of 0 and 255: 255 is ignored. Write 1 where it stands for a class'
            if set(statistics.ids) == {0, 255} and split.ignore_index == 255
            else ''
        )
        yield Finding(
            Severity.ERROR if complete and split.name == 'train' else Severity.WARNING,
            'single-class', split.name,
            f'{seen[0]} is the only class in the {which} ({ignored}): {", ".join(unseen)} '
            f'{consequence}{mask}',
        )  # fmt: skip
    elif unseen and complete:
        yield Finding(
            Severity.WARNING, 'unseen-classes', split.name,
            f'{counted(len(unseen), "class", "classes")} without a pixel {consequence}: '
            f'{", ".join(unseen)}; {ignored}',
        )  # fmt: skip
