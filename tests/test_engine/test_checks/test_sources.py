from __future__ import annotations

from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ddf_seg.engine.checks.dataset.sources import check_dataset_files, check_dataset_folders
from ddf_seg.errors import UsageError


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    for index in range(3):
        for name in (
            f'leftImg8bit/train/a/{index}_leftImg8bit.png',
            f'gtFine/train/a/{index}_gtFine_labelTrainIds.png',
        ):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
    return tmp_path


def make_config(root: Path, **changes: Any) -> Config:
    dataset = {
        'type': 'CityscapesDataset',
        'data_root': str(root),
        'data_prefix': {'img_path': 'leftImg8bit/train', 'seg_map_path': 'gtFine/train'},
        **changes,
    }
    repeated = {'type': 'RepeatDataset', 'times': 2, 'dataset': dataset}
    return Config({'train_dataloader': {'dataset': repeated}, 'val_dataloader': None})


def test_folders_that_are_there(roads: Path) -> None:
    check_dataset_folders(make_config(roads), ('train', 'val'))
    cfg = make_config(roads, data_prefix={'img_path': 's3://bucket/a'}, data_root=None)
    check_dataset_folders(cfg, ('train',))


def test_a_missing_folder_names_its_key_and_the_ways_out(
    roads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (roads / 'gtFine').rename(roads / 'moved')
    cfg = make_config(roads)
    with pytest.raises(UsageError) as error:
        check_dataset_folders(cfg, ('train',))
    message = str(error.value)
    assert f'{roads / "gtFine/train"} does not exist' in message
    assert 'train_dataloader.dataset.dataset.data_prefix.seg_map_path' in message
    assert '--cfg-options train_dataloader.dataset.dataset.data_root=' in message
    assert 'DDF_DATA_ROOT' not in message
    assert 'make demo' not in message
    # A split that is not used may be missing.
    check_dataset_folders(cfg, ('val',))


def test_an_empty_folder(roads: Path) -> None:
    (roads / 'empty').mkdir()
    cfg = make_config(roads, data_prefix={'img_path': 'empty'})
    with pytest.raises(UsageError, match='empty is empty'):
        check_dataset_folders(cfg, ('train',))


def test_a_missing_list(roads: Path) -> None:
    check_dataset_folders(make_config(roads, ann_file=''), ('train',))
    with pytest.raises(UsageError, match=r'split\.txt does not exist .*ann_file'):
        check_dataset_folders(make_config(roads, ann_file='split.txt'), ('train',))


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'\xef\xbb\xbfa/0\na/1\n', 'begins with a byte order mark'),
        ('a/0\na/1\n'.encode('utf-16'), 'is UTF-16, expected UTF-8: iconv'),
        (b'a/0\n\na/1\n', 'line 2 is blank'),
        (b'a/0\r\na/1\r\n \r\n', 'line 3 is blank'),
        (b'a/0\na/caf\xe9\n', 'line 2, .* is not UTF-8'),
        (b'', 'is empty'),
    ],
)
def test_a_list_that_would_be_misread(roads: Path, content: bytes, expected: str) -> None:
    file = roads / 'split.txt'
    file.write_bytes(content)
    cfg = make_config(roads, ann_file='split.txt')
    with pytest.raises(UsageError, match=expected) as error:
        check_dataset_folders(cfg, ('train',))
    assert f'{file} (train_dataloader.dataset.dataset.ann_file): ' in str(error.value)
    # CR LF and a missing end of the last line are read well.
    file.write_bytes(b'a/0\r\na/1')
    check_dataset_folders(cfg, ('train',))
    init_default_scope('mmseg')
    check_dataset_files(DATASETS.build(cfg.train_dataloader.dataset))


def test_names_in_a_list_come_without_the_suffix(roads: Path) -> None:
    (roads / 'split.txt').write_text('a/0_leftImg8bit.png\n')
    init_default_scope('mmseg')
    cfg = make_config(roads, ann_file='split.txt', img_suffix='.png')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    with pytest.raises(UsageError, match=r'8bit\.png\.png; the names in a list .*without the suf'):
        check_dataset_files(dataset)


def test_the_demo_and_the_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / 'config.py'
    file.write_text(
        "data_root = '{{$DDF_DATA_ROOT:data}}/demo'\n"
        "train_dataloader = dict(dataset=dict(data_root=data_root, data_prefix=dict(img_path='a')))"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('DDF_DATA_ROOT', raising=False)
    with pytest.raises(UsageError, match=r"DDF_DATA_ROOT \(now not set.*'make demo'"):
        check_dataset_folders(Config.fromfile(file), ('train',))
    monkeypatch.setenv('DDF_DATA_ROOT', '/elsewhere')
    with pytest.raises(UsageError, match=r'/elsewhere/demo/a .*DDF_DATA_ROOT \(now /elsewhere\)'):
        check_dataset_folders(Config.fromfile(file), ('train',))


def test_missing_files_are_counted(roads: Path) -> None:
    init_default_scope('mmseg')
    steps = [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}]
    dataset = DATASETS.build(make_config(roads, pipeline=steps).train_dataloader.dataset)
    unlabelled = DATASETS.build(make_config(roads, pipeline=steps[:1]).train_dataloader.dataset)
    check_dataset_files(dataset)
    (roads / 'gtFine/train/a/1_gtFine_labelTrainIds.png').unlink()
    with pytest.raises(
        UsageError, match=r'files are missing, .*/1_gtFine_label.*converters/cityscapes'
    ):
        check_dataset_files(dataset)
    with pytest.raises(UsageError, match='1 of 3 label files are missing'):
        check_dataset_files(dataset.dataset)
    check_dataset_files(unlabelled.dataset)
    (roads / 'leftImg8bit/train/a/2_leftImg8bit.png').unlink()
    with pytest.raises(UsageError, match=r'image files are missing, .*/2_leftImg8bit'):
        check_dataset_files(dataset.dataset)


def test_an_empty_dataset() -> None:
    with pytest.raises(UsageError, match='found no image'):
        check_dataset_files([])
