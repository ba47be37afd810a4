"""Ids, colours and polygons to class indices; what is wrong with a file is said with its name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddf_seg.annotations import (
    colours_to_ids,
    draw_polygons,
    id_map,
    index_of,
    map_ids,
    metainfo,
    read_table,
)

COLOURS = {(255, 0, 0): 4, (0, 0, 255): 255, (0, 255, 1): 0}


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_colours(tmp_path: Path) -> None:
    picks = np.random.default_rng(0).integers(0, 3, (9, 7))
    file = save(tmp_path / 'a.png', np.array(list(COLOURS), np.uint8)[picks])
    expected = np.array(list(COLOURS.values()))[picks]
    np.testing.assert_array_equal(colours_to_ids(file, COLOURS), expected)


def test_a_colour_that_is_no_class(tmp_path: Path) -> None:
    pixels = np.full((4, 5, 3), (255, 0, 0), np.uint8)
    pixels[1, :3] = (255, 255, 255)
    file = save(tmp_path / 'a.png', pixels)
    with pytest.raises(ValueError, match=r'a\.png: 3 pixels .* \(255, 255, 255\)'):
        colours_to_ids(file, COLOURS)
    grey = save(tmp_path / 'grey.png', pixels[..., 0])
    with pytest.raises(ValueError, match=r'grey\.png: expected RGB colours, got mode L'):
        colours_to_ids(grey, COLOURS)


def test_ids_that_cannot_be_mapped(tmp_path: Path) -> None:
    wide = save(tmp_path / 'wide.png', np.full((4, 5), 300, np.uint16))
    with pytest.raises(ValueError, match=r'wide\.png: expected ids up to 255, got 300'):
        map_ids(wide, id_map('cityscapes_ids'))
    colours = save(tmp_path / 'colours.png', np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r'colours\.png: expected one channel of ids, got RGB'):
        map_ids(colours, id_map('cityscapes_ids'))
    wide.write_bytes(wide.read_bytes()[:60])
    with pytest.raises(ValueError, match=r'wide\.png: '):
        map_ids(wide, id_map('cityscapes_ids'))


def test_polygons_that_cannot_be_drawn(tmp_path: Path) -> None:
    file = tmp_path / 'a.json'
    content = {'imgWidth': 6, 'imgHeight': 4, 'objects': [{'label': 'tram', 'polygon': [[0, 0]]}]}
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"a\.json: unknown label 'tram'"):
        draw_polygons(file, {'road': 0})
    # A point is no area.
    np.testing.assert_array_equal(draw_polygons(file, {'tram': 0}), np.full((4, 6), 255))
    file.write_text('{}')
    with pytest.raises(ValueError, match=r'a\.json: not a file of polygons'):
        draw_polygons(file, {'road': 0})


@pytest.mark.parametrize(
    ('name', 'column', 'number'),
    [
        ('camvid', None, 11),
        ('camvid_colours', 'all', 31),
        ('idd', None, 26),
        ('nuimages', None, 25),
        ('railsem19', None, 19),
        ('wilddash2', None, 26),
    ],
)
def test_classes(name: str, column: str | None, number: int) -> None:
    info = metainfo(name, column)
    assert len(set(info['classes'])) == len(info['palette']) == number
    assert len({tuple(colour) for colour in info['palette']}) == number


def test_tables_agree() -> None:
    # The classes that a mapping yields are those of its dataset.
    assert set(index_of('idd_labels').values()) == {*range(26), 255}
    assert set(id_map('wilddash2_ids').tolist()) == {*range(26), 255}
    assert set(id_map('cityscapes_ids').tolist()) == {*range(19), 255}
    assert set(id_map('synthia_ids').tolist()) == {*set(range(19)) - {9, 14, 16}, 255} | {
        9, 14, 16,
    }  # fmt: skip
    rows = read_table('camvid_colours')
    assert [int(row['all']) for row in rows if row['name'] != 'Void'] == list(range(31))
    classes = metainfo('camvid')['classes']
    for row in rows:
        grouped, strict = int(row['grouped']), int(row['strict'])
        assert strict in (grouped, 255)
        if strict != 255:
            # Column_Pole is Pole, Sidewalk is Pavement.
            names = {'Column_Pole': 'Pole', 'Sidewalk': 'Pavement'}
            assert classes[strict] == names.get(row['name'], row['name'])
