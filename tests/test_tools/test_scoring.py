from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest
from tool_runs import Run


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
