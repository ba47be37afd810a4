from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from processes import run_loaded
from tool_runs import Run

from ddf_seg.cli.check import main
from ddf_seg.command_line import show_usage_errors


@pytest.mark.usefixtures('environment')
def test_it_reports_to_people_and_programs(roads: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'labels/town'
    folder.mkdir(parents=True)
    for index in range(4):
        file = folder / f'town_{index}_gtFine_labelTrainIds.png'
        cv2.imwrite(str(file), np.full((64, 128), 19 if index == 2 else index, np.uint8))
    # A label without an image, whose name is not UTF-8
    (folder / os.fsdecode(b'caf\xe9_gtFine_labelTrainIds.png')).touch()
    file = tmp_path / 'result.json'
    options = [f'train_dataloader.dataset.data_prefix.seg_map_path={tmp_path / "labels"}']
    arguments = [roads / 'config.py', '--json', file, '--jobs', '2', '--cfg-options', *options]
    done = run_loaded(f"""
        from ddf_seg.cli import main
        sys.argv = ['ddf-seg', 'check', *{[*map(str, arguments)]}]
        sys.exit(main())
    """)
    out = done.stdout
    assert done.returncode == 4, done.stderr
    assert 'ERROR train: 1 label with ids that are no class: 19 (8192 pixels)' in out
    assert 'town_2_gtFine_labelTrainIds.png' in out
    assert 'caf\\udce9_gtFine_labelTrainIds.png' in out
    assert 'median_frequency: [' in out
    found = json.loads(file.read_text())
    assert [item['kind'] for item in found['findings'] if item['severity'] == 'error'] == [
        'foreign-ids'
    ]
    assert found['splits']['val']['images'] == 2


def test_a_config_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'argv', ['check', str(tmp_path / 'no.py')])
    assert show_usage_errors(main) == 1
    assert capsys.readouterr().err.endswith('no.py does not exist\n')


def test_training_starts_with_a_quick_form_of_it(roads: Path, tmp_path: Path, run: Run) -> None:
    labels = tmp_path / 'labels/town'
    labels.mkdir(parents=True)
    for source in (roads / 'roads/gtFine/train/town').iterdir():
        # Class and instance in 16 bits: mmseg takes the lower 8, the instance, and trains on it.
        wide = np.random.default_rng(0).integers(0, 19, (64, 128), dtype=np.uint16) + 11 * 256
        cv2.imwrite(str(labels / source.name), wide)
    prefix = f'train_dataloader.dataset.data_prefix.seg_map_path={tmp_path / "labels"}'
    arguments = [roads / 'config.py', '--work-dir', tmp_path / 'work', '--cfg-options', prefix]
    code, error = run('train', *arguments)
    assert code == 1
    for part in ('train: 4 labels with more than 8 bits', 'up to 2834', 'town_0_gtFine_label'):
        assert part in error
    assert 'dataset_check=False' in error
    code, error = run('train', *arguments, 'dataset_check=False')
    assert (code, error) == (0, '')


def test_training_prints_the_warnings(roads: Path, tmp_path: Path, run: Run) -> None:
    labels = tmp_path / 'labels/town'
    labels.mkdir(parents=True)
    for source in (roads / 'roads/gtFine/val/town').iterdir():
        cv2.imwrite(str(labels / source.name), np.full((64, 128), 3, np.uint8))
    prefix = f'val_dataloader.dataset.data_prefix.seg_map_path={labels.parent}'
    arguments = [roads / 'config.py', '--work-dir', tmp_path / 'work', '--cfg-options', prefix]
    assert run('train', *arguments)[0] == 0
    warning = 'warning: val: wall is the only class in the labels (0.0 % of the pixels are ignored)'
    assert warning in run.err
