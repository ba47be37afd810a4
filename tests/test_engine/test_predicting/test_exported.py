"""Exported networks in prediction, without torch and OpenMMLab."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from processes import run as run_python
from tiny_networks import CLASSES, OFFSET, PALETTE, WEIGHT, scores_of, write_network

from ddf_seg import runtime
from ddf_seg.cli import predict
from ddf_seg.command_line import show_usage_errors
from ddf_seg.engine.predicting import backend, exported
from ddf_seg.engine.predicting.memory import needed_memory

Run = Callable[..., tuple[int, str]]
SIZE = (60, 84)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str]:
        words = [*arguments, '--out-dir', tmp_path / 'out']
        monkeypatch.setattr(sys, 'argv', ['predict', *map(str, words)])
        capsys.readouterr()
        code = show_usage_errors(predict.main)
        return code, capsys.readouterr().err

    return run


def photo(path: Path, size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """Smooth, so that class regions are larger than a pixel."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return image


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def test_without_torch_and_openmmlab(tmp_path: Path) -> None:
    image = photo(tmp_path / 'in' / 'a.png')
    network = write_network(tmp_path / 'net.onnx', SIZE, batch=1)
    words = ['predict', network, tmp_path / 'in', '--out-dir', tmp_path / 'out']
    done = run_python(f"""
        for name in ('torch', 'mmengine', 'mmcv', 'mmseg', 'PIL'):
            block(name)
        from ddf_seg.cli.predict import main
        sys.argv = {[str(word) for word in words]}
        sys.exit(main())
    """)
    assert done.returncode == 0, done.stderr
    ids = read(tmp_path / 'out' / 'ids' / 'a.png')
    np.testing.assert_array_equal(ids, scores_of(image).argmax(0))
    assert len(np.unique(ids)) == CLASSES
    expected = 0.5 * image + 0.5 * PALETTE[ids][..., ::-1]
    np.testing.assert_allclose(read(tmp_path / 'out' / 'overlays' / 'a.png'), expected, atol=1)
    with open(tmp_path / 'out' / 'classes.csv', newline='') as table:
        rows = list(csv.DictReader(table))
    assert [row['name'] for row in rows] == [f'class {index}' for index in range(CLASSES)]


def test_openvino_reports_to_nobody(tmp_path: Path) -> None:
    network = write_network(tmp_path / 'net.onnx', SIZE, batch=1)
    reporter = tmp_path / 'openvino_telemetry.py'
    reporter.write_text('raise SystemExit("loaded what reports")')
    done = run_python(
        f"""
        from pathlib import Path
        from ddf_seg import runtime
        print(runtime._load_openvino(Path({str(network)!r}), 1)[1])
    """,
        tmp_path,
    )
    assert (done.stdout, done.stderr) == (f'{[1, *SIZE, 3]}\n', '')


@pytest.mark.parametrize(
    ('hidden', 'file', 'options', 'message'),
    [
        ('PIL', 'net.onnx', ['--legend'], 'PIL is missing: pip install pillow'),
        ('torch', 'net.pt2', [], 'torch is missing: pip install torch'),
        ('rich', 'net.onnx', [], 'rich is missing: pip install rich'),
    ],
)
def test_packages_that_are_missing(
    tmp_path: Path, hidden: str, file: str, options: list[str], message: str
) -> None:
    photo(tmp_path / 'a.png')
    write_network(tmp_path / file)
    words = ['predict', tmp_path / file, tmp_path / 'a.png', '--out-dir', tmp_path / 'out']
    done = run_python(f"""
        block({hidden!r})
        from ddf_seg.cli.predict import main
        from ddf_seg.command_line import show_usage_errors
        sys.argv = {[str(word) for word in [*words, *options]]}
        sys.exit(show_usage_errors(main))
    """)
    assert done.returncode == 1
    assert done.stderr == f'error: {message}\n'


@pytest.mark.parametrize('scores', [False, True])
@pytest.mark.parametrize('size', [None, (32, 48)])
def test_windows_give_what_the_whole_gives(
    tmp_path: Path, run: Run, size: tuple[int, int] | None, scores: bool
) -> None:
    image = photo(tmp_path / 'a.png', (100, 140))
    network = write_network(tmp_path / 'net.onnx', size, scores)
    code, error = run(network, tmp_path / 'a.png', '--tile', *([] if size else [32, 48]))
    assert code == 0, error
    np.testing.assert_array_equal(
        read(tmp_path / 'out' / 'ids' / 'a.png'), scores_of(image).argmax(0)
    )


class _Scores(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        centred = image.float() - torch.from_numpy(OFFSET)
        return F.conv2d(centred.permute(0, 3, 1, 2), torch.from_numpy(WEIGHT), padding=1)


def test_a_program_of_torch(tmp_path: Path, run: Run) -> None:
    image = photo(tmp_path / 'a.png')
    program = torch.export.export(_Scores(), (torch.from_numpy(image)[None],))
    about = dict(classes=list('abcde'), palette=PALETTE.tolist(), size_divisor=1, config='tiny',
                 output='scores')  # fmt: skip
    file = tmp_path / 'net.pt2'
    torch.export.save(program, file, extra_files={'ddf_seg': json.dumps(about)})
    code, error = run(file, tmp_path / 'a.png', '--show', 'doubt')
    assert code == 0, error
    np.testing.assert_array_equal(
        read(tmp_path / 'out' / 'ids' / 'a.png'), scores_of(image).argmax(0)
    )
    torch.export.save(program, file)
    code, error = run(file, tmp_path / 'a.png')
    assert code == 1
    assert 'net.pt2: expected a network that tools/export.py wrote' in error
    file.write_text('no program')
    code, error = run(file, tmp_path / 'a.png')
    assert code == 1
    assert 'net.pt2: torch cannot load it' in error


class _Harmful:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_program_of_torch_runs_no_code_of_the_file(tmp_path: Path, run: Run) -> None:
    image = photo(tmp_path / 'a.png')
    program = torch.export.export(_Scores(), (torch.from_numpy(image)[None],))
    whole, harmful = tmp_path / 'whole.pt2', tmp_path / 'harmful.pt2'
    torch.save(((_Harmful(tmp_path / 'made'),), {}), tmp_path / 'inputs.pt')
    torch.export.save(program, whole)
    replaced = 0
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(harmful, 'w') as target:
        for name in source.namelist():
            of_inputs = 'sample_inputs' in name
            replaced += of_inputs
            target.writestr(
                name, (tmp_path / 'inputs.pt').read_bytes() if of_inputs else source.read(name)
            )
    assert replaced == 1
    code, error = run(harmful, tmp_path / 'a.png')
    assert code == 1
    assert 'harmful.pt2: torch cannot load it' in error
    assert not (tmp_path / 'made').exists()
    assert 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ


def test_an_image_smaller_than_the_window(tmp_path: Path, run: Run) -> None:
    image = photo(tmp_path / 'a.png', (20, 30))
    network = write_network(tmp_path / 'net.onnx', (64, 64), batch=1)
    code, error = run(network, tmp_path / 'a.png', '--tile')
    assert code == 0, error
    ids = read(tmp_path / 'out' / 'ids' / 'a.png')
    # The mirror image stands where the network would see zeros.
    np.testing.assert_array_equal(ids[:-1, :-1], scores_of(image).argmax(0)[:-1, :-1])


@pytest.mark.parametrize('scores', [False, True])
def test_images_of_another_size_than_the_file_takes(tmp_path: Path, run: Run, scores: bool) -> None:
    """Twice as large, and of another ratio; the class ids have the image's size again."""
    small = photo(tmp_path / 'small.png', (40, 84))
    for name in ('a.png', 'b.png'):
        large = np.kron(small, np.ones((2, 2, 1), np.uint8))
        (tmp_path / 'in').mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / 'in' / name), large)
    network = write_network(tmp_path / 'net.onnx', SIZE, scores, batch=1)
    code, error = run(network, tmp_path / 'in')
    assert code == 0, error
    assert error.count('note: ') == 1
    assert re.search(r'a\.png has 168×80 pixels, and .*net\.onnx takes 84×60', error)
    assert '--tile' in error
    ids = read(tmp_path / 'out' / 'ids' / 'a.png')
    assert ids.shape == (80, 168)
    seen = scores_of(small).argmax(0)[:-1]  # the last row borders on the mirror image
    agree = ids[:-2] == np.kron(seen, np.ones((2, 2), np.uint8))
    assert agree.all() if not scores else agree.mean() > 0.9


def test_a_file_of_free_sizes_takes_any_image_and_several_at_once(tmp_path: Path, run: Run) -> None:
    sizes = [(60, 84), (60, 84), (33, 47), (60, 84)]
    images = [photo(tmp_path / 'in' / f'{i}.png', size, i) for i, size in enumerate(sizes)]
    (tmp_path / 'in' / '1b.png').write_text('no image')
    network = write_network(tmp_path / 'net.onnx')
    code, error = run(network, tmp_path / 'in', '--batch-size', 3)
    assert code == 1
    assert '1 of 5 inputs could not be segmented' in error
    assert '1b.png: damaged, cut off, or no image' in error
    for index, image in enumerate(images):
        ids = read(tmp_path / 'out' / 'ids' / f'{index}.png')
        np.testing.assert_array_equal(ids, scores_of(image).argmax(0))


def test_an_image_smaller_than_the_file_takes(tmp_path: Path, run: Run) -> None:
    image = photo(tmp_path / 'a.png', (20, 90))
    network = write_network(tmp_path / 'net.onnx', least_size=32)
    code, error = run(network, tmp_path / 'a.png')
    assert code == 0, error
    ids = read(tmp_path / 'out' / 'ids' / 'a.png')
    np.testing.assert_array_equal(ids[:-1], scores_of(image).argmax(0)[:-1])


def test_a_file_that_takes_several_at_a_time(tmp_path: Path, run: Run) -> None:
    images = [photo(tmp_path / 'in' / f'{index}.png', seed=index) for index in range(3)]
    network = write_network(tmp_path / 'net.onnx', SIZE, batch=2)
    for options in (['--batch-size', 2], [], ['--tile']):
        code, error = run(network, tmp_path / 'in', *options)
        assert code == 0, error
        for index, image in enumerate(images):
            ids = read(tmp_path / 'out' / 'ids' / f'{index}.png')
            np.testing.assert_array_equal(ids, scores_of(image).argmax(0))


def test_images_that_do_not_fit_into_memory(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = photo(tmp_path / 'a.png', (200, 300))
    network = write_network(tmp_path / 'net.onnx')
    monkeypatch.setattr(exported, 'available_memory', lambda: 1000)
    monkeypatch.setattr(backend, '_TILE', 64)
    code, error = run(network, tmp_path / 'a.png')
    assert code == 0, error
    assert 'a.png has 300×200 pixels. Seen whole, it would take about' in error
    assert 'windows of 64×64 pixels that overlap by 8' in error
    np.testing.assert_array_equal(
        read(tmp_path / 'out' / 'ids' / 'a.png'), scores_of(image).argmax(0)
    )


@pytest.mark.parametrize(
    ('batch', 'fit', 'seen'),
    # A file that takes two at a time needs the memory for two, whatever it is given.
    [(None, 9, [5]), (None, 2, [2, 2, 1]), (2, 2, [2, 2, 1]), (2, 1, []), (None, 0, [])],
)
def test_images_that_fit_into_memory_one_by_one_but_not_together(
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    batch: int | None,
    fit: int,
    seen: list[int],
) -> None:
    images = [photo(tmp_path / 'in' / f'{index}.png', seed=index) for index in range(5)]
    network = write_network(tmp_path / 'net.onnx', batch=batch)
    one = needed_memory(*SIZE, CLASSES)
    monkeypatch.setattr(exported, 'available_memory', lambda: fit * one + one // 2)
    monkeypatch.setattr(backend, '_TILE', 64)
    segment = exported.ExportedBackend.segment
    together: list[int] = []

    def noted(self: Any, views: Any, doubt: bool) -> Any:
        together.append(len(views))
        return segment(self, views, doubt)

    monkeypatch.setattr(exported.ExportedBackend, 'segment', noted)
    code, error = run(network, tmp_path / 'in', '--batch-size', batch or 5)
    assert code == 0, error
    assert together == seen
    assert ('segmented in windows' in error) == (not seen)
    for index, image in enumerate(images):
        ids = read(tmp_path / 'out' / 'ids' / f'{index}.png')
        np.testing.assert_array_equal(ids, scores_of(image).argmax(0))


def test_scale(tmp_path: Path, run: Run) -> None:
    small = photo(tmp_path / 'small.png')
    assert cv2.imwrite(str(tmp_path / 'a.png'), np.kron(small, np.ones((2, 2, 1), np.uint8)))
    code, error = run(write_network(tmp_path / 'net.onnx'), tmp_path / 'a.png', '--scale', 0.5)
    assert code == 0, error
    expected = np.kron(scores_of(small).argmax(0), np.ones((2, 2), np.uint8))
    np.testing.assert_array_equal(read(tmp_path / 'out' / 'ids' / 'a.png'), expected)


def test_mistakes_end_with_one_message(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / 'a.png'
    photo(source)
    network = write_network(tmp_path / 'net.onnx', SIZE, batch=1)
    cut = tmp_path / 'cut.onnx'
    cut.write_bytes(network.read_bytes()[:100])
    foreign = tmp_path / 'foreign.onnx'
    foreign.write_bytes(network.read_bytes().replace(b'ddf_seg', b'another'))
    two = onnx.load(foreign)
    two.graph.input.append(onnx.helper.make_tensor_value_info('other', onnx.TensorProto.FLOAT, [1]))
    onnx.save(two, tmp_path / 'two.onnx')
    (tmp_path / 'net.xml').write_text('<net/>')
    single = write_network(tmp_path / 'single.onnx', scores=True, classes=1)
    cases = [
        ((cut, source), r'cut\.onnx: onnxruntime cannot load it'),
        ((foreign, source), r'foreign\.onnx: expected a network that tools/export\.py wrote'),
        ((tmp_path / 'two.onnx', source), r'two\.onnx: expected a network that tools/export'),
        ((tmp_path / 'no.onnx', source), r'no\.onnx: no such file'),
        ((tmp_path / 'net.xml', source), r'net\.xml: openvino cannot load it'),
        ((single, source), r'single\.onnx gives one score a pixel'),
        ((network, tmp_path / 'no.png'), r'INPUT .*no\.png does not exist'),
        ((network, source, '--tile', 64), r'--tile 64: .* takes 60 84 \(height, width\) alone'),
        ((network, source, '--tile', '--overlap', 31), 'at most half of the window of 84×60'),
        ((network, source, '--scale', 2), '--scale: .* takes images of one size'),
        (
            (network, source, '--show', 'doubt'),
            r'net\.onnx gives class ids alone; .*--output scores',
        ),
        ((network, source, '--batch-size', 2), r'--batch-size 2: .*net\.onnx takes 1 at a time'),
    ]
    for arguments, message in cases:
        code, error = run(*arguments)
        assert code == 1, error
        assert re.search(message, error), error
    monkeypatch.setattr(runtime, 'find_spec', lambda _: None)
    code, error = run(network, source)
    assert code == 1
    assert re.search(r"onnxruntime or openvino is not installed: .*\(the extra 'onnx'", error)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['net.onnx'], r'required: input \(or --demo\)'),
        (['net.tflite', 'a.png'], r'An exported network, .* ends in \.onnx, \.xml, \.pt2'),
        (['net.onnx', 'net.pth', 'a.png'], r'net\.onnx is an exported network: expected INPUT'),
        (
            ['net.onnx', 'a.png', '--device', 'cpu'],
            '--optimize: net.onnx is an exported network',
        ),
        (['net.onnx', 'a.png', '--tile', '1', '2', '3'], '--tile: expected up to two numbers'),
        (['net.onnx', 'a.png', '--tile', '0'], '--tile: expected up to two numbers above 0'),
        (['net.onnx', 'a.png', '--overlap', '-1'], '--overlap: expected 0 or more'),
        (['net.onnx', 'a.png', '--batch-size', '0'], '--batch-size: expected 1 or more'),
    ],
)
def test_arguments(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, 'argv', ['predict', *arguments])
    with pytest.raises(SystemExit):
        predict.parse_args()
    assert re.search(message, capsys.readouterr().err)
