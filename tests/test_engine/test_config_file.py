from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import mmseg
import pytest

from ddf_seg.engine.config_file import load_config
from ddf_seg.errors import UsageError

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


def test_a_call_in_a_config_with_imports_is_explained(tmp_path: Path) -> None:
    file = tmp_path / 'config.py'
    file.write_text('import numpy\nmean = numpy.ones(3)\n')
    with pytest.raises(UsageError, match=r'config\.py, line 2: calls what was imported'):
        load_config(str(file))
