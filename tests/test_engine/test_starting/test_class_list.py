"""Tables of classes in the forms that people have."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ddf_seg.annotations.masks import Masks
from ddf_seg.engine.starting.class_list import Classes, Row, choose_classes, read_classes
from ddf_seg.engine.starting.writing import class_table
from ddf_seg.errors import UsageError

ROAD = Row('road', None, (128, 64, 128))
LIGHT = Row('traffic light', None, (250, 170, 30))


@pytest.mark.parametrize(
    ('name', 'text', 'rows'),
    [
        ('classes.txt', 'road\ntraffic light\n', [Row('road'), Row('traffic light')]),
        ('classes.txt', 'road 128 64 128\ntraffic light 250 170 30', [ROAD, LIGHT]),
        ('label_colors.txt', '128 64 128\troad\n250 170 30\ttraffic light\n', [ROAD, LIGHT]),
        (
            'labelmap.txt',
            '# label:color_rgb:parts:actions\nroad:128,64,128::\ntraffic light:250,170,30::\n',
            [ROAD, LIGHT],
        ),
        (
            'class_dict.csv',
            'name,r,g,b\nroad,128,64,128\ntraffic light,250,170,30\n',
            [ROAD, LIGHT],
        ),
        (
            'classes.csv',
            '\ufeffid,name\n7,road\n11,traffic light\n',
            [Row('road', 7), Row('traffic light', 11)],
        ),
    ],
)
def test_tables(tmp_path: Path, name: str, text: str, rows: list[Row]) -> None:
    (tmp_path / name).write_text(text, encoding='utf-8')
    found, source = read_classes([], tmp_path)
    assert found == rows
    assert source == str(tmp_path / name)
    assert read_classes([str(tmp_path / name)], Path())[0] == rows


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', 'got none'),
        ('road 1 2 3\ncar 1 2 3', 'occurs twice'),
        ('road 1 2 300', 'go up to 255'),
        ('name,id\nroad,x', 'road'),
    ],
)
def test_damaged_tables(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / 'classes.csv'
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_classes([], tmp_path)


def test_a_table_that_is_written_can_be_read_again(tmp_path: Path) -> None:
    rows = [Row('Fußweg, 2" breit', 0, (1, 2, 3)), Row('road', 1, (4, 5, 6))]
    colours = [row.colour for row in rows if row.colour]
    table = class_table(Classes([row.name for row in rows], colours, {}, []))
    file = tmp_path / 'classes.csv'
    file.write_text(table, encoding='utf-8')
    assert read_classes([str(file)], Path())[0] == rows


@pytest.mark.parametrize(
    ('names', 'ignore'),
    [(['road', 'void'], []), (['road', 'rest'], ['rest']), (['rest', 'road'], ['255'])],
)
def test_void_in_masks_of_0_and_255_is_no_class(names: list[str], ignore: list[str]) -> None:
    masks = Masks({}, False, Counter({0: 30, 255: 10}), {})
    rows = [Row(name) for name in names]
    with pytest.raises(UsageError, match='expected 2 to 255 classes, got 1:\n  0 '):
        choose_classes(masks, rows, '--classes', ignore, None)


def test_ids_of_ignored_classes_are_those_that_the_table_gives() -> None:
    masks = Masks({}, False, Counter({7: 30, 8: 20, 9: 10, 1: 5}), {})
    rows = [Row('road', 7), Row('void', 8), Row('kerb', 9), Row('car', 1)]
    found = choose_classes(masks, rows, 'a table', ['car'], None)
    assert found.names == ['road', 'kerb']
    assert found.indices == {7: 0, 9: 1, 8: 255, 1: 255}
