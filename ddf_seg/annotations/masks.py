"""What the files of masks hold: ids, or colours that stand for classes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from ..errors import UsageError, counted, in_a_line
from ..files import mapped
from .class_tables import IGNORE
from .encodings import index_colours, loses_bits

# The classes that uint8 labels can hold, and the id that training ignores
MOST_CLASSES = 255
Colour = tuple[int, int, int]
# More colours than that are no classes, whatever their number in other files
_MOST_COLOURS = 512


@dataclass(frozen=True)
class MaskRecord:
    """What is in one mask.

    Args:
        size: width and height.
        ids: pixels of each id; None where the file holds colours.
        colours: pixels of each colour (packed, 0xRRGGBB); of a palette file, of those it uses.
        palette: the colour (packed) of each id that is used, of a palette file.
        error: why the file is no mask; the rest is empty then.
    """

    size: tuple[int, int] = (0, 0)
    ids: dict[int, int] | None = None
    colours: dict[int, int] | None = None
    palette: dict[int, int] = field(default_factory=dict)
    error: str = ''


@dataclass(frozen=True)
class Masks:
    """What all masks of a folder hold.

    Args:
        records: of each file.
        coloured: whether colours stand for classes; else ids do.
        pixels: of each id, or each colour (packed).
        palette: the colours (packed) that the files give to ids, if they do.
    """

    records: dict[Path, MaskRecord]
    coloured: bool
    pixels: Counter[int]
    palette: dict[int, int]


def read_masks(files: Sequence[Path], processes: int) -> Masks:
    """Reads all masks.

    Args:
        files: the masks.
        processes: number of processes.

    Raises:
        UsageError: files that are no masks, or some of ids and some of colours.
    """
    context = get_context('spawn')
    with mapped(read_mask, files, processes, context, (cv2.setNumThreads, 1)) as results:
        shown = track(
            results, 'Reading masks', len(files), console=Console(stderr=True), transient=True
        )
        records = dict(zip(files, shown, strict=True))
    faults: dict[str, list[Path]] = defaultdict(list)
    for file, record in records.items():
        if record.error:
            faults[record.error].append(file)
    if faults:
        raise UsageError(
            'the masks cannot be used:'
            + ''.join(
                f'\n  {found[0]}{f" and {len(found) - 1} more" if found[1:] else ""}: {error}'
                for error, found in faults.items()
            )
        )
    coloured = _all_coloured(records)
    pixels: Counter[int] = Counter()
    palette: dict[int, int] = {}
    for record in records.values():
        pixels.update((record.colours if coloured else record.ids) or {})
        palette.update(record.palette)
    return Masks(records, coloured, pixels, {} if coloured else palette)


def _all_coloured(records: dict[Path, MaskRecord]) -> bool:
    with_ids = [file for file, record in records.items() if record.ids is not None]
    without = [file for file, record in records.items() if record.ids is None]
    if with_ids and without:
        both = [file for file in with_ids if records[file].colours is None]
        if both:
            raise UsageError(
                f'ids in {counted(len(both), "mask")} (the first is {both[0]}), colours in '
                f'{len(without)} (the first is {without[0]}): expected one kind'
            )
    if without:
        return True
    # A palette may differ from file to file, as paint programs write it: then colours are what
    # the files have in common.
    seen: dict[int, int] = {}
    for record in records.values():
        for index, colour in record.palette.items():
            if seen.setdefault(index, colour) != colour:
                return all(r.colours is not None for r in records.values())
    return False


def read_mask(file: Path) -> MaskRecord:
    """What is in a mask; a file that is none has an error."""
    try:
        with Image.open(file) as image:
            if image.format == 'JPEG':
                return MaskRecord(
                    error='is a JPEG, which changes pixels at every border: expected a PNG'
                )
            if loses_bits(image):
                return MaskRecord(error='has 16 bits a channel: expected 8, or one channel of ids')
            return _record(image)
    except Exception as error:  # decoders raise many kinds for a damaged file
        return MaskRecord(error=f'cannot be read: {in_a_line(error)}')


def _record(image: Image.Image) -> MaskRecord:
    mode = image.mode
    pixels = np.asarray(image)
    if mode in ('RGBA', 'LA', 'PA'):
        if mode == 'PA' or (pixels[..., -1] != 255).any():
            return MaskRecord(error='has transparent pixels: expected a mask without transparency')
        pixels = pixels[..., :-1]
        pixels = pixels[..., 0] if mode == 'LA' else pixels
    elif mode == '1':
        pixels = pixels.astype(np.uint8)
    elif mode not in ('L', 'P', 'RGB') and not mode.startswith('I'):
        return MaskRecord(error=f'has mode {mode}: expected ids or RGB colours')
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            return _coloured(image.size, pixels)
        # Ids in three channels, or classes whose colour is a grey: the other files tell.
        ids = _counts(pixels[..., 0])
        return MaskRecord(image.size, ids, {i * 0x010101: number for i, number in ids.items()})
    ids = _counts(pixels)
    if max(ids) > 255 or min(ids) < 0:
        return MaskRecord(
            error=f'holds ids from {min(ids)} to {max(ids)} in mode {mode}: expected at most 255 '
            'classes, as 8-bit ids'
        )
    if mode != 'P':
        return MaskRecord(image.size, ids)
    table = image.getpalette('RGB') or []
    palette = {i: packed(table[3 * i : 3 * i + 3]) for i in ids if 3 * i + 3 <= len(table)}
    if len(palette) < len(ids):
        return MaskRecord(image.size, ids)
    colours: Counter[int] = Counter()
    for index, number in ids.items():
        colours[palette[index]] += number
    return MaskRecord(image.size, ids, dict(colours), palette)


def _coloured(size: tuple[int, int], pixels: np.ndarray) -> MaskRecord:
    counts = _counts(pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32))
    if len(counts) > _MOST_COLOURS:
        return MaskRecord(
            error='holds more than 512 colours, as a photo, or as a mask that was a JPEG once or '
            'was resized with smooth edges: expected one colour a class'
        )
    return MaskRecord(size, None, counts)


def _counts(values: np.ndarray) -> dict[int, int]:
    found, numbers = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), numbers.tolist(), strict=True))


def packed(colour: Sequence[int]) -> int:
    """A colour (red, green, blue) as one number."""
    red, green, blue = colour
    return (red << 16) | (green << 8) | blue


def unpacked(colour: int) -> Colour:
    """Red, green and blue of a packed colour."""
    return colour >> 16, (colour >> 8) & 255, colour & 255


def relabel(source: tuple[Path, dict[int, int], bool]) -> np.ndarray:
    """The label (H, W) uint8 of a mask.

    Args:
        source: the file; the index of each id, or of each packed colour; whether they are colours.
    """
    file, indices, coloured = source
    with Image.open(file) as image:
        if coloured:
            colours = {unpacked(value): index for value, index in indices.items()}
            return index_colours(np.asarray(image.convert('RGB')), colours, file)
        ids = np.asarray(image)
    ids = (ids[..., 0] if ids.ndim == 3 else ids).astype(np.uint8)
    table = np.full(256, IGNORE, np.uint8)
    table[list(indices)] = list(indices.values())
    return table[ids]
