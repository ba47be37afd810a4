"""The tool that puts DDF into a config, and what becomes of a model whose config it wrote."""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
import torch
from mmseg.apis import inference_model, init_model
from tool_runs import Run

from ddf_seg.cli.swap import main
from ddf_seg.command_line import show_usage_errors
from ddf_seg.engine.config_file import load_config
from ddf_seg.engine.weights.pretrained import check_pretrained

PSP = 'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
NARROW = """
_base_ = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
custom_imports = dict(imports='ddf_seg.datasets')
crop_size = (64, 64)
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=crop_size),
    backbone=dict(base_channels=8, stem_channels=8),
    decode_head=dict(in_channels=64, channels=16, pool_scales=(1, 2)),
    auxiliary_head=None,
    test_cfg=dict(mode='slide', crop_size=(65, 65), stride=(40, 40)),
)
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
"""


@pytest.fixture
def swap(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the tool in this process; returns exit code, output and error."""

    def swap(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, 'argv', ['swap_heads.py', *map(str, arguments)])
        capsys.readouterr()
        code = show_usage_errors(main)
        return code, *capsys.readouterr()

    return swap


@pytest.fixture
def narrow(tmp_path: Path) -> Path:
    """A config of few channels, and its swapped one in another folder."""
    path = tmp_path / 'configs' / 'narrow.py'
    path.parent.mkdir()
    path.write_text(NARROW)
    return path


def test_it_writes_a_few_lines_and_says_what_they_do(swap: Any, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'ddf.py'
    code, output, error = swap(f'mmseg::{PSP}', '-o', out)
    assert (code, error) == (0, '')
    assert 'PSPHead -> DDFGuidedHead' in output
    assert 'from stride 8 to 4, guided by level 0' in output
    assert out.read_text().splitlines()[1:] == [
        f"_base_ = 'mmseg::{PSP}'",
        "custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)",
        'model = dict(',
        "    decode_head=dict(type='DDFGuidedHead', head='PSPHead', guide_index=[0], "
        'guide_channels=[64]),',
        ')',
    ]


def test_the_new_config_may_lie_anywhere(swap: Any, narrow: Path, tmp_path: Path) -> None:
    out = tmp_path / 'elsewhere' / 'deep' / 'ddf.py'
    assert swap(narrow, '--head', '--convs', '-o', out)[0] == 0
    assert "_base_ = '../../configs/narrow.py'" in out.read_text()
    cfg = load_config(str(out))
    assert cfg.custom_imports.imports == ['ddf_seg.datasets', 'ddf_seg.openmmlab']
    assert cfg.model.decode_head.conv_cfg.type == 'DDF'
    assert cfg.model.decode_head.channels == 16


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([f'mmseg::{PSP}', '-o', 'x.json'], r'--out: expected a file name that ends in \.py'),
        ([f'mmseg::{PSP}', '--backbone', '-o', 'x.py'], 'depth 18 cannot be swapped'),
        (['mmseg::nothing/there.py', '-o', 'x.py'], 'there.py'),
        (['missing.py', '-o', 'x.py'], 'config file missing.py does not exist'),
        (['pure.py', '-o', 'x.py'], 'pure Python style'),
        (['broken.py', '-o', 'x.py'], r'broken\.py, line 1: .* was never closed'),
        (['on_broken.py', '-o', 'x.py'], r'broken\.py, line 1: .* was never closed'),
        (['circle.py', '-o', 'x.py'], r'circle\.py: RecursionError'),
        (['configs/narrow.py', '-o', 'configs/narrow.py'], 'is CONFIG itself'),
        (['configs/narrow.py', '-o', 'configs/narrow.py/x.py'], '--out: .*narrow.py is a file'),
        (['configs/narrow.py', '-o', 'folder.py'], '--out: expected a file, folder.py is a folder'),
    ],
)
def test_mistakes_end_with_one_line(
    swap: Any,
    narrow: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(narrow.parents[1])
    pure = 'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'
    Path('pure.py').write_text(pure)
    Path('base.py').write_text('model = dict()\n')
    Path('broken.py').write_text('x = (\n')
    Path('on_broken.py').write_text("_base_ = './broken.py'\n")
    Path('circle.py').write_text("_base_ = './circle.py'\n")
    Path('folder.py').mkdir()
    code, _, error = swap(*arguments)
    assert code == 1
    assert error.startswith('error: ')
    assert len(error.splitlines()) == 1
    assert re.search(message, error), error
    assert not Path('x.py').exists()


def test_a_base_is_not_overwritten_even_by_force(swap: Any, narrow: Path, tmp_path: Path) -> None:
    between, mine = narrow.with_name('between.py'), tmp_path / 'mine.py'
    between.write_text("_base_ = ['./narrow.py']\n")
    mine.write_text("_base_ = 'configs/between.py'\n")
    before = narrow.read_text()
    for base in (narrow, between):
        code, _, error = swap(mine, '-o', base, '--force')
        assert code == 1
        assert f'{base} is a base of CONFIG' in error
    assert narrow.read_text() == before


def test_an_edited_config_is_not_overwritten(swap: Any, narrow: Path, tmp_path: Path) -> None:
    out = tmp_path / 'ddf.py'
    assert swap(narrow, '-o', out)[0] == 0
    written = out.read_text()
    # The same again changes nothing.
    assert swap(narrow, '-o', out)[0] == 0
    out.write_text(written + 'work_dir = "mine"\n')
    code, _, error = swap(narrow, '-o', out)
    assert code == 1
    assert re.search(r'--out: .*ddf\.py is there and differs .* --force', error)
    assert out.read_text() == written + 'work_dir = "mine"\n'
    assert swap(narrow, '-o', out, '--force')[0] == 0
    assert out.read_text() == written


@pytest.fixture
def weights(narrow: Path) -> Path:
    """A checkpoint of the config, beside it under another name."""
    path = narrow.with_name('new.pth')
    torch.save({'state_dict': init_model(str(narrow), device='cpu').state_dict()}, path)
    return path


@pytest.mark.parametrize('linked', [False, True])
def test_the_trained_network_is_never_overwritten(
    swap: Any, narrow: Path, weights: Path, linked: bool
) -> None:
    before = weights.read_bytes()
    out = weights.with_suffix('.py')
    if linked:
        out = narrow.with_name('link.py')
        out.with_suffix('.pth').symlink_to(weights)
    for force in ([], ['--force']):
        code, _, error = swap(narrow, '--checkpoint', weights, '-o', out, *force)
        assert code == 1
        assert re.fullmatch(r'error: --out: \S+\.pth, .* is --checkpoint itself, .*\n', error)
        assert weights.read_bytes() == before
        assert not out.exists()


def test_the_new_network_trains_from_any_folder(
    swap: Any, narrow: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, error = swap(
        'configs/narrow.py', '--checkpoint', 'configs/new.pth', '--finetune', 9, '-o', 'my/ddf.py'
    )
    assert (code, error) == (0, '')
    assert output.splitlines()[-2:] == ['written: my/ddf.pth', 'written: my/ddf.py']
    monkeypatch.chdir(tmp_path / 'configs')
    cfg = load_config('../my/ddf.py')
    assert Path(cfg.load_from).samefile(tmp_path / 'my' / 'ddf.pth')
    check_pretrained(cfg)


def test_a_full_disk_leaves_nothing_and_loses_nothing(
    swap: Any, narrow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(path: Path, content: bytes) -> int:
        with open(path, 'wb') as file:
            file.write(content[:5])
        raise OSError(errno.ENOSPC, 'No space left on device')

    out = tmp_path / 'ddf.py'
    out.write_text('mine')
    monkeypatch.setattr(Path, 'write_bytes', fill)
    code, _, error = swap(narrow, '--force', '-o', out)
    assert code == 1
    assert re.fullmatch(r'error: --out: .*No space left on device\n', error)
    assert out.read_text() == 'mine'
    assert {file.name for file in tmp_path.iterdir()} == {'configs', 'ddf.py'}


def test_it_has_runs_of_its_own(swap: Any, narrow: Path, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'ddf.py'
    assert swap(narrow, '-o', out)[0] == 0
    assert 'work_dir' not in out.read_text()
    narrow.write_text(NARROW + "work_dir = 'runs/narrow'\n")
    assert swap(narrow, '-o', out, '--force')[0] == 0
    assert load_config(str(out)).work_dir == 'work_dirs/ddf'


@pytest.fixture
def swapped(swap: Any, narrow: Path) -> Path:
    out = narrow.with_name('swapped.py')
    assert swap(narrow, '-o', out)[0] == 0
    return out


def test_sliding_windows_over_odd_images(swapped: Path, tmp_path: Path) -> None:
    """init_model and inference_model take the written config as any other."""
    model = init_model(str(swapped), device='cpu')
    image = np.random.default_rng(0).integers(0, 256, (75, 131, 3), np.uint8)
    sample = inference_model(model, image)
    assert sample.pred_sem_seg.data.shape == (1, 75, 131)
    whole = load_config(str(swapped))
    whole.model.test_cfg = dict(mode='whole')
    assert inference_model(init_model(whole, device='cpu'), image).seg_logits.shape == (75, 131)


@pytest.mark.parametrize('size', [(769, 769), (360, 480), (375, 1242), (1025, 2049)])
def test_odd_sizes_give_scores_of_the_originals_size(
    swapped: Path, narrow: Path, size: tuple[int, int]
) -> None:
    original = init_model(str(narrow), device='cpu')
    model = init_model(str(swapped), device='cpu')
    assert not model.load_state_dict(original.state_dict(), strict=False).unexpected_keys
    image = torch.randn(1, 3, *size)
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size, padding_size=[0] * 4)
    with torch.no_grad():
        for network in (original, model):
            assert network.encode_decode(image, [meta]).shape == (1, 19, *size)
        levels = model.extract_feat(image)
        assert model.decode_head(levels).shape[2:] == levels[0].shape[2:]


def test_training_and_test_time_augmentation(
    swap: Any, roads: Path, tmp_path: Path, run: Run, environment: dict[str, str]
) -> None:
    # The work dir gets a copy of its own.
    out = tmp_path / 'configs' / 'swapped.py'
    assert swap(roads / 'config.py', '-o', out)[0] == 0
    assert 'DDFGuidedHead' in out.read_text()
    code, error = run('train', out, '--work-dir', tmp_path)
    assert code == 0, error
    weights = tmp_path / 'iter_4.pth'
    arguments = ['--work-dir', tmp_path, '--tta', '--out', tmp_path / 'o']
    code, error = run('test', out, weights, *arguments)
    assert code == 0, error
    ids = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in (tmp_path / 'o').iterdir()]
    assert [x.shape for x in ids] == [(64, 128)] * 2
