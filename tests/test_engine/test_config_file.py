from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import mmseg
import pytest
from mmengine.config import Config

from ddf_seg.engine.building import check_swallowed_arguments
from ddf_seg.engine.config_file import check_options, check_values, load_config
from ddf_seg.engine.errors import UsageError

ZOO = Path(mmseg.__file__).parent / '.mim' / 'configs'


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('model = dict(\n', ['child.py, line 1', 'never closed']),
        ('a = 1\nb = undefined\n', ['child.py, line 2', "NameError: name 'undefined'"]),
        ("_base_ = './bsae.py'\n", ['child.py: _base_ ', "did you mean 'base.py'"]),
        ("_base_ = './broken.py'\n", ['broken.py, line 1', 'invalid syntax']),
        ("_base_ = './parent.py'\n", ['parent.py: _base_ ', 'no_such.py does not exist']),
        ("_base_ = 'mmseg::_base_/models/fcn_r50-d9.py'\n", ["did you mean 'fcn_r50-d8.py'"]),
        ("custom_imports = dict(imports=['no_such'])\n", ["No module named 'no_such'"]),
        ('train_datloader = dict()\n', ["'train_datloader' (did you mean 'train_dataloader'?)"]),
    ],
)
def test_a_config_that_cannot_be_read(tmp_path: Path, text: str, expected: list[str]) -> None:
    write(tmp_path / 'base.py', 'a = 1\n')
    write(tmp_path / 'broken.py', 'a = = 1\n')
    write(tmp_path / 'parent.py', "_base_ = './no_such.py'\n")
    with pytest.raises(UsageError) as error:
        load_config(write(tmp_path / 'child.py', text))
    for part in expected:
        assert part in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('confg.py', r"confg\.py does not exist \(did you mean 'config\.py'"),
        ('no_folder/config.py', 'does not exist'),
        ('config.txt', 'Only py/yml/yaml/json'),
    ],
)
def test_a_config_that_is_not_there(tmp_path: Path, name: str, expected: str) -> None:
    write(tmp_path / 'config.py', 'a = 1\n')
    write(tmp_path / 'config.txt', 'a = 1\n')
    with pytest.raises(UsageError, match=expected):
        load_config(str(tmp_path / name))


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('mmseg::segformr/segformer_mit-b0.py', r"does not exist \(did you mean 'segformer'\?\)"),
        ('mmsg::fcn/fcn.py', r"the package mmsg is not installed \(did you mean 'mmseg'\?\)"),
        ('mmseg::segformer', r'mmseg::segformer: expected PACKAGE::FOLDER/CONFIG\.py'),
    ],
)
def test_a_config_that_no_package_has(path: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        load_config(path)


@pytest.mark.skipif(bool(find_spec('mmpretrain')), reason='mmpretrain is installed')
def test_a_config_of_another_package_says_what_to_install() -> None:
    config = 'mmseg::convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py'
    with pytest.raises(UsageError, match=r"'mmpretrain'\. Install it: pip install mmpretrain$"):
        load_config(config)


def test_a_config_of_a_package() -> None:
    cfg = load_config('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py')
    assert cfg.model.decode_head.type == 'FCNHead'
    with pytest.raises(UsageError, match='package mmnothing is not installed'):
        load_config('mmnothing::fcn/a.py')


def test_nothing_in_mmsegs_zoo_is_taken_for_a_typo() -> None:
    # Every fifth of the methods that need neither mmdet nor mmpretrain
    others = {'_base_', 'beit', 'convnext', 'mae', 'mask2former', 'maskformer', 'poolformer'}
    folders = sorted(folder for folder in ZOO.iterdir() if folder.name not in others)
    files = [file for folder in folders for file in sorted(folder.glob('*.py'))[:1]]
    assert len(files) > 30
    for file in files[::5]:
        check_swallowed_arguments(load_config(str(file)))


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
    # mmengine quotes the config.
    with pytest.raises(SyntaxError, match='Failed to format the config file'):
        _ = cfg.pretty_text
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


def test_a_call_in_a_config_with_imports_is_explained(tmp_path: Path) -> None:
    file = tmp_path / 'config.py'
    file.write_text('import numpy\nmean = numpy.ones(3)\n')
    with pytest.raises(UsageError, match=r'config\.py, line 2: calls what was imported'):
        load_config(str(file))
