"""Reads a pair of files and tells what is in it. Runs in processes of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import UnidentifiedImageError

from ..explanations import explain_unreadable
from ..image_headers import Header, header_of, open_image, read_header
from .splits import Pair


@dataclass
class Record:
    """What a pair of files holds.

    Args:
        image: The image's header, as far as it can be read.
        label: The label's header, likewise.
        image_error: Why the image cannot be read.
        label_error: Why the label cannot be read.
        decoded: Whether more than the headers were read.
        digest: Of the decoded image: equal for the same pixels in another file or compression.
        pixels: How many pixels of the label have each id.
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


def scan_headers(pair: Pair) -> Record:
    """Read the headers of both files of a pair."""
    record = Record()
    try:
        record.image = _header(pair.image)
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        record.image_error = explain_unreadable(pair.image, error)
    if pair.label is not None:
        try:
            record.label = _header(pair.label)
        except Exception as error:
            record.label_error = explain_unreadable(pair.label, error)
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
    """Decode both files of a pair, whole: a truncated one shows only then."""
    record = scan_headers(pair)
    record.decoded = True
    if record.image and record.image.mode:
        try:
            record.image, record.digest = _digest(pair.image)
        except Exception as error:
            record.image_error = explain_unreadable(pair.image, error)
    if record.label and record.label.mode and pair.label is not None:
        try:
            with open_image(pair.label) as label:
                ids = np.asarray(label)
        except Exception as error:
            record.label_error = explain_unreadable(pair.label, error)
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
