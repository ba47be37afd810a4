from __future__ import annotations

import csv
import errno
import io
import itertools
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from ddf_seg.cli import predict
from ddf_seg.command_line import show_usage_errors
from ddf_seg.engine.config_file import read_config
from ddf_seg.engine.images.reading import ImageReader
from ddf_seg.engine.predicting import background, pytorch, results, videos
from ddf_seg.engine.predicting.backend import segment_view
from ddf_seg.engine.predicting.network import find_classes, load_model
from ddf_seg.engine.predicting.predictor import Predictor
from ddf_seg.engine.predicting.pytorch import PyTorchBackend
from road_scenes import CLASSES as SYNTHETIC_CLASSES
from road_scenes import render_scene

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


def test_how_it_is_drawn(tmp_path: Path, run: Run) -> None:
    image = write_image(tmp_path / 'street.png')
    options = ['--opacity', 1, '--palette', 'clear', '--only', 'Road', 'sky', '--legend']
    code, error = run(tmp_path / 'street.png', *options)
    assert code == 0, error
    out = tmp_path / 'out'
    ids = read(out / 'ids' / 'street.png')
    names, palette = read_palette(out)
    drawn = read(out / 'overlays' / 'street.png')
    assert len(drawn) > 64
    chosen = np.isin(ids, [names.index('road'), names.index('sky')])
    expected = np.where(chosen[..., None], palette[ids], image)
    assert (drawn[:64] == expected).all()
    assert palette[0].tolist() != [128, 64, 128]
    code, error = run(tmp_path / 'street.png', '--only', 'roads')
    assert code == 1
    assert '--only roads: expected some of road, sidewalk' in error


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
    assert '3 of 7 inputs could not be segmented' in error
    for name, why in (
        ('broken.jpg', 'damaged, cut off, or no image'),
        ('empty.png', 'empty file'),
        ('broken.mp4', 'not a video'),
    ):
        assert f'{folder / name}: {why}' in error
    for kind in ('ids', 'overlays'):
        root = tmp_path / 'out' / kind
        files = {str(path.relative_to(root)) for path in root.rglob('*.png')}
        assert files == {'a.png', 'twice.png.png', 'twice.bmp.png', 'town/last.png'}


def write_video(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
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


def test_a_photo_that_says_how_to_turn_it(tmp_path: Path, run: Run) -> None:
    """Shown and predicted as the config's loading has it, as it was in training."""
    scene = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    image = Image.fromarray(scene[..., ::-1])
    exif = image.getexif()
    exif[0x112] = 6
    image.save(tmp_path / 'photo.png', exif=exif)
    write_image(tmp_path / 'turned.png')
    assert cv2.imwrite(str(tmp_path / 'turned.png'), np.rot90(scene, -1))
    assert run(tmp_path / 'turned.png', '--opacity', 0)[0] == 0
    assert run(tmp_path / 'photo.png', '--opacity', 0)[0] == 0
    out = tmp_path / 'out'
    np.testing.assert_array_equal(read(out / 'overlays' / 'photo.png'), np.rot90(scene, -1))
    turned = read(out / 'ids' / 'turned.png')
    assert turned.shape == (128, 64)
    np.testing.assert_array_equal(read(out / 'ids' / 'photo.png'), turned)
    ignoring = 'test_dataloader.dataset.pipeline.0.color_type=color_ignore_orientation'
    code, error = run(tmp_path / 'photo.png', '--opacity', 0, '--cfg-options', ignoring)
    assert code == 0, error
    np.testing.assert_array_equal(read(out / 'overlays' / 'photo.png'), scene)
    assert read(out / 'ids' / 'photo.png').shape == (64, 128)


SIZES = """
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='RandomResize', scale=(128, 64), ratio_range=(0.5, 2.0), keep_ratio=True)]))
"""


def test_images_far_larger_than_those_of_the_training(
    tmp_path: Path, roads: Path, run: Run
) -> None:
    config = tmp_path / 'sized.py'
    config.write_text(f"_base_ = '{roads / 'config.py'}'\n{SIZES}")
    folder = tmp_path / 'in'
    small = write_image(folder / 'a_small.png')
    large = np.kron(small, np.ones((8, 8, 1), np.uint8))
    for name in ('large.png', 'larger.png'):
        assert cv2.imwrite(str(folder / name), large)
    code, error = run(folder, config=config)
    assert code == 0, error
    warning = f'warning: {folder / "large.png"} reaches the network with 1024×512 pixels'
    assert error.count('warning: ') == 1
    assert warning in error
    assert 'had 128×64 pixels, times 0.5 to 2' in error
    assert 'try --scale 0.12' in error
    code, error = run(folder / 'large.png', '--scale', 0.125, config=config)
    assert code == 0, error
    assert 'warning: ' not in error
    ids = read(tmp_path / 'out' / 'ids' / 'large.png')
    assert ids.shape == (512, 1024)
    # Shrunk, it is the small one, enlarged.
    assert run(folder / 'a_small.png', config=config)[0] == 0
    expected = np.kron(read(tmp_path / 'out' / 'ids' / 'a_small.png'), np.ones((8, 8), np.uint8))
    inner = np.s_[4::8, 4::8]
    assert (ids[inner] == expected[inner]).mean() > 0.95
    with pytest.raises(SystemExit):
        run(folder, '--scale', 0)


def test_a_shorter_video_leaves_no_frames_of_a_longer_one(tmp_path: Path, run: Run) -> None:
    for frames in (4, 2):
        write_video(tmp_path / 'drive.avi', frames)
        code, error = run(tmp_path / 'drive.avi')
        assert code == 0, error
        found = sorted(file.name for file in (tmp_path / 'out' / 'ids' / 'drive').iterdir())
        assert found == [f'{index:06d}.png' for index in range(frames)]


def network_of(roads: Path, trained: Path, scale: float = 1.0, **settings: Any) -> PyTorchBackend:
    cfg = read_config(str(roads / 'config.py'), None)
    cfg.merge_from_dict(settings)
    network = load_model(cfg, str(trained / 'iter_4.pth'), 'cpu', scale)
    # Four iterations leave it in doubt everywhere.
    network.model.decode_head.conv_seg.weight.data *= 300
    return PyTorchBackend(network, find_classes(network.meta, cfg, 19))


@pytest.mark.parametrize('scale', [1.0, 0.5, 1.7])
def test_a_view_is_what_mmseg_sees(
    environment: dict[str, str], roads: Path, trained: Path, scale: float
) -> None:
    """A single window, from preparation to class ids, is what mmseg's own inference gives."""
    backend = network_of(roads, trained, scale)
    view = backend.view(np.random.default_rng(0).integers(0, 256, (65, 97, 3), dtype=np.uint8))
    one, whole = segment_view(view, None, True), backend.segment([view], True)[0]
    assert one.ids.shape == (65, 97)
    assert (one.ids == whole.ids).mean() > 0.999
    assert np.abs(one.doubt.astype(int) - whole.doubt).max() <= 1
    assert whole.doubt.std() > 10


def test_windows(tmp_path: Path, run: Run) -> None:
    """Of a network that sees 40 pixels or so, which the pixels that do not count cannot cover."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (320, 192), interpolation=cv2.INTER_CUBIC)
    assert cv2.imwrite(str(tmp_path / 'a.png'), image)
    assert run(tmp_path / 'a.png')[0] == 0
    whole = read(tmp_path / 'out' / 'ids' / 'a.png')
    for show in ('classes', 'doubt'):
        code, error = run(tmp_path / 'a.png', '--tile', 128, '--overlap', 64, '--show', show)
        assert code == 0, error
        assert (read(tmp_path / 'out' / 'ids' / 'a.png') == whole).mean() > 0.98


def test_windows_of_the_config(environment: dict[str, str], roads: Path, trained: Path) -> None:
    """Where mmseg slides a window, a large image gets the same windows."""
    slide = dict(mode='slide', crop_size=(64, 64), stride=(48, 40))
    backend = network_of(roads, trained, **{'model.test_cfg': slide})
    assert backend.tiles(None, None) == ((64, 64), (16, 24))
    assert backend.tiles([], 8) == ((64, 64), (8, 8))
    assert backend.tiles([32], None) == ((32, 32), (4, 4))
    view = backend.view(np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8))
    needed, available = backend.memory(view, 1)
    assert 0 < needed < available


def test_an_image_that_does_not_fit_into_memory(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('a.png', 'b.png'):
        write_image(tmp_path / 'in' / name)
    monkeypatch.setattr(pytorch, 'available_memory', lambda: 1000)
    code, error = run(tmp_path / 'in')
    assert code == 0, error
    assert error.count('note: ') == 1
    assert 'a.png has 128×64 pixels. Seen whole, it would take about 0 GB' in error
    assert (tmp_path / 'out' / 'ids' / 'b.png').exists()


def test_images_that_do_not_fit_into_memory_together(
    environment: dict[str, str], roads: Path, trained: Path
) -> None:
    backend = network_of(roads, trained)
    view = backend.view(np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8))
    # 1000 bytes a pixel, and 8 for each pixel and class
    assert [backend.memory(view, n)[0] for n in (1, 3)] == [n * 64 * 128 * 1152 for n in (1, 3)]


def test_a_scale_beyond_all_measure(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path / 'street.png')
    code, error = run(tmp_path / 'street.png', '--scale', 1000)
    assert code == 1
    assert '1 of 1 input could not be segmented:' in error
    assert (
        '--scale 1000 would make 128000×64000 pixels of its 128×64: expected at most 1,0' in error
    )


def test_large_pictures_are_read_one_by_one(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('a.png', 'b.png', 'c.png'):
        write_image(tmp_path / 'in' / name)
    done: list[str] = []
    read_file, segment = ImageReader.__call__, PyTorchBackend.segment

    def note_reading(self: ImageReader, file: Path) -> Any:
        done.append(file.stem)
        return read_file(self, file)

    def note_segmenting(*arguments: Any) -> Any:
        done.append('segmented')
        return segment(*arguments)

    monkeypatch.setattr(ImageReader, '__call__', note_reading)
    monkeypatch.setattr(PyTorchBackend, 'segment', note_segmenting)
    # A picture of 128×64 has 24,576 bytes.
    monkeypatch.setattr(background, 'ROOM', 30_000)
    code, error = run(tmp_path / 'in')
    assert code == 0, error
    assert done == ['a', 'segmented', 'b', 'segmented', 'c', 'segmented']


def test_several_at_once(tmp_path: Path, run: Run) -> None:
    for index in range(5):
        write_image(tmp_path / 'in' / f'{index}.png', index)
    assert cv2.imwrite(str(tmp_path / 'in' / '1b.png'), np.zeros((50, 70, 3), np.uint8))
    write_video(tmp_path / 'in' / 'drive.avi', 5)
    results = []
    for size in (1, 2):
        code, error = run(tmp_path / 'in', '--batch-size', size)
        assert code == 0, error
        assert re.search(r'drive\.avi: 5 frames in [\d.]+ s, [\d.]+ a second', error)
        files = sorted((tmp_path / 'out' / 'ids').rglob('*.png'))
        results.append([read(file) for file in files])
        assert len(files) == 11
    for one, two in zip(*results, strict=True):
        assert (one == two).mean() > 0.999


@pytest.mark.parametrize('size', [(64, 128), (61, 83)])
def test_class_ids_as_a_lossless_video(tmp_path: Path, run: Run, size: tuple[int, int]) -> None:
    writer = cv2.VideoWriter(
        str(tmp_path / 'drive.avi'), cv2.VideoWriter.fourcc(*'MJPG'), 12.0, size[::-1]
    )
    for index in range(4):
        writer.write(np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8))
    writer.release()
    ids = tmp_path / 'out' / 'ids'
    assert run(tmp_path / 'drive.avi')[0] == 0
    frames = [read(file) for file in sorted((ids / 'drive').iterdir())]
    assert len(frames) == 4
    assert frames[0].max() > 0
    code, error = run(tmp_path / 'drive.avi', '--ids-video')
    assert code == 0, error
    assert not (ids / 'drive').exists()
    video = cv2.VideoCapture(str(ids / 'drive.mkv'))
    for expected in frames:
        found, frame = video.read()
        assert found
        height, width = expected.shape
        np.testing.assert_array_equal(frame[:height, :width], expected[..., None].repeat(3, 2))
    assert not video.read()[0]
    # And back: PNGs, and no video of another run beside them. A legend makes the overlay higher.
    code, error = run(tmp_path / 'drive.avi', '--legend')
    assert code == 0, error
    assert not (ids / 'drive.mkv').exists()
    found, frame = cv2.VideoCapture(str(tmp_path / 'out' / 'overlays' / 'drive.mp4')).read()
    assert found
    assert len(frame) > size[0] + 10


@pytest.mark.parametrize('where', ['overlay', 'segment', 'view'])
def test_an_error_within_a_video_ends_it(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Whichever thread it is in; what is finished stays, and the next input gets its turn."""
    write_video(tmp_path / 'in' / 'drive.avi', 12)
    write_image(tmp_path / 'in' / 'z.png')
    kind = Predictor if where == 'overlay' else PyTorchBackend
    work, calls = getattr(kind, where), itertools.count(1)

    def fail(*arguments: Any) -> Any:
        if next(calls) == 3:
            raise RuntimeError('no more')
        return work(*arguments)

    monkeypatch.setattr(kind, where, fail)
    code, error = run(tmp_path / 'in')
    assert code == 1
    assert error.endswith('1 of 2 inputs could not be segmented:\n  '
                          f'{tmp_path / "in" / "drive.avi"}: RuntimeError: no more\n')  # fmt: skip
    assert (tmp_path / 'out' / 'ids' / 'z.png').exists()
    assert not [t for t in threading.enumerate() if t.name.startswith(('read', 'write'))]


@pytest.mark.parametrize(
    ('rate', 'written'),
    [
        *((25.0, 25.0), (29.97, 29.97), (23.976, 23.976), (66.667, 66.67), (119.88, 119.88)),
        *((1000.0, 1000.0), (655.361, 655.4), (0.0, 25.0), (float('nan'), 25.0), (1e6, 25.0)),
        *((0.01, 0.01), (1e-4, 25.0), (-1.0, 25.0)),
    ],
)
def test_every_frame_rate_can_be_encoded(tmp_path: Path, rate: float, written: float) -> None:
    assert videos.encodable_rate(rate) == pytest.approx(written)
    with videos._writing(tmp_path / 'x.mp4', rate, (16, 16)) as writer:
        for _ in range(3):
            writer.write(np.zeros((16, 16, 3), np.uint8))
    video = cv2.VideoCapture(str(tmp_path / 'x.mp4'))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(written, rel=1e-3)
    assert [file.name for file in tmp_path.iterdir()] == ['x.mp4']


def test_one_video_that_cannot_be_encoded_does_not_end_the_run(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / 'in' / 'z.png')
    write_video(tmp_path / 'in' / 'drive.avi', 2)
    monkeypatch.setattr(videos, 'encodable_rate', lambda _: 66.667)
    code, error = run(tmp_path / 'in')
    assert code == 1
    assert '1 of 2 inputs could not be segmented' in error
    assert 'drive.avi: OpenCV cannot encode its overlay' in error
    assert '--out-dir' not in error
    assert (tmp_path / 'out' / 'ids' / 'z.png').exists()


def test_names_that_are_no_text(tmp_path: Path, run: Run) -> None:
    """OpenCV crashes on them."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b'/in/d\xe9'))
    folder.mkdir(parents=True)
    write_image(tmp_path / 'x.png')
    write_video(tmp_path / 'x.avi', 2)
    (tmp_path / 'x.png').rename(folder / os.fsdecode(b'caf\xe9.png'))
    (tmp_path / 'x.avi').rename(folder / os.fsdecode(b'caf\xe9.avi'))
    code, error = run(tmp_path / 'in')
    assert code == 0, error
    results = [os.fsencode(file) for file in (tmp_path / 'out').rglob('*') if file.is_file()]
    for name in (b'caf\xe9.png', b'caf\xe9/000001.png', b'caf\xe9.mp4'):
        assert any(file.endswith(b'/d\xe9/' + name) for file in results), results


def test_an_image_too_large_for_the_memory(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('a.png', 'b.png', 'c.png', 'd.png'):
        write_image(tmp_path / 'in' / name)
    segment = PyTorchBackend.segment
    calls = iter([None, lambda: torch.empty(2**60), lambda: np.empty(2**45), None])

    def segment_or_fail(*arguments: Any) -> Any:
        allocate = next(calls)
        if allocate:
            allocate()
        return segment(*arguments)

    monkeypatch.setattr(PyTorchBackend, 'segment', segment_or_fail)
    code, error = run(tmp_path / 'in')
    assert code == 1
    assert '2 of 4 inputs could not be segmented' in error
    for name in ('b.png', 'c.png'):
        assert f'{name}: too large for the memory' in error
    assert (tmp_path / 'out' / 'ids' / 'd.png').exists()


def test_an_error_of_one_image_does_not_end_the_run(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('a.png', 'b.png'):
        write_image(tmp_path / 'in' / name)
    load = ImageReader.__call__

    def fail(self: ImageReader, file: Path) -> Any:
        if file.name == 'a.png':
            raise RuntimeError('kernel larger than the image\nand more')
        return load(self, file)

    monkeypatch.setattr(ImageReader, '__call__', fail)
    code, error = run(tmp_path / 'in')
    assert code == 1
    assert error.endswith('a.png: RuntimeError: kernel larger than the image\n')
    assert (tmp_path / 'out' / 'ids' / 'b.png').exists()


def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('a.png', 'b.png', 'c.png'):
        write_image(tmp_path / 'in' / name)
    write, write_bytes = results.write_png, Path.write_bytes
    # Each thread's: which files find no room must not depend on which thread is first.
    disk = threading.local()

    def write_here(path: Path, image: np.ndarray) -> None:
        disk.is_full = path.name != 'a.png'
        write(path, image)

    def fill(path: Path, content: bytes) -> int:
        if getattr(disk, 'is_full', False):
            write_bytes(path, content[:10])
            raise OSError(errno.ENOSPC, 'No space left on device')
        return write_bytes(path, content)

    monkeypatch.setattr(results, 'write_png', write_here)
    monkeypatch.setattr(Path, 'write_bytes', fill)
    code, error = run(tmp_path / 'in')
    assert code == 1
    message = error.partition('error: ')[2]
    assert re.match(
        r'--out-dir: No space left on device, .*b\.png is not written; 1 of 3 i', message
    )
    files = {str(file.relative_to(tmp_path / 'out')) for file in (tmp_path / 'out').rglob('*.*')}
    assert files == {'classes.csv', 'ids/a.png', 'overlays/a.png'}


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ctrl-C while an image is predicted."""
    segment = PyTorchBackend.segment
    calls = itertools.count(1)

    def segment_or_stop(*arguments: Any) -> Any:
        if next(calls) == number:
            signal.raise_signal(signal.SIGINT)
        return segment(*arguments)

    monkeypatch.setattr(PyTorchBackend, 'segment', segment_or_stop)


def test_ctrl_c_keeps_what_is_finished(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / 'a.png').write_text('no image')
    for name in ('b.png', 'c.png', 'd.png'):
        write_image(tmp_path / 'in' / name)
    interrupt_at(monkeypatch, 2)
    code, error = run(tmp_path / 'in')
    assert code == 130
    message = f'interrupted, 1 of 4 inputs done, see {tmp_path / "out"}\nfailed before:\n  '
    assert message in error
    assert 'a.png: damaged, cut off, or no image' in error
    assert 'Traceback' not in error
    assert {file.name for file in (tmp_path / 'out' / 'ids').iterdir()} == {'b.png'}


def test_ctrl_c_in_a_video_keeps_its_frames(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / 'drive.avi', 6)
    assert run(tmp_path / 'drive.avi')[0] == 0
    interrupt_at(monkeypatch, 4)
    code, error = run(tmp_path / 'drive.avi')
    assert code == 130
    message = f'interrupted, 0 of 1 input done (and 3 of 6 frames of {tmp_path / "drive.avi"}), see'
    assert message in error
    out = tmp_path / 'out'
    assert len(list((out / 'ids' / 'drive').iterdir())) == 3
    assert [file.name for file in (out / 'overlays').iterdir()] == ['drive.mp4']
    video = cv2.VideoCapture(str(out / 'overlays' / 'drive.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_results_are_neither_inputs_nor_written_over_them(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / 'out'
    write_image(folder / 'a.png')
    for _ in range(2):
        code, error = run(folder)
        assert code == 0, error
        files = {str(file.relative_to(folder)) for file in folder.rglob('*.png')}
        assert files == {'a.png', 'ids/a.png', 'overlays/a.png'}
    assert f'note: {folder}/ids and 1 more left out: results of an earlier run' in error
    before = read(folder / 'overlays' / 'a.png')
    for source in (folder / 'overlays', folder / 'overlays' / 'a.png'):
        code, error = run(source)
        assert code == 1
        message = error.partition('error: ')[2]
        assert f'{folder}/overlays/a.png is an input, and a result would be written' in message
    np.testing.assert_array_equal(read(folder / 'overlays' / 'a.png'), before)


def test_what_is_no_result_is_not_written_over(tmp_path: Path, run: Run) -> None:
    street = tmp_path / 'street.png'
    write_image(street)
    for name in ('classes.csv', 'ids/street.png', 'overlays/other.png'):
        own = tmp_path / 'out' / name
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text('mine')
        code, error = run(street)
        assert code == 1
        assert 'exists, but not from an earlier run' in error
        assert own.read_text() == 'mine'
        shutil.rmtree(tmp_path / 'out')


def test_a_checkpoint_of_another_model_is_told_in_a_line(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mmengine would list every key first."""
    write_image(tmp_path / 'street.png')
    torch.save({'state_dict': {f'k{i}': torch.ones(1) for i in range(500)}}, tmp_path / 'other.pth')
    output = io.StringIO()
    monkeypatch.setattr(sys, 'stdout', output)
    code, error = run(tmp_path / 'street.png', checkpoint=tmp_path / 'other.pth')
    assert code == 1
    assert 'is of another model than the config describes: it lacks ' in error
    assert 'k499' not in error + output.getvalue()
    assert len(error.partition('error: ')[2]) < 300


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
        (
            run(street, '--out-dir', tmp_path / 'file' / 'out'),
            r'--out-dir.* below .*file, which is a file',
        ),
        (
            run(street, '--out-dir', tmp_path / 'file'),
            r'--out-dir: expected a folder, but .*file is a file',
        ),
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


def test_demo_overwrites_no_picture_of_yours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write_image(tmp_path / 'scenes' / '0.png')
    monkeypatch.setattr(predict, 'DEMO_SCENES', 1)
    monkeypatch.setattr(sys, 'argv', ['predict', '--demo', '--out-dir', str(tmp_path)])
    assert show_usage_errors(predict.main) == 1
    assert '0.png is there and is not the scene' in capsys.readouterr().err
    np.testing.assert_array_equal(read(tmp_path / 'scenes' / '0.png'), before)


def test_demo_takes_no_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (['--demo', 'config.py'], '--demo: expected no further file, got config.py'),
        (['config.py'], 'required: checkpoint, input (or --demo)'),
    ):
        monkeypatch.setattr(sys, 'argv', ['predict', *arguments])
        with pytest.raises(SystemExit):
            predict.parse_args()
        error = capsys.readouterr().err
        assert message in error
        # How it is called stands above, in a line for each way.
        assert error.count('\n') == 4
        assert 'predict [-h] [options] network.onnx input\n' in error
