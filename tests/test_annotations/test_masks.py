"""What masks hold, in the forms in which drawing programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ddf_seg.annotations.masks import packed, read_masks, relabel

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
