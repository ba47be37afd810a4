"""Reads pairs of files, in processes of their own, and tells what is in them."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import UnidentifiedImageError
from rich.console import Console
from rich.progress import Progress

from ....errors import UsageError
from ....files import mapped
from ...images.headers import Header, header_of, open_image, read_header
from ...images.pictures import why_unreadable
from .splits import Pair

# Below this, starting processes takes longer.
_WORTH_PROCESSES = 16


@dataclass
class Record:
    """What a pair of files holds.

    Args:
        image: the image's header, as far as it can be read.
        label: the label's header, likewise.
        image_error: why the image cannot be read.
        label_error: why the label cannot be read.
        decoded: whether more than the headers were read.
        digest: of the decoded image: equal for the same pixels in another file or compression.
        pixels: how many pixels of the label have each id.
    """

    image: Header | None = None
    label: Header | None = None
    image_error: str = ''
    label_error: str = ''
    decoded: bool = False
    digest: str = ''
    pixels: dict[int, int] = field(default_factory=dict)

    @property
    def looks_damaged(self) -> bool:
        """Whether decoding will likely fail, by the headers."""
        return not all(header is None or header.ends for header in (self.image, self.label))


Records = Mapping[Pair, Record]
Read = list[tuple[Pair, Record]]


def read_all(
    function: Callable[[Pair], Record], pairs: Iterable[Pair], processes: int, what: str
) -> dict[Pair, Record]:
    """What is in some pairs, read in several processes, with a progress bar on stderr.

    Args:
        function: `scan` or `scan_headers`.
        pairs: what to read; each is read once.
        processes: how many.
        what: the bar's name.

    Raises:
        UsageError: a process is killed.
    """
    pairs = list(dict.fromkeys(pairs))
    # Processes that are spawned would import all of mmseg again, for seconds each.
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None
    context = multiprocessing.get_context(method)
    if len(pairs) < _WORTH_PROCESSES:
        processes = 1
    progress = Progress(console=Console(stderr=True), transient=True)
    try:
        with mapped(function, pairs, processes, context) as records, progress:
            tracked = progress.track(records, len(pairs), description=what)
            return dict(zip(pairs, tracked, strict=True))
    except OSError as error:
        raise UsageError(str(error)) from error


def scan_headers(pair: Pair) -> Record:
    """Reads the headers of both files of a pair."""
    record = Record()
    try:
        record.image = _header(pair.image)
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        record.image_error = why_unreadable(pair.image, error)
    if pair.label is not None:
        try:
            record.label = _header(pair.label)
        except Exception as error:
            record.label_error = why_unreadable(pair.label, error)
    return record


def _header(path: str) -> Header:
    try:
        return read_header(path)
    except UnidentifiedImageError:
        # What Pillow does not know OpenCV may: OpenEXR, PGM of 16 bits in colour …
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise
        return Header((pixels.shape[1], pixels.shape[0]), '', '', 1)


def scan(pair: Pair) -> Record:
    """Decodes both files of a pair, whole: a truncated one shows only then."""
    record = scan_headers(pair)
    record.decoded = True
    if record.image and record.image.mode:
        try:
            record.image, record.digest = _digest(pair.image)
        except Exception as error:
            record.image_error = why_unreadable(pair.image, error)
    if record.label and record.label.mode and pair.label is not None:
        try:
            with open_image(pair.label) as label:
                ids = np.asarray(label)
        except Exception as error:
            record.label_error = why_unreadable(pair.label, error)
        else:
            record.pixels = _count(ids) if ids.ndim == 2 else {}
    return record


def _digest(path: str) -> tuple[Header, str]:
    with open_image(path) as image:
        content = hashlib.blake2b(repr((image.size, image.mode)).encode(), digest_size=16)
        content.update(image.tobytes())
        # Now, the tags that stand behind the pixels are known, too.
        return header_of(image), content.hexdigest()


def _count(ids: np.ndarray) -> dict[int, int]:
    if ids.dtype in (np.uint8, np.uint16, bool):
        counts = np.bincount(ids.ravel())
        found = counts.nonzero()[0]
        return dict(zip(found.tolist(), counts[found].tolist(), strict=True))
    values, counts = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
