"""Our configs and weights by name, wherever OpenMMLab's packages have theirs."""

from __future__ import annotations

from pathlib import Path

import ddf_seg.openmmlab  # isort: skip
import mmseg
import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.runner.checkpoint import CheckpointLoader
from processes import run_ok
from scripts import ROOT

from ddf_seg.engine.config_file import load_config
from ddf_seg.engine.weights.pretrained import check_weights
from ddf_seg.errors import UsageError


def test_mmengine_knows_none_of_it_without_us() -> None:
    """If it does one day, drop the registration."""
    before, after = run_ok("""
        import json
        from mmengine.config import Config
        def attempt(base):
            try:
                return Config.fromstring(f'_base_ = [{base!r}]', '.py').model.decode_head.type
            except Exception as error:
                return f'{type(error).__name__}: {error}'
        names = ('ddf_seg::ddf_camvid.py', 'ddf_seg::_base_/models/ddf_r50.py')
        before = [attempt(name) for name in names]
        import ddf_seg.openmmlab
        print(json.dumps([before, [attempt(name) for name in names]]))
    """)
    assert before[0].startswith('ValueError: `_get_package_and_cfg_path`')
    assert before[1] == 'AssertionError: mmengine does not support to load ddf_seg config.'
    assert after == ['DDFHead', 'DDFHead']


@pytest.mark.parametrize('read', [load_config, get_config])
def test_a_config_by_name_is_the_file(read: type) -> None:
    for name in ('ddf_camvid.py', 'ddf_camvid_trainval_finetune.py'):
        expected = Config.fromfile(ROOT / 'configs' / name)
        assert read(f'ddf_seg::{name}').to_dict() == expected.to_dict()


def test_as_a_base_it_builds_in_the_scope_of_the_file(tmp_path: Path) -> None:
    """mmengine notes whose base it is, and searches that package's registry."""
    file = tmp_path / 'config.py'
    file.write_text(
        "_base_ = ['ddf_seg::ddf_camvid.py']\nmodel = dict(decode_head=dict(channels=8))"
    )
    cfg = Config.fromfile(file)
    assert cfg.model.decode_head.channels == 8
    assert "'_scope_': 'ddf_seg'" not in str(cfg.to_dict())
    file.write_text("_base_ = ['mmseg::_base_/models/pspnet_r50-d8.py']")
    assert Config.fromfile(file).model['_scope_'] == 'mmseg'


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"camvd\.py does not exist \(did you mean 'ddf_camvid"):
        load_config('ddf_seg::ddf_camvd.py')
    with pytest.raises(UsageError, match=r'^CHECKPOINT: .*ddf_camvd\.pth, which is not there'):
        check_weights('ddf_seg::ddf_camvd.pth', 'CHECKPOINT')


def test_the_weights_that_a_metafile_names_are_there() -> None:
    path = get_config('ddf_seg::ddf_camvid_trainval_finetune.py', pretrained=True).model_path
    loaded = CheckpointLoader.load_checkpoint(path)
    expected = torch.load(ROOT / 'checkpoints/ddf_camvid.pth', weights_only=True)
    assert loaded['state_dict'].keys() == expected['state_dict'].keys()


def test_it_is_laid_out_as_mmseg_is() -> None:
    """mim and mmengine look there."""
    ours, theirs = (Path(module.__file__).parent / '.mim' for module in (ddf_seg, mmseg))
    for name in ('model-index.yml', 'configs', 'tools/train.py', 'tools/test.py'):
        assert (theirs / name).exists()
        assert (ours / name).exists()
