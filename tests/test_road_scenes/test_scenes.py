"""The synthetic road scenes, and the tool that writes them to disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from ddf_seg.cli import scenes
from ddf_seg.command_line import show_usage_errors
from road_scenes import (
    CLASSES,
    IGNORE,
    PALETTE,
    View,
    colourise,
    dataset,
    render_scene,
    render_with_depth,
)

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/dataset_converters/synthetic_scenes.py'
SIZE = (256, 512)
Run = Callable[..., tuple[int, str, str]]
POLE, ROAD = CLASSES.index('pole'), CLASSES.index('road')


@pytest.fixture(scope='module')
def val_labels() -> np.ndarray:
    """Labels of the default validation split, (40, H, W)."""
    return np.stack([render_scene(dataset.scene_seed(0, 'val', i), SIZE)[1] for i in range(40)])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: exit code, stdout and stderr."""

    def run(out: Path, train: int, val: int, *more: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, 'argv', _command(out, train, val, *more)[1:])
        capsys.readouterr()
        return show_usage_errors(scenes.main), *capsys.readouterr()

    return run


def _command(out: Path, train: int, val: int, *more: str) -> list[str]:
    counts = ['--train', str(train), '--val', str(val), '--size', '64', '128']
    return [sys.executable, str(TOOL), '--out', str(out), *counts, *more]


def _env() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get('PYTHONPATH'))))
    return os.environ | {'PYTHONPATH': path}


def pictures(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob('*.png'))}


def made_here(out: Path, train: int, val: int) -> dict[str, bytes]:
    """The same data set, written by this process alone."""
    dataset.prepare(out, {})
    for split, count in (('train', train), ('val', val)):
        for index in range(count):
            dataset.write_scene((split, index), out, (64, 128), 0)
    return pictures(out)


# Pictures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', [(256, 512), (97, 141), (512, 512)])
def test_sizes_types_and_ids(size: tuple[int, int]) -> None:
    image, label = render_scene(11, size)
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8
    assert label.shape == size
    assert label.dtype == np.uint8
    assert set(np.unique(label)) <= {*range(19), IGNORE}


def test_size_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r'size: expected at least 32 .* got \(16, 512\)'):
        render_scene(0, (16, 512))


def test_same_seed_same_bits() -> None:
    first, again, other = (render_scene(seed, SIZE) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert (first[1] != other[1]).mean() > 0.1


def test_size_changes_the_resolution_not_the_scene() -> None:
    small = render_scene(7, SIZE)[1]
    large = render_scene(7, (512, 1024))[1][::2, ::2]
    assert (small == large).mean() > 0.85


def test_every_class_is_in_the_validation_split_often_enough(val_labels: np.ndarray) -> None:
    pixels = np.stack([np.bincount(label.ravel(), minlength=256) for label in val_labels])
    assert pixels[:, IGNORE].sum() < 0.1 * pixels.sum()
    visible = dict(zip(CLASSES, (pixels[:, :19] > 50).mean(0), strict=True))
    assert {name: share for name, share in visible.items() if share < 0.3} == {}


def test_poles_are_thin_and_lost_by_bilinear_upsampling(val_labels: np.ndarray) -> None:
    pole = val_labels == POLE
    # Lengths of the horizontal runs of pole pixels.
    padded = np.pad(pole, ((0, 0), (0, 0), (1, 1))).astype(np.int8)
    change = np.diff(padded, axis=2).ravel()
    runs = np.flatnonzero(change < 0) - np.flatnonzero(change > 0)
    assert (runs <= 2).mean() > 0.4

    def kept(index: int) -> float:
        """IoU of a class after a perfect prediction at stride 8, upsampled bilinearly."""
        both = either = 0
        for label in val_labels:
            mask = (label == index).astype(np.float32)
            small = cv2.resize(mask, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
            back = cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_LINEAR) >= 0.5
            both += (back & (mask > 0)).sum()
            either += (back | (mask > 0)).sum()
        return both / either

    assert kept(POLE) < 0.4
    assert kept(ROAD) > 0.9


def test_labels_lie_on_the_image() -> None:
    """The picture has its edges where the labels change, not a pixel or two beside."""
    strengths = []
    for shift in (-2, 0, 2):
        total = 0.0
        for seed in range(3):
            image, label = render_scene(seed, SIZE)
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
            edge = np.abs(np.diff(grey, axis=1))
            change = label[:, 1:] != label[:, :-1]
            total += np.roll(edge, shift, 1)[change].mean()
        strengths.append(total)
    assert strengths[1] > 1.5 * max(strengths[0], strengths[2])


def test_depth_is_the_things() -> None:
    for seed in range(3):
        image, label, depth = render_with_depth(seed, SIZE)
        assert all(map(np.array_equal, render_scene(seed, SIZE), (image, label)))
        assert np.array_equal(np.isinf(depth), label == CLASSES.index('sky'))
        assert depth.min() > 0.5
        # The road is nearer in each row below, and its own depth in every one.
        rows = [depth[v][label[v] == ROAD] for v in range(SIZE[0])]
        rows = [row for row in rows if len(row)]
        assert all(np.ptp(row) == 0 for row in rows)
        assert (np.diff([row[0] for row in rows]) <= 0).all()
        # What stands on it is as far as where it stands: a car's lowest pixel is beside the road's.
        for v, u in np.argwhere((label[:-1] == CLASSES.index('car')) & (label[1:] == ROAD))[::20]:
            assert depth[v, u] == pytest.approx(depth[v + 1, u], rel=0.35)


def test_colourise() -> None:
    label = np.array([[0, 18, IGNORE]], np.uint8)
    expected = [PALETTE[0][::-1], PALETTE[18][::-1], (0, 0, 0)]
    assert colourise(label)[0].tolist() == [list(c) for c in expected]


# Camera -----------------------------------------------------------------------------------------


def view(**more: float) -> View:
    return View(height=256, width=512, focal=480.0, horizon=110.0, **more)


@pytest.mark.parametrize('z', [5.0, 10.0, 40.0])
def test_size_is_inverse_to_distance(z: float) -> None:
    foot, top = view(curvature=1 / 200, hill=2.0).road(1.5, [0.0, 1.8], z)
    assert foot[1] - top[1] == pytest.approx(480.0 * 1.8 / z)
    left, right = view().place([[-0.9, 0, 0], [0.9, 0, 0]], 2.0, z)
    assert right[0] - left[0] == pytest.approx(480.0 * 1.8 / z)


def test_ground_rows_invert_the_projection() -> None:
    hilly = view(hill=1.0, hill_start=10.0, hill_length=60.0)
    top, depths = hilly.ground_rows()
    rows = hilly.road(0.0, 0.0, depths[5:])[:, 1]
    np.testing.assert_allclose(rows, np.arange(top + 5, 256), atol=0.05)


def test_a_crest_hides_the_ground_behind_it() -> None:
    crest = view(hill=-3.0, hill_start=8.0, hill_length=15.0)
    assert crest.sees_ground(7.0)
    assert not crest.sees_ground(16.0)
    assert view().sees_ground(16.0)


# Tool -------------------------------------------------------------------------------------------


def test_layout_processes_and_idempotence(tmp_path: Path, run: Run) -> None:
    out = tmp_path / 'out'
    code, _, error = run(out, 3, 2, '--jobs', '2')
    assert code == 0, error
    written = pictures(out)
    assert written == made_here(tmp_path / 'here', 3, 2)
    assert len(written) == 10
    image = cv2.imread(
        str(out / 'leftImg8bit/val/synthetic/synthetic_000001_000000_leftImg8bit.png')
    )
    label = cv2.imread(
        str(out / 'gtFine/val/synthetic/synthetic_000001_000000_gtFine_labelTrainIds.png'), -1
    )
    assert image is not None
    assert label is not None
    assert image.shape == (64, 128, 3)
    assert label.shape == (64, 128)

    before = {p: p.stat().st_mtime_ns for p in out.rglob('*') if p.is_file()}
    code, said, _ = run(out, 3, 2)
    assert code == 0
    assert 'complete already' in said
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob('*') if p.is_file()}

    # Other settings replace what was there.
    assert run(out, 1, 1, '--seed', '1', '--jobs', '1')[0] == 0
    other = pictures(out)
    assert len(other) == 4
    assert all(data != written[name] for name, data in other.items())


def test_depth_is_written_in_steps(tmp_path: Path, run: Run) -> None:
    out = tmp_path / 'out'
    assert run(out, 1, 1, '--jobs', '1')[0] == 0
    assert not (out / 'depth').exists()
    # With depth it is another data set.
    assert run(out, 1, 1, '--jobs', '1', '--depth')[0] == 0
    steps = cv2.imread(str(out / 'depth/val/synthetic/synthetic_000000_000000_depth.png'), -1)
    assert steps is not None
    assert steps.dtype == np.uint16
    metres = render_with_depth(dataset.scene_seed(0, 'val', 0), (64, 128))[2]
    near = metres < 255
    assert 0.3 < near.mean() < 1
    assert np.abs(steps / 256 - metres)[near].max() <= 1 / 512 + 1e-6
    assert (steps[np.isinf(metres)] == 65535).all()
    assert run(out, 1, 1, '--jobs', '1')[0] == 0
    assert not list(out.rglob('*_depth.png'))


def test_a_killed_run_is_completed(tmp_path: Path, run: Run) -> None:
    out = tmp_path / 'out'
    process = subprocess.Popen(
        _command(out, 10, 1, '--jobs', '1'),
        env=_env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not list(out.rglob('*labelTrainIds.png')):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < len(pictures(out)) < 22
    assert json.loads((out / 'synthetic_scenes.json').read_text())['complete'] is False
    (out / 'gtFine/val/synthetic/.synthetic_000000.png.1.tmp').write_bytes(b'half a pict')

    assert run(out, 10, 1, '--jobs', '1')[0] == 0
    assert pictures(out) == made_here(tmp_path / 'here', 10, 1)
    assert not list(out.rglob('*.tmp'))


def killed(task: tuple[str, int], **_: object) -> None:
    if task == ('train', 1):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_an_error(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, 'write_scene', killed)
    code, _, error = run(tmp_path / 'out', 2, 1, '--jobs', '2')
    assert code != 0
    assert 'one of 2 processes was killed' in error
    assert 'Traceback' not in error
    assert json.loads((tmp_path / 'out/synthetic_scenes.json').read_text())['complete'] is False


def test_a_foreign_data_set_is_left_alone(tmp_path: Path, run: Run) -> None:
    foreign = tmp_path / 'leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png'
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b'real')
    code, _, error = run(tmp_path, 1, 1)
    assert code != 0
    assert 'expected a new folder' in error
    assert 'Traceback' not in error
    assert [p.name for p in tmp_path.rglob('*') if p.is_file()] == [foreign.name]
