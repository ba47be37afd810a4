from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from mmseg.evaluation import IoUMetric
from tool_runs import Run

from ddf_seg.deployment.exporting import METADATA
from ddf_seg.deployment.network import Metadata
from ddf_seg.errors import UsageError

LISTED = """
test_evaluator = [
    dict(type='BoundaryIoUMetric', thinness=0.01), dict(type='IoUMetric', iou_metrics=['mIoU'])]
"""
UNLABELLED = """
test_dataloader = dict(dataset=dict(data_prefix=dict(_delete_=True, img_path='leftImg8bit/val')))
"""


@pytest.fixture
def inherit(roads: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a config with some lines more than the tiny dataset's."""

    def inherit(*lines: str) -> Path:
        config = tmp_path / 'inherited.py'
        config.write_text('\n'.join([f"_base_ = '{roads / 'config.py'}'", *lines]))
        return config

    return inherit


def read_ids(folder: Path) -> dict[str, np.ndarray]:
    return {file.name: cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in folder.iterdir()}


def test_it_writes_predictions_and_pictures(
    roads: Path, trained: Path, tmp_path: Path, run: Run
) -> None:
    code, error = run(
        'test', roads / 'config.py', trained / 'iter_4.pth', '--work-dir', tmp_path,
        '--out', tmp_path / 'out', '--show-dir', tmp_path / 'show',
    )  # fmt: skip
    assert code == 0, error
    assert len(list(tmp_path.glob('*/*.json'))) == 1
    predictions = sorted((tmp_path / 'out').iterdir())
    assert [file.name for file in predictions] == [f'town_{i}_leftImg8bit.png' for i in (0, 1)]
    ids = cv2.imread(str(predictions[0]), cv2.IMREAD_UNCHANGED)
    assert ids is not None
    assert ids.shape == (64, 128)
    assert ids.max() < 19
    # Truth and prediction, side by side, of every image
    pictures = sorted((tmp_path / 'show').rglob('*.png'))
    assert len(pictures) == 2
    picture = cv2.imread(str(pictures[0]))
    assert picture is not None
    assert picture.shape == (64, 256, 3)


def test_test_time_augmentation(roads: Path, trained: Path, tmp_path: Path, run: Run) -> None:
    arguments = [roads / 'config.py', trained / 'iter_4.pth', '--work-dir', tmp_path, '--tta']
    code, error = run('test', *arguments)
    assert code == 0, error


def test_a_list_of_evaluators_writes_predictions_and_scores(
    inherit: Callable[..., Path], roads: Path, trained: Path, tmp_path: Path, run: Run
) -> None:
    checkpoint = trained / 'iter_4.pth'
    arguments = [roads / 'config.py', checkpoint, '--work-dir', tmp_path, '--out', tmp_path / 'one']
    assert run('test', *arguments) == (0, '')
    expected = read_ids(tmp_path / 'one')
    assert len(expected) == 2
    boundaries = "test_evaluator = [dict(type='BoundaryIoUMetric')]"
    for lines in (LISTED, boundaries):
        out = tmp_path / 'ids'
        assert run('test', inherit(lines), *arguments[1:4], '--out', out) == (0, '')
        np.testing.assert_equal(read_ids(out), expected)
        assert 'mBIoU ' in run.out.splitlines()[-4]
        shutil.rmtree(out)


def test_no_training_images_are_needed(
    inherit: Callable[..., Path], trained: Path, tmp_path: Path, run: Run
) -> None:
    config = inherit(
        "train_dataloader = dict(dataset=dict(data_root='/nowhere'))",
        'val_dataloader = val_cfg = val_evaluator = None',
        # Nor anything said of pictures
        "default_hooks = dict(_delete_=True, logger=dict(type='LoggerHook'))",
    )
    arguments = [config, trained / 'iter_4.pth', '--work-dir', tmp_path]
    assert run('test', *arguments, '--show-dir', tmp_path / 'show') == (0, '')
    assert len(list((tmp_path / 'show').rglob('*.png'))) == 2


@pytest.mark.parametrize('tta', [[], ['--tta']], ids=['', 'tta'])
@pytest.mark.parametrize(
    'lines',
    [
        UNLABELLED,
        'test_dataloader = dict(dataset=dict(data_prefix=dict(seg_map_path=None)))',
        'test_dataloader = dict(dataset=dict(pipeline=['
        "dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]))",
    ],
    ids=['no prefix', 'prefix None', 'no LoadAnnotations'],
)
def test_a_set_without_labels_is_predicted(
    inherit: Callable[..., Path], trained: Path, tmp_path: Path, run: Run,
    tta: list[str], lines: str,
) -> None:  # fmt: skip
    config = inherit(LISTED, lines)
    arguments = [config, trained / 'iter_4.pth', '--work-dir', tmp_path, *tta]
    out, pictures = tmp_path / 'out', tmp_path / 'show'
    code, error = run('test', *arguments, '--out', out, '--show-dir', pictures)
    assert code == 0, error
    assert 'the test set has no labels: it is predicted, not scored' in run.err
    assert {name: ids.shape for name, ids in read_ids(out).items()} == {
        f'town_{i}_leftImg8bit.png': (64, 128) for i in (0, 1)
    }
    # The prediction alone
    shapes = [cv2.imread(str(file)).shape for file in pictures.rglob('*.png')]
    assert shapes == [(64, 128, 3)] * 2


def test_without_labels_and_folders_there_is_nothing_to_do(
    inherit: Callable[..., Path], trained: Path, tmp_path: Path, run: Run
) -> None:
    arguments = [inherit(UNLABELLED), trained / 'iter_4.pth', '--work-dir', tmp_path]
    code, error = run('test', *arguments)
    assert code == 1
    for part in ('no labels', 'nothing to score', '--out DIR', '--show-dir DIR'):
        assert part in error
    # mmseg's own way to say so
    line = f"test_evaluator = dict(type='IoUMetric', format_only=True, output_dir='{tmp_path}/own')"
    assert run('test', inherit(UNLABELLED, line), *arguments[1:]) == (0, '')
    assert len(read_ids(tmp_path / 'own')) == 2


def test_images_of_one_name_are_not_written_over_each_other(
    inherit: Callable[..., Path], roads: Path, trained: Path, tmp_path: Path, run: Run
) -> None:
    town = roads / 'roads' / 'leftImg8bit' / 'val' / 'town'
    for name in ('one', 'other'):
        shutil.copytree(town, tmp_path / 'images' / name)
    config = inherit(UNLABELLED.replace('leftImg8bit/val', f'{tmp_path}/images'))
    arguments = [config, trained / 'iter_4.pth', '--work-dir', tmp_path, '--out', tmp_path / 'out']
    code, error = run('test', *arguments)
    assert code == 1
    name = 'town_0_leftImg8bit.png'
    one, other = (tmp_path / 'images' / town / name for town in ('one', 'other'))
    assert f'{one} and {other} would both be written to {tmp_path / "out" / name}' in error
    assert read_ids(tmp_path / 'out') == {}


def test_an_interrupted_test_says_how_far_it_came(
    roads: Path, trained: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        IoUMetric, 'compute_metrics', lambda *_: os.kill(os.getpid(), signal.SIGINT)
    )
    code, _ = run('test', roads / 'config.py', trained / 'iter_4.pth', '--work-dir', tmp_path)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert code == 130
    assert run.err.endswith('interrupted: 2 of 2 images tested, no score; start again\n')


def test_the_last_lines_give_score_and_places(
    roads: Path, trained: Path, tmp_path: Path, run: Run
) -> None:
    arguments = [roads / 'config.py', trained / 'iter_4.pth', '--work-dir', tmp_path / 'work']
    assert run('test', *arguments, '--out', tmp_path / 'out') == (0, '')
    lines = run.out.splitlines()
    assert len(lines) < 60
    (table,) = re.findall(r'aAcc: ([\d.]+)  mIoU: ([\d.]+)  mAcc: ([\d.]+)', run.out)
    aacc, miou, macc = (f'{float(score):.2f}' for score in table)
    assert lines[-4] == f'  scores:      mIoU {miou}, aAcc {aacc}, mAcc {macc}'
    places = [line.split()[-1] for line in lines[-3:]]
    assert places[1] == str(tmp_path / 'out')
    for file in (places[0], places[2]):
        assert Path(file).is_file()
    assert [Path(file).suffix for file in places] == ['.json', '', '.log']


def exported(file: Path, classes: int) -> Path:
    """As tools/export.py writes it: a network whose class is a fourteenth of an image's blue."""
    o = onnx.helper
    nodes = [
        o.make_node('Cast', ['image'], ['wide'], to=onnx.TensorProto.INT32),
        o.make_node('Gather', ['wide', 'first'], ['blue'], axis=3),
        o.make_node('Div', ['blue', 'step'], ['class']),
        o.make_node('Cast', ['class'], ['segmentation'], to=onnx.TensorProto.UINT8),
    ]
    image, ids = (
        o.make_tensor_value_info(name, onnx.TensorProto.UINT8, shape)
        for name, shape in (('image', [1, 'h', 'w', 3]), ('segmentation', [1, 'h', 'w']))
    )
    constants = [
        onnx.numpy_helper.from_array(np.array(0), 'first'),
        onnx.numpy_helper.from_array(np.array(14, np.int32), 'step'),
    ]
    graph = o.make_graph(nodes, 'blue', [image], [ids], constants)
    model = o.make_model(graph, opset_imports=[o.make_opsetid('', 18)], ir_version=8)
    about = Metadata(['a'] * classes, [[0, 0, 0]] * classes, 1, 'blue')
    o.set_model_props(model, {METADATA: about.as_json()})
    onnx.save(model, file)
    return file


def test_an_exported_file_is_scored(roads: Path, tmp_path: Path, run: Run) -> None:
    file = exported(tmp_path / 'blue.onnx', 19)
    assert run('test', roads / 'config.py', file) == (0, '')
    both = np.zeros((19, 19))
    for image in sorted(roads.glob('roads/leftImg8bit/val/*/*.png')):
        label = str(image).replace('leftImg8bit', 'gtFine').replace('.png', '_labelTrainIds.png')
        ids = cv2.imread(str(image))[..., 0] // 14
        truth = cv2.imread(label, cv2.IMREAD_UNCHANGED)
        known = truth != 255
        np.add.at(both, (truth[known], ids[known]), 1)
    union = both.sum(0) + both.sum(1) - both.diagonal()
    expected = 100 * np.nanmean(both.diagonal() / union)
    (found,) = re.findall(r'^mIoU: ([\d.]+)$', run.out, re.MULTILINE)
    assert float(found) == pytest.approx(expected, abs=0.006)


def test_an_exported_file_that_cannot_be_scored(
    roads: Path, inherit: Callable[..., Path], tmp_path: Path, run: Run
) -> None:
    file, few = exported(tmp_path / 'a.onnx', 19), exported(tmp_path / 'b.onnx', 5)
    config = roads / 'config.py'
    for arguments, message in (
        ([config, few], r'b\.onnx: expected the 19 classes of the test set, got 5'),
        ([config, tmp_path / 'c.xml'], r'c\.xml: no such file'),
        ([inherit(UNLABELLED), file], 'no test set with labels'),
        ([config, file, '--tta'], '--tta is for a config with a checkpoint'),
        ([config, file, '--show-dir', tmp_path], '--show-dir is for a config with a checkpoint'),
    ):
        with pytest.raises(UsageError, match=message):
            run('test', *arguments)


@pytest.mark.parametrize(
    ('checkpoint', 'options', 'expected'),
    [
        ('iter_5.pth', [], 'iter_5.pth does not exist'),
        ('config.py', [], 'config.py .* cannot be read, .*neither an archive nor a pickle'),
        ('iter_4.pth', ['model.decode_head.num_classes=11'], r'is \(19, 4, 1, 1\), expected \(11'),
        ('iter_4.pth', ['test_dataloader.dataset.data_root=/no'], '/no/leftImg8bit/val does not'),
        ('iter_4.pth', ['test_evaluator.iou_metric=mIoU'], "did you mean 'iou_metrics'"),
    ],
)
def test_mistakes_end_with_one_message(
    roads: Path, trained: Path, tmp_path: Path, run: Run,
    checkpoint: str, options: list[str], expected: str,
) -> None:  # fmt: skip
    arguments = [roads / 'config.py', trained / checkpoint, '--work-dir', tmp_path]
    code, error = run('test', *arguments, *(['--cfg-options', *options] if options else []))
    assert code == 1
    assert re.search(expected, error), error


@pytest.mark.parametrize('option', ['--out', '--show-dir', '--work-dir'])
def test_a_file_is_no_folder_to_write_to(
    roads: Path, trained: Path, tmp_path: Path, run: Run, option: str
) -> None:
    file = tmp_path / 'file'
    file.touch()
    folders = {'--work-dir': tmp_path / 'work', option: file}
    arguments = [argument for pair in folders.items() for argument in pair]
    code, error = run('test', roads / 'config.py', trained / 'iter_4.pth', *arguments)
    assert code == 1
    assert error == f'{option}: expected a folder, but {file} is a file\n'
