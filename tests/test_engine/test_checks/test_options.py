"""Keys and values that lead nowhere are named before anything runs."""

from __future__ import annotations

from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
from mmengine.config import Config

from ddf_seg.engine.checks.options import check_options, check_values
from ddf_seg.engine.config_file import load_config
from ddf_seg.errors import UsageError

CONFIG = Config(
    {
        'model': {'type': 'A', 'test_cfg': {'mode': 'whole'}, 'pretrained': None, 'depth': 3},
        'load_from': None,
        'data_root': 'data/roads',
        'train_dataloader': {'dataset': {'type': 'D', 'data_root': 'data/roads'}},
        'param_scheduler': [{'type': 'PolyLR'}],
    }
)


@pytest.mark.parametrize(
    ('key', 'expected'),
    [
        ('modle.depth', "no key 'modle' (did you mean 'model'?)"),
        ('model.test_cfg.mod', "model.test_cfg has no key 'mod' (did you mean 'mode'?)"),
        ('param_scheduler.1.type', 'param_scheduler is a list: expected an index from 0 to 0'),
        ('param_scheduler.type', "got 'type'"),
        ('model.depth.x', "model.depth is 3, which has no key 'x'"),
    ],
)
def test_an_option_that_leads_nowhere(key: str, expected: str) -> None:
    with pytest.raises(UsageError) as error:
        check_options(CONFIG, {key: 1})
    assert str(error.value).startswith(f'--cfg-options {key}: ')
    assert expected in str(error.value)


def test_options_that_lead_somewhere() -> None:
    keys = ['model.new_argument', 'load_from', 'randomness.seed', 'param_scheduler.0.begin']
    keys += ['model.pretrained.type', 'model.test_cfg.stride', 'work_dir']
    assert check_options(CONFIG, dict.fromkeys(keys, 1)) == []


def test_an_option_without_effect_is_pointed_out() -> None:
    (warning,) = check_options(CONFIG, {'data_root': '/x'})
    assert 'has no effect' in warning
    assert 'train_dataloader.dataset.data_root=/x' in warning


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        (
            'model = dict(heads=[1, dict(f=lambda x: x)])',
            'model.heads.1.f: <function <lambda',
        ),
        ('class Kind: pass', "Kind: <class 'Kind'> cannot"),
        ("model = dict(norm=__import__('torch').nn.ReLU)", 'model.norm: <class '),
        ("mean = __import__('numpy').ones(3)", 'mean: array([1., 1., 1.]) cannot'),
    ],
)
def test_a_value_that_cannot_be_written_is_named(tmp_path: Path, line: str, expected: str) -> None:
    file = tmp_path / 'config.py'
    file.write_text(f'{line}\n')
    cfg = load_config(str(file))
    # mmengine refuses to write it; its fork writes names that nobody can read back.
    with pytest.raises((SyntaxError, NameError)):
        Config.fromstring(cfg.pretty_text, '.py')
    with pytest.raises(UsageError) as error:
        check_values(cfg)
    assert str(error.value).startswith(expected)
    assert len(str(error.value)) < 400


def test_values_that_can_be_written_pass(tmp_path: Path) -> None:
    file = tmp_path / 'config.py'
    file.write_text(
        'scale = float("inf")\nsize = (1, [2.5, None])\nname = "<function f at 0x1>"\n'
        'model = {3: True, "a-b": dict()}\nhelper = lambda x: x\n'
    )
    cfg = load_config(str(file))
    check_values(cfg)
    assert 'helper' not in cfg.pretty_text
    # The pure Python style, whose classes mmengine writes by name
    lazy = tmp_path / 'lazy.py'
    lazy.write_text(
        'from torch.nn import ReLU\nfrom mmengine.config import read_base\n'
        'with read_base():\n    from .config import size\nmodel = dict(type=ReLU)\n'
    )
    cfg = load_config(str(lazy))
    check_values(cfg)
    assert 'ReLU' in cfg.pretty_text
