"""What is wrong with the files of a dataset, whatever their labels mean."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from ....errors import counted
from ....files import files_below
from ...explanations.dataset_faults import ORIENTATION_REMEDY, explain_missing, explain_sizes
from ...images import IMAGES
from ...images.headers import Header
from .findings import Finding, Severity
from .scan import Read, Records
from .splits import Pair, Part, Split

# How many images of different sizes go through the pipeline to see what becomes of them
_SIZES_TRIED = 8


def find_file_faults(split: Split, records: Records) -> Iterator[Finding]:
    """What is wrong with the files of one split, as far as they were read."""
    if not split.images:
        yield Finding(Severity.ERROR, 'no-images', split.name, 'the dataset has no image')
    for part in split.parts:
        read = [(pair, records[pair]) for pair in part.pairs if pair in records]
        yield from _unreadable(split, part, read)
        yield from _extents(split, part, read)
        yield from _sizes(split, part, read)
    yield from _unused(split)
    yield from _batches(split, records)


def _unreadable(split: Split, part: Part, read: Read) -> Iterator[Finding]:
    errors: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for pair, record in read:
        for what, file, error, decoder in (
            ('image', pair.image, record.image_error, part.image_decoder),
            ('label', pair.label, record.label_error, part.label_decoder),
        ):
            if error == 'missing':
                errors['missing', what].append((file or '', error))
            elif error and decoder:
                errors['unreadable', what].append((file or '', error))
    for (kind, what), found in errors.items():
        files = [file for file, _ in found]
        if kind == 'missing':
            message = explain_missing(what, files, len(read))
        else:
            message = (
                f'{counted(len(found), f"{what} file")} could not be read, the first: {found[0][1]}'
            )
        yield Finding(Severity.ERROR, f'{kind}-{what}', split.name, message, files)


def _extents(split: Split, part: Part, read: Read) -> Iterator[Finding]:
    for what, decoder in (('image', part.image_decoder), ('label', part.label_decoder)):
        if decoder is None:
            continue
        sizes = {}
        for pair, record in read:
            header, file = record.image, pair.image
            if what == 'label':
                header, file = record.label, pair.label or ''
            if header:
                sizes[file] = header.size
        large = [f for f, (width, height) in sizes.items() if width * height > decoder.most_pixels]
        if large:
            width, height = sizes[large[0]]
            yield Finding(
                Severity.ERROR, f'too-large-{what}', split.name,
                f'{counted(len(large), f"{what} file")} of more pixels than {decoder.backend} '
                f'decodes ({decoder.most_pixels:,}), the first {width}×{height}: cut into tiles',
                large,
            )  # fmt: skip
        thin = [file for file, size in sizes.items() if min(size) < 2]
        if thin and what == 'label':
            width, height = sizes[thin[0]]
            yield Finding(
                Severity.ERROR, 'too-small-label', split.name,
                f'{counted(len(thin), "label file")} of 1 pixel in width or height, the first '
                f'{width}×{height}, which mmseg does not take',
                thin,
            )  # fmt: skip


def _sizes(split: Split, part: Part, read: Read) -> Iterator[Finding]:
    if part.image_decoder is None or part.label_decoder is None:
        return
    differing: list[tuple[str, tuple[int, int], tuple[int, int]]] = []
    # By whether their label has the size of the image as stored, as turned, or of both
    as_stored: list[tuple[str, Header]] = []
    as_turned: list[str] = []
    as_either: list[tuple[str, Header]] = []
    for pair, record in read:
        if not record.image or not record.label:
            continue
        size = part.label_decoder.size(record.label)
        turned = part.image_decoder.size(record.image)
        fits_stored, fits_turned = size == record.image.size, size == turned
        if not part.image_decoder.turns(record.image):
            if not fits_stored:
                differing.append((pair.label or '', turned, size))
        elif part.label_decoder.turns(record.label):
            if not fits_turned:
                differing.append((pair.label or '', turned, size))
        elif fits_stored and fits_turned:
            as_either.append((pair.image, record.image))
        elif fits_stored:
            as_stored.append((pair.image, record.image))
        elif fits_turned:
            as_turned.append(pair.image)
        else:
            differing.append((pair.label or '', turned, size))
    if differing:
        _, image, label = differing[0]
        yield Finding(
            Severity.ERROR, 'sizes-differ', split.name,
            f'{counted(len(differing), "label")} of another size than the image, the first '
            + explain_sizes(image, label),
            [file for file, _, _ in differing],
        )  # fmt: skip
    # Labels that were drawn on the turned image show how all the others were drawn.
    if as_stored or (as_either and not as_turned):
        yield _orientation(split, as_stored + as_either)


def _orientation(split: Split, found: list[tuple[str, Header]]) -> Finding:
    tags = Counter(header.orientation for _, header in found)
    listed = ', '.join(f'{tag} ({number})' for tag, number in sorted(tags.items()))
    return Finding(
        Severity.ERROR, 'orientation', split.name,
        f'{counted(len(found), "image")} with an EXIF orientation: {listed}. Such images are '
        f'turned or mirrored when they are read, their labels are not. {ORIENTATION_REMEDY}',
        [image for image, _ in found],
    )  # fmt: skip


def _unused(split: Split) -> Iterator[Finding]:
    """Images in a folder that a dataset lists, and takes only those of one suffix from."""
    # The same image may be there in another format.
    used = {os.path.splitext(image)[0] for image in split.images}
    for part in split.parts:
        images, labels, suffix = _layout(part.dataset)
        if not images or not suffix or getattr(part.dataset, 'ann_file', None):
            continue
        extension = Path(suffix).suffix or suffix
        left_out = [
            str(file)
            for file in files_below(Path(images))
            if file.suffix.lower() in IMAGES
            and file.suffix != extension
            and os.path.splitext(file)[0] not in used
            # Labels may stand beside or below the images.
            and not (
                labels
                and Path(labels) in file.parents
                and file.name.endswith(part.dataset.seg_map_suffix)
            )
        ]
        if left_out:
            suffixes = Counter(Path(file).suffix for file in left_out)
            listed = ', '.join(f'{number} {name}' for name, number in sorted(suffixes.items()))
            yield Finding(
                Severity.WARNING, 'unused-images', split.name,
                f'{counted(len(left_out), "image")} in {images} not used, beside '
                f'{len(part.pairs)} of suffix {suffix}: {listed}. Rename such, or join a second '
                'dataset with that img_suffix (ConcatDataset)',
                left_out,
            )  # fmt: skip


def _batches(split: Split, records: Records) -> Iterator[Finding]:
    """Images that a batch of validation cannot hold together: mmseg does not pad it."""
    if split.name == 'train' or split.batch_size == 1:
        return
    shapes: dict[tuple[int, int], str] = {}
    for part in split.parts:
        if part.image_decoder is None:
            continue
        sizes: dict[tuple[int, int], Pair] = {}
        for pair in part.pairs:
            record = records.get(pair)
            if record and record.image:
                sizes.setdefault(part.image_decoder.size(record.image), pair)
        # The most unlike ones: what one pipeline makes equal, it makes equal for them.
        ordered = sorted(sizes, key=lambda size: (size[0] / size[1], size))
        step = max(1, -(-len(ordered) // _SIZES_TRIED))
        for size in dict.fromkeys([*ordered[::step], *ordered[-1:]]):
            if shape := _shape_of(part.dataset, sizes[size]):
                shapes.setdefault(shape, sizes[size].image)
    if len(shapes) > 1:
        (shape, image), (other_shape, other), *_ = shapes.items()
        yield Finding(
            Severity.ERROR, 'unequal-batch', split.name,
            f'{split.name}_dataloader has batch_size {split.batch_size}, and images that differ in '
            f'size after the pipeline: {shape[1]}×{shape[0]} and {other_shape[1]}×{other_shape[0]}.'
            f' mmseg does not pad them: --cfg-options {split.name}_dataloader.batch_size=1',
            [image, other],
        )  # fmt: skip


def _shape_of(dataset: Any, pair: Pair) -> tuple[int, int] | None:
    """Height and width that the pipeline gives an image; None where that cannot be told."""
    for index in range(len(dataset)):
        if dataset.get_data_info(index)['img_path'] == pair.image:
            try:
                height, width = dataset[index]['inputs'].shape[-2:]
            except Exception:  # reading has findings of its own; test-time augmentation has lists
                return None
            return int(height), int(width)
    return None


def find_extra_labels(split: Split) -> Iterator[Finding]:
    """Label files without an image."""
    extra: list[str] = []
    for part in split.parts:
        images, labels, suffix = _layout(part.dataset)
        if not images or not labels or not any(pair.label for pair in part.pairs):
            continue
        label_suffix = part.dataset.seg_map_suffix
        for file in files_below(Path(labels)):
            stem = os.path.relpath(file, labels).removesuffix(label_suffix)
            if file.name.endswith(label_suffix) and not Path(images, stem + suffix).exists():
                extra.append(str(file))
    if extra:
        yield Finding(
            Severity.WARNING, 'extra-labels', split.name,
            f'{len(extra)} label files have no image', extra,
        )  # fmt: skip


def _layout(dataset: Any) -> tuple[str, str, str]:
    """The folders of images and labels, and the images' suffix; '' for what is not there."""
    prefix = getattr(dataset, 'data_prefix', None) or {}
    folders = [str(prefix.get(key) or '') for key in ('img_path', 'seg_map_path')]
    images, labels = (folder if os.path.isdir(folder) else '' for folder in folders)
    return images, labels, str(getattr(dataset, 'img_suffix', ''))


def find_duplicates(splits: Sequence[Split], records: Records) -> Iterator[Finding]:
    """Images that one split shares with another."""
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
                f'{counted(len(both), "image")} with the same pixels as one of {other.name} (the '
                f'first as {both[first]}): its score does not tell how well the model generalises',
                sorted(both),
            )  # fmt: skip


def _digests(split: Split, records: Records) -> Iterator[tuple[str, str]]:
    for pair in split.pairs:
        if pair in records and records[pair].digest:
            yield pair.image, records[pair].digest
