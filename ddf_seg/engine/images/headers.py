"""What the headers of image files say, and which orientations decoders heed."""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import mmcv
from PIL import Image
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

_ORIENTATION = 0x0112
# What a whole file ends with, if nothing was appended to it
_END_MARKS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND'}


@dataclass(frozen=True)
class Header:
    """What an image file says of itself.

    Args:
        size: width and height of the pixels as they are stored.
        mode: Pillow's: L, P, RGB, I;16 …
        format: Pillow's: JPEG, PNG …
        orientation: the EXIF tag: 1 as stored, 3 upside down, 2 and 4 mirrored, 5 to 8 with width
            and height swapped.
        ends: whether the mark stands at its end that is missing where a file was cut off; also
            where the format has none.
    """

    size: tuple[int, int]
    mode: str
    format: str
    orientation: int
    ends: bool = True


class Decoder(NamedTuple):
    """How a transform of mmcv's decodes: `mmcv.imfrombytes`' backend and flag.

    Args:
        backend: 'cv2', 'pillow', 'turbojpeg' or 'tifffile'.
        flag: 'color', 'unchanged', 'color_ignore_orientation' …
    """

    backend: str = 'cv2'
    flag: str = 'color'

    @property
    def most_pixels(self) -> int:
        """How many pixels an image may have."""
        if self.backend == 'pillow':
            return 2 * int(Image.MAX_IMAGE_PIXELS or 1 << 62)
        if self.backend == 'cv2':
            return int(os.environ.get('OPENCV_IO_MAX_IMAGE_PIXELS') or 1 << 30)
        return 1 << 62

    def turns(self, header: Header) -> bool:
        """Whether it turns or mirrors an image as its orientation says."""
        return header.orientation != 1 and _turns(self, header.format)

    def size(self, header: Header) -> tuple[int, int]:
        """Width and height of the decoded image."""
        width, height = header.size
        swapped = header.orientation >= 5 and self.turns(header)
        return (height, width) if swapped else (width, height)


@cache
def _turns(decoder: Decoder, file_format: str) -> bool:
    # Versions of OpenCV and Pillow differ in which formats they turn: ask them.
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    content = io.BytesIO()
    kind = 'JPEG' if file_format == 'MPO' else file_format
    try:
        Image.new('RGB', (2, 1)).save(content, kind, exif=exif)
        image = mmcv.imfrombytes(content.getvalue(), decoder.flag, backend=decoder.backend)
    except Exception:  # a format that one of them cannot write or read, a backend not installed
        return False
    return image is not None and image.shape[:2] == (2, 1)


def read_header(path: str) -> Header:
    """Reads an image's header, not its pixels.

    Raises:
        OSError, ValueError and others, as Pillow's decoders have them: If it is no image.
    """
    with open_image(path) as image:
        header = header_of(image)
        mark = _END_MARKS.get(header.format)
        if mark is None:
            return header
        with open(path, 'rb') as file:
            file.seek(-min(64, os.fstat(file.fileno()).st_size), os.SEEK_END)
            whole = mark in file.read()
        return Header(header.size, header.mode, header.format, header.orientation, whole)


def header_of(image: Image.Image) -> Header:
    """The header of an image that Pillow has opened."""
    try:
        # Not the image's own getexif, which decodes a PNG for a tag that may stand at its end.
        orientation = Image.Image.getexif(image).get(_ORIENTATION, 1)
    except Exception:  # EXIF data may be damaged in many ways
        orientation = 1
    if orientation not in range(1, 9):
        orientation = 1
    size = image.size
    if isinstance(image, TiffImageFile):
        # Pillow itself turns TIFF files: these are the sizes as stored.
        size = (image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH])
    return Header(size, image.mode, image.format or '', orientation)


class _Lenient:
    """Pillow without its limit and its warnings, from the first open image to the last.

    Both belong to the process, and several threads may open images at a time: were each to put back
    what it found, the last one would put back what another had set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._images == 0:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                self._warnings = warnings.catch_warnings()
                self._warnings.__enter__()
                # Of damaged EXIF data and the like, without the file's name
                warnings.simplefilter('ignore')
            self._images += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._images -= 1
            if self._images == 0:
                self._warnings.__exit__(None, None, None)
                Image.MAX_IMAGE_PIXELS = self._limit


_lenient = _Lenient()


@contextmanager
def open_image(path: str) -> Iterator[Image.Image]:
    """Opens an image with Pillow, whatever its size: Pillow's limit is 178,956,970 pixels."""
    with _lenient, Image.open(path) as image:
        yield image


def decoder_of(step: Any) -> Decoder | None:
    """How a LoadImageFromFile or LoadAnnotations decodes; None for other transforms."""
    kind = type(step).__name__
    if kind == 'LoadImageFromFile':
        return Decoder(step.imdecode_backend, step.color_type)
    if kind == 'LoadAnnotations':
        return Decoder(step.imdecode_backend, 'unchanged')
    return None
