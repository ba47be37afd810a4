from __future__ import annotations

import csv
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tool_runs import TOOLS

from ddf_seg.engine.tools import show_usage_errors
from ddf_seg.synthetic import CLASSES as SYNTHETIC_CLASSES
from ddf_seg.synthetic import render_scene

spec = importlib.util.spec_from_file_location('predict', TOOLS / 'predict.py')
assert spec is not None
assert spec.loader is not None
predict: Any = importlib.util.module_from_spec(spec)
sys.modules['predict'] = predict
spec.loader.exec_module(predict)

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    roads: Path,
    trained: Path,
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    def run(
        source: object, *options: object, config: object = '', checkpoint: object = ''
    ) -> tuple[int, str]:
        files = [config or roads / 'config.py', checkpoint or trained / 'iter_4.pth', source]
        arguments = [*files, '--out-dir', tmp_path / 'out', '--device', 'cpu', *options]
        monkeypatch.setattr(sys, 'argv', ['predict', *map(str, arguments)])
        capsys.readouterr()
        code = show_usage_errors(predict.main)
        return code, capsys.readouterr().err

    return run


def write_image(path: Path, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), image)
    return image


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def read_palette(folder: Path) -> tuple[list[str], np.ndarray]:
    with open(folder / 'classes.csv', newline='') as table:
        rows = list(csv.DictReader(table))
    assert [int(row['id']) for row in rows] == list(range(len(rows)))
    colours = [[int(row[name]) for name in ('blue', 'green', 'red')] for row in rows]
    return [row['name'] for row in rows], np.array(colours)


def test_an_image(tmp_path: Path, run: Run) -> None:
    image = write_image(tmp_path / 'street.png')
    code, error = run(tmp_path / 'street.png', '--opacity', 0.25)
    assert code == 0, error
    out = tmp_path / 'out'
    ids = read(out / 'ids' / 'street.png')
    assert ids.shape == (64, 128)
    assert ids.dtype == np.uint8
    names, palette = read_palette(out)
    assert names[:2] == ['road', 'sidewalk']
    assert palette[0].tolist() == [128, 64, 128]
    expected = 0.75 * image + 0.25 * palette[ids]
    np.testing.assert_allclose(read(out / 'overlays' / 'street.png'), expected, atol=1)


def test_a_folder_with_files_that_cannot_be_read(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / 'in'
    write_image(folder / 'a.png')
    write_image(folder / 'twice.png', 1)
    write_image(folder / 'twice.bmp', 2)
    write_image(folder / 'town' / 'last.JPG')
    (folder / 'broken.jpg').write_text('no image')
    (folder / 'empty.png').touch()
    (folder / 'broken.mp4').write_text('no video')
    (folder / 'readme.txt').write_text('not asked for')
    code, error = run(folder)
    assert code == 1
    assert '3 of 7 inputs could not be read' in error
    for name in ('broken.jpg', 'empty.png', 'broken.mp4'):
        assert f'{folder / name}: not a' in error
    for kind in ('ids', 'overlays'):
        root = tmp_path / 'out' / kind
        files = {str(path.relative_to(root)) for path in root.rglob('*.png')}
        assert files == {'a.png', 'twice.png.png', 'twice.bmp.png', 'town/last.png'}


def write_video(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 12.0, (128, 64))
    assert writer.isOpened()
    for index in range(frames):
        writer.write(np.random.default_rng(index).integers(0, 256, (64, 128, 3), dtype=np.uint8))
    writer.release()


def test_a_video(tmp_path: Path, run: Run) -> None:
    write_video(tmp_path / 'drive.avi', 4)
    code, error = run(tmp_path / 'drive.avi')
    assert code == 0, error
    ids = sorted((tmp_path / 'out' / 'ids' / 'drive').iterdir())
    assert [file.name for file in ids] == [f'{index:06d}.png' for index in range(4)]
    overlay = cv2.VideoCapture(str(tmp_path / 'out' / 'overlays' / 'drive.mp4'))
    assert overlay.get(cv2.CAP_PROP_FPS) == 12
    frames = 0
    while overlay.read()[0]:
        frames += 1
    assert frames == 4


def test_a_video_that_ends_early(tmp_path: Path, run: Run) -> None:
    path = tmp_path / 'drive.avi'
    write_video(path, 8)
    with open(path, 'r+b') as file:
        file.truncate(path.stat().st_size // 2)
    code, error = run(path)
    assert code == 1
    found = re.search(r'only (\d) of (\d+) frames could be decoded', error)
    assert found is not None, error
    assert len(list((tmp_path / 'out' / 'ids' / 'drive').iterdir())) == int(found[1])


def test_classes_that_nobody_names(tmp_path: Path, roads: Path, trained: Path, run: Run) -> None:
    write_image(tmp_path / 'street.png')
    checkpoint = torch.load(trained / 'iter_4.pth', weights_only=True)
    torch.save({'state_dict': checkpoint['state_dict']}, tmp_path / 'bare.pth')
    # The config's dataset names them.
    code, error = run(tmp_path / 'street.png', checkpoint=tmp_path / 'bare.pth')
    assert code == 0, error
    assert 'note:' not in error
    assert read_palette(tmp_path / 'out')[0][0] == 'road'
    config = tmp_path / 'config.py'
    text = (roads / 'config.py').read_text()
    config.write_text(text + "test_dataloader = dict(dataset=dict(type='BaseSegDataset'))\n")
    code, error = run(tmp_path / 'street.png', config=config, checkpoint=tmp_path / 'bare.pth')
    assert code == 0, error
    assert 'neither checkpoint nor config name 19 classes' in error
    names, palette = read_palette(tmp_path / 'out')
    assert names[0] == '0'
    assert len(np.unique(palette, axis=0)) == 19


def test_mistakes_end_with_one_message(tmp_path: Path, trained: Path, run: Run) -> None:
    street = tmp_path / 'street.png'
    write_image(street)
    (tmp_path / 'nothing').mkdir()
    (tmp_path / 'file').touch()
    cut = tmp_path / 'cut.pth'
    cut.write_bytes((trained / 'iter_4.pth').read_bytes()[:5000])
    cases = [
        (run(tmp_path / 'no.png'), r'INPUT .*no\.png does not exist'),
        (run(tmp_path / 'nothing'), 'nothing holds no image or video'),
        (run(street, '--device', 'cuda:77'), '--device cuda:77 is not available.*--device cpu'),
        (run(street, '--device', 'gpu'), '--device gpu is not available'),
        (run(street, checkpoint='no.pth'), r'CHECKPOINT: checkpoint no\.pth does not exist'),
        (run(street, checkpoint=cut), r'cut\.pth \(5000 bytes\) cannot be read'),
        (run(street, config='no.py'), r'no\.py does not exist'),
        (run(street, '--cfg-options', 'model.decode_head.num_conv=1'), 'did you mean .num_convs'),
        (run(street, '--cfg-options', 'model.decode_head.channels=5'), r'expected \(19, 5, 1, 1\)'),
        (run(street, '--out-dir', tmp_path / 'file' / 'out'), '--out-dir: .*Not a directory'),
    ]
    for (code, error), expected in cases:
        assert code == 1
        message = error.partition('error: ')[2]
        assert re.search(expected, message), error
        assert 'Traceback' not in message
    with pytest.raises(SystemExit):
        run(street, '--opacity', 2)


def test_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network of the repository on drawn scenes, whose labels the drawing knows.

    It was trained on photographs; what is asked for is far above what one class everywhere scores.
    """
    monkeypatch.setattr(predict, 'DEMO_SCENES', 2)
    monkeypatch.setattr(sys, 'argv', ['predict', '--demo', '--out-dir', str(tmp_path)])
    assert show_usage_errors(predict.main) == 0
    assert '2 of 2 inputs segmented' in capsys.readouterr().out
    names, palette = read_palette(tmp_path)
    assert len(names) == len(palette) == 11
    same = {
        'Sky': 'sky',
        'Building': 'building',
        'Road': 'road',
        'Tree': 'vegetation',
        'Car': 'car',
    }
    for seed in range(2):
        image, label = render_scene(seed, (360, 480))
        np.testing.assert_array_equal(read(tmp_path / 'scenes' / f'{seed}.png'), image)
        ids = read(tmp_path / 'ids' / f'{seed}.png')
        truth = np.full(label.shape, 255)
        for ours, drawn in same.items():
            truth[label == SYNTHETIC_CLASSES.index(drawn)] = names.index(ours)
        counted = truth != 255
        accuracy = (ids == truth)[counted].mean()
        assert accuracy > 0.75, (seed, accuracy)


def test_demo_takes_no_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (['--demo', 'config.py'], '--demo: expected no further file, got config'),
        (['config.py'], 'required: checkpoint, input (or --demo)'),
    ):
        monkeypatch.setattr(sys, 'argv', ['predict', *arguments])
        with pytest.raises(SystemExit):
            predict.parse_args()
        assert message in capsys.readouterr().err
