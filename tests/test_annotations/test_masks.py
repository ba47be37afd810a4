"""What masks hold, in the forms in which drawing programs write them."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ddf_seg.annotations.encodings import colours_to_ids
from ddf_seg.annotations.masks import packed, read_masks, relabel
from ddf_seg.errors import UsageError

RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)
IDS = np.array([[0, 0, 1], [1, 2, 2]], np.uint8)


def palette_file(path: Path, ids: np.ndarray, colours: list[tuple[int, int, int]]) -> Path:
    image = Image.fromarray(ids).convert('P')
    image.putpalette([part for colour in colours for part in colour])
    image.save(path)
    return path


def colour_file(path: Path, ids: np.ndarray, colours: list[tuple[int, int, int]]) -> Path:
    Image.fromarray(np.array(colours, np.uint8)[ids]).save(path)
    return path


def test_one_palette_for_all_files_names_ids(tmp_path: Path) -> None:
    colours = [BLACK, RED, GREEN]
    files = [palette_file(tmp_path / f'{i}.png', IDS % (i + 2), colours) for i in range(2)]
    masks = read_masks(files, 1)
    assert not masks.coloured
    assert masks.pixels == {0: 2 + 2 + 2, 1: 2 + 2, 2: 2}
    assert masks.palette == {0: packed(BLACK), 1: packed(RED), 2: packed(GREEN)}


def test_palettes_that_differ_from_file_to_file_are_colours(tmp_path: Path) -> None:
    files = [
        palette_file(tmp_path / 'a.png', IDS, [BLACK, RED, GREEN]),
        palette_file(tmp_path / 'b.png', IDS, [GREEN, BLACK, RED]),
    ]
    masks = read_masks(files, 1)
    assert masks.coloured
    assert masks.pixels == {packed(BLACK): 4, packed(RED): 4, packed(GREEN): 4}
    indices = {packed(BLACK): 0, packed(RED): 1, packed(GREEN): 2}
    np.testing.assert_array_equal(relabel((files[0], indices, True)), IDS)
    np.testing.assert_array_equal(relabel((files[1], indices, True)), (IDS + 2) % 3)


def test_a_black_file_beside_coloured_ones_is_coloured(tmp_path: Path) -> None:
    files = [
        colour_file(tmp_path / 'a.png', IDS, [BLACK, RED, GREEN]),
        colour_file(tmp_path / 'b.png', IDS, [BLACK] * 3),
    ]
    masks = read_masks(files, 1)
    assert masks.coloured
    assert masks.pixels == {packed(BLACK): 8, packed(RED): 2, packed(GREEN): 2}


def test_ids_in_three_channels_or_one_bit_or_opaque(tmp_path: Path) -> None:
    two = IDS % 2
    Image.fromarray(np.dstack([two] * 3)).save(tmp_path / 'a.png')
    Image.fromarray(two.astype(bool)).save(tmp_path / 'b.png')
    Image.fromarray(np.dstack([two] * 3 + [np.full_like(two, 255)])).save(tmp_path / 'c.png')
    Image.fromarray(two.astype(np.uint16)).save(tmp_path / 'd.png')
    files = sorted(tmp_path.iterdir())
    masks = read_masks(files, 1)
    assert not masks.coloured
    assert masks.pixels == {0: 16, 1: 8}
    for file in files:
        np.testing.assert_array_equal(relabel((file, {0: 5, 1: 6}, False)), two + 5)


def png_of_16_bits(path: Path, pixels: np.ndarray) -> Path:
    """A PNG (H, W, C) as its specification has it: Pillow writes none of several channels."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in pixels)
    chunks = {
        b'IHDR': struct.pack('>IIBBBBB', width, height, 16, kind, 0, 0, 0),
        b'IDAT': zlib.compress(rows),
        b'IEND': b'',
    }
    content = b'\x89PNG\r\n\x1a\n'
    for name, data in chunks.items():
        checksum = struct.pack('>I', zlib.crc32(name + data))
        content += struct.pack('>I', len(data)) + name + data + checksum
    path.write_bytes(content)
    return path


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_16_bits_are_read_or_refused_but_not_cut(tmp_path: Path, channels: int) -> None:
    ids = np.arange(12).reshape(3, 4)
    opaque = channels in (2, 4)
    pixels = np.dstack([ids] * (channels - opaque) + [np.full_like(ids, 65535)] * opaque)
    file = png_of_16_bits(tmp_path / 'a.png', pixels)
    if channels == 1:
        assert read_masks([file], 1).pixels == dict.fromkeys(range(12), 1)
        return
    with pytest.raises(UsageError, match=re.escape(f'{file}: has 16 bits a channel: expected 8')):
        read_masks([file], 1)
    with pytest.raises(ValueError, match=re.escape(f'{file}: expected 8 bits a channel, got 16')):
        colours_to_ids(file, {BLACK: 0})


def test_a_tiff_of_16_bits_is_refused(tmp_path: Path) -> None:
    file = tmp_path / 'a.tif'
    assert cv2.imwrite(str(file), np.dstack([IDS] * 3).astype(np.uint16))
    with pytest.raises(UsageError, match='has 16 bits a channel'):
        read_masks([file], 1)
