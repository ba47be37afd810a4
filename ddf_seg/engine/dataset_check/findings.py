"""What is wrong with a dataset, and how often its classes occur."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import combinations
from typing import Any

import numpy as np

from ..dataset_files import explain_foreign_ids
from .scan import Record
from .splits import Pair, Part, Split

Records = dict[Pair, Record]


class Severity(IntEnum):
    """How bad it is: an error stops a training or spoils it, a warning may be meant so."""

    WARNING = 1
    ERROR = 2


@dataclass
class Finding:
    """A fault of a split.

    Args:
        severity: Error or warning.
        kind: A word for programs: missing-label, foreign-ids …
        split: Name of the split.
        message: What is wrong, and what to do.
        files: Every file concerned.
    """

    severity: Severity
    kind: str
    split: str
    message: str
    files: list[str] = field(default_factory=list)


@dataclass
class Statistics:
    """How often classes occur among the labels that were read.

    Args:
        classes: Their names.
        images: How many pairs were read.
        pixels: Of each class.
        images_with: How many labels have each class.
        pixels_of_those: All pixels of the labels that have each class.
        ignored: Pixels that are ignored.
    """

    classes: list[str]
    images: int
    pixels: np.ndarray
    images_with: np.ndarray
    pixels_of_those: np.ndarray
    ignored: int

    def class_weights(self) -> dict[str, list[float]]:
        """Weights for a loss, 0 for classes that do not occur.

        median_frequency: median / frequency, a class's frequency being its share of the pixels of
        the images that have it (Eigen and Fergus, ICCV 2015). inverse_sqrt: 1 / √share of all
        labelled pixels, mean 1; milder, where rare classes would get too much.
        """
        seen = self.pixels > 0
        if not seen.any():
            return {}
        frequency = self.pixels[seen] / self.pixels_of_those[seen]
        milder = 1 / np.sqrt(self.pixels[seen] / self.pixels.sum())
        weights = {
            'median_frequency': np.median(frequency) / frequency,
            'inverse_sqrt': milder / milder.mean(),
        }
        full = {name: np.zeros(len(self.pixels)) for name in weights}
        for name, values in weights.items():
            full[name][seen] = values
        return {name: values.round(4).tolist() for name, values in full.items()}


@dataclass
class Result:
    """What a check found out.

    Args:
        findings: The faults, the worst first.
        statistics: Of every split.
        total: How many pairs every split has, of which the check may have read some.
    """

    findings: list[Finding]
    statistics: dict[str, Statistics]
    total: dict[str, int]


def assess(splits: Sequence[Split], records: Records) -> Result:
    """Judge what was read.

    Args:
        splits: The splits.
        records: Of those pairs that were read.
    """
    findings = [finding for split in splits for finding in _judge(split, records)]
    findings += _duplicates(splits, records)
    statistics = {split.name: _count(split, records) for split in splits}
    total = {split.name: sum(len(part.pairs) for part in split.parts) for split in splits}
    for split in splits:
        # A sample says nothing about what is not there.
        if statistics[split.name].images == total[split.name]:
            findings += _extra(split)
            findings += _unseen(split, statistics[split.name])
    findings.sort(key=lambda finding: -finding.severity)
    return Result(findings, statistics, total)


def _judge(split: Split, records: Records) -> Iterator[Finding]:
    if not split.images:
        yield Finding(Severity.ERROR, 'no-images', split.name, 'the dataset has no image')
    if len(split.classes) != split.num_classes:
        yield Finding(
            Severity.ERROR, 'number-of-classes', split.name,
            f'the model has {split.num_classes} classes, {split.parts[0].name} has '
            f'{len(split.classes)}: set num_classes of the heads',
        )  # fmt: skip
    for part in split.parts:
        read = [(pair, records[pair]) for pair in part.pairs if pair in records]
        yield from _unreadable(split, read)
        yield from _sizes(split, read)
        yield from _encodings(split, read)
        yield from _foreign(split, part, read)


def _unreadable(split: Split, read: list[tuple[Pair, Record]]) -> Iterator[Finding]:
    errors: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for pair, record in read:
        for what, file, error in (
            ('image', pair.image, record.image_error),
            ('label', pair.label, record.label_error),
        ):
            if error:
                kind = 'missing' if error == 'missing' else 'unreadable'
                errors[kind, what].append((file or '', error))
    for (kind, what), found in errors.items():
        reason = '' if kind == 'missing' else f', the first: {found[0][1]}'
        state = 'are missing' if kind == 'missing' else 'cannot be read'
        yield Finding(
            Severity.ERROR, f'{kind}-{what}', split.name,
            f'{len(found)} {what} files {state}{reason}', [file for file, _ in found],
        )  # fmt: skip


def _sizes(split: Split, read: list[tuple[Pair, Record]]) -> Iterator[Finding]:
    differing = [
        (pair, record)
        for pair, record in read
        if record.image_size and record.label_size and record.image_size != record.label_size
    ]
    if differing:
        (width, height), (label_width, label_height) = (
            differing[0][1].image_size or (0, 0),
            differing[0][1].label_size or (0, 0),
        )
        yield Finding(
            Severity.ERROR, 'sizes-differ', split.name,
            f'{len(differing)} labels have another size than their image, the first '
            f'{label_width}×{label_height} for an image of {width}×{height}',
            [pair.label or '' for pair, _ in differing],
        )  # fmt: skip


def _encodings(split: Split, read: list[tuple[Pair, Record]]) -> Iterator[Finding]:
    colours = [(p.label or '', r) for p, r in read if r.label_mode and not r.pixels]
    if colours:
        modes = ', '.join(sorted({record.label_mode for _, record in colours}))
        yield Finding(
            Severity.ERROR, 'colour-labels', split.name,
            f'{len(colours)} labels have several channels (mode {modes}): expected one channel of '
            'class ids. Does this dataset need one of tools/dataset_converters?',
            [file for file, _ in colours],
        )  # fmt: skip
    wide = [(p.label or '', r) for p, r in read if r.pixels and r.label_mode.startswith('I')]
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
            f'{len(wide)} labels have more than 8 bits a pixel; {consequence}',
            [file for file, _ in wide],
        )  # fmt: skip


def _foreign(split: Split, part: Part, read: list[tuple[Pair, Record]]) -> Iterator[Finding]:
    pixels: Counter[int] = Counter()
    files: dict[str, list[int]] = {}
    for pair, record in read:
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
        counts = ', '.join(f'{index} ({pixels[index]} pixels)' for index in sorted(pixels))
        yield Finding(
            Severity.ERROR, 'foreign-ids', split.name,
            f'{len(files)} labels have ids that are no class: {counts}. '
            + explain_foreign_ids(first, ids, split.num_classes, split.ignore_index, part.name),
            list(files),
        )  # fmt: skip


def _is_known(split: Split, index: int) -> bool:
    return 0 <= index < split.num_classes or index == split.ignore_index


def _extra(split: Split) -> Iterator[Finding]:
    extra = [file for part in split.parts if part.has_labels for file in part.extra_labels()]
    if extra:
        yield Finding(
            Severity.WARNING, 'extra-labels', split.name,
            f'{len(extra)} label files have no image', extra,
        )  # fmt: skip


def _duplicates(splits: Sequence[Split], records: Records) -> Iterator[Finding]:
    for other, split in combinations(splits, 2):
        twins = {digest: image for image, digest in _digests(other, records)}
        twins.update({image: image for image in other.images})
        both = {image: image for image in split.images if image in twins}
        both |= {
            image: twins[digest] for image, digest in _digests(split, records) if digest in twins
        }
        if both:
            first = min(both)
            yield Finding(
                Severity.WARNING, 'duplicates', split.name,
                f'{len(both)} images have the same pixels as one of {other.name} (the first as '
                f'{both[first]}): its score does not tell how well the model generalises',
                sorted(both),
            )  # fmt: skip


def _digests(split: Split, records: Records) -> Iterator[tuple[str, str]]:
    for part in split.parts:
        for pair in part.pairs:
            if pair in records and records[pair].digest:
                yield pair.image, records[pair].digest


def _count(split: Split, records: Records) -> Statistics:
    pixels = np.zeros(split.num_classes, np.int64)
    images_with, pixels_of_those = pixels.copy(), pixels.copy()
    ignored = read = 0
    for part in split.parts:
        for pair in part.pairs:
            if pair not in records:
                continue
            read += 1
            counts = np.zeros_like(pixels)
            for index, number in records[pair].pixels.items():
                label = part.class_of(index)
                if 0 <= label < split.num_classes:
                    counts[label] += number
                elif label == split.ignore_index:
                    ignored += number
            pixels += counts
            images_with += counts > 0
            pixels_of_those[counts > 0] += sum(records[pair].pixels.values())
    names = [*split.classes, *map(str, range(len(split.classes), split.num_classes))]
    return Statistics(
        names[: split.num_classes], read, pixels, images_with, pixels_of_those, ignored
    )


def _unseen(split: Split, statistics: Statistics) -> Iterator[Finding]:
    unseen = [
        name
        for name, number in zip(statistics.classes, statistics.pixels, strict=True)
        if not number
    ]
    if unseen and statistics.pixels.any():
        what = 'cannot be learned' if split.name == 'train' else 'have no score'
        yield Finding(
            Severity.WARNING, 'unseen-classes', split.name,
            f'{len(unseen)} classes do not occur and {what}: {", ".join(unseen)}',
        )  # fmt: skip


def as_dict(finding: Finding) -> dict[str, Any]:
    """A finding for JSON."""
    return {
        'severity': finding.severity.name.lower(),
        'kind': finding.kind,
        'split': finding.split,
        'message': finding.message,
        'count': len(finding.files),
        'files': finding.files,
    }
