"""One damaged file neither ends a converter nor hides among the others."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ddf_seg.cli.convert.synthia import read_red_ids

TOOLS = Path(__file__).parents[2] / 'tools/dataset_converters'


def run(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    script = TOOLS / f'{name}.py'
    monkeypatch.setattr(sys, 'argv', [str(script), str(root), '--jobs', '1'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name='__main__')
    assert isinstance(end.value.code, int)
    return end.value.code


def test_camvid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'LabeledApproved_full'
    folder.mkdir()
    names = [f'0001TP_00{6690 + 30 * index}' for index in range(3)]
    for name in names:
        Image.new('RGB', (8, 6), (128, 64, 128)).save(folder / f'{name}_L.png')
    (folder / f'{names[1]}_L.png').write_bytes(b'\x89PNG')
    assert run('camvid', tmp_path, monkeypatch) == 1
    error = capsys.readouterr().err
    assert '3 of 9 files could not be converted' in error
    assert f'{names[1]}_L.png' in error
    for protocol in ('all', 'grouped', 'strict'):
        written = {file.stem for file in (tmp_path / f'labels_{protocol}').iterdir()}
        assert written == {names[0], names[2]}
    assert (tmp_path / 'splits/train.txt').read_text().split() == names


def test_gta5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for index in range(4):
        Image.new('RGB', (8, 6)).save(tmp_path / f'images/{index:05d}.png')
        Image.fromarray(np.full((6, 8), 7, np.uint8)).save(tmp_path / f'labels/{index:05d}.png')
    (tmp_path / 'images/00001.png').write_bytes(b'')
    (tmp_path / 'labels/00002.png').write_bytes(b'no PNG')
    assert run('gta5', tmp_path, monkeypatch) == 1
    output = capsys.readouterr()
    assert '2 of 2 labels written, 2 images left out' in output.out
    assert '2 of them because a file cannot be read, the first: ' in output.err
    assert 'images/00001.png' in output.err
    assert (tmp_path / 'splits/train.txt').read_text() == '00000\n00003\n'


@pytest.mark.parametrize(
    ('content', 'expected'),
    [('{"annotations": [{"file_na', 'not all of it'), ('{"annotations": [{}]}', "'file_name'")],
)
def test_wilddash2_names_its_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    content: str, expected: str,
) -> None:  # fmt: skip
    file = tmp_path / 'panoptic.json'
    file.write_text(content)
    assert run('wilddash2', tmp_path, monkeypatch) == 1
    error = capsys.readouterr().err
    assert error.startswith(f'error: {file}: ')
    assert expected in error


def test_nuimages_names_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'v1.0-train'
    folder.mkdir()
    for name in ('category', 'sample_data', 'surface_ann', 'object_ann'):
        (folder / f'{name}.json').write_text(json.dumps([{'token': 'a'}]))
    assert run('nuimages', tmp_path, monkeypatch) == 1
    assert capsys.readouterr().err.startswith(f'error: {folder}: not the tables of nuImages: ')
    (folder / 'sample_data.json').write_text('[{"token":')
    assert run('nuimages', tmp_path, monkeypatch) == 1
    assert f'error: {folder / "sample_data.json"}: no JSON' in capsys.readouterr().err


def test_synthia_reads_names_that_are_not_utf_8(tmp_path: Path) -> None:
    label = np.zeros((4, 5, 3), np.uint16)
    label[..., 2] = 3
    file = tmp_path / b'caf\xe9.png'.decode('utf-8', 'surrogateescape')
    file.write_bytes(cv2.imencode('.png', label)[1].tobytes())
    # Road
    assert np.array_equal(read_red_ids(file), np.zeros((4, 5)))
