"""Finding packages under their names; each defect is shown before its mend."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import metadata
from pathlib import Path

import mmseg
import pytest
from mmengine.config.utils import MODULE2PACKAGE
from openmmlab_toy import MMCV_HAS_OPS
from processes import run_ok

from ddf_seg._compat import packages


def test_what_setuptools_82_and_python_3_14_removed() -> None:
    before, after, patched = run_ok("""
        block('pkg_resources')
        import json, pkgutil
        if hasattr(pkgutil, 'find_loader'):
            del pkgutil.find_loader
        from mmcv.utils.ext_loader import check_ops_exist
        from mmengine import Config
        from mmengine.utils.dl_utils import mmcv_full_available
        def read_config():
            text = "_base_ = 'mmseg::_base_/models/pspnet_r50-d8.py'"
            return Config.fromstring(text, '.py').model.type
        def attempt(function):
            try:
                return function()
            except Exception as error:
                return f'{type(error).__name__}: {error}'
        functions = (read_config, check_ops_exist, mmcv_full_available)
        before = [attempt(function) for function in functions]
        import ddf_seg.openmmlab
        after = [attempt(function) for function in functions]
        print(json.dumps([before, after, hasattr(pkgutil, 'find_loader')]))
    """)
    find_loader = "AttributeError: module 'pkgutil' has no attribute 'find_loader'"
    if MODULE2PACKAGE['mmseg'] == 'mmsegmentation':
        pkg_resources = "ModuleNotFoundError: No module named 'pkg_resources'"
        assert before == [pkg_resources, find_loader, find_loader]
        assert after == ['EncoderDecoder', MMCV_HAS_OPS, MMCV_HAS_OPS]
    else:
        # onedl-mmengine needs neither. It looks for another distribution, though, and takes the
        # placeholder for operators: it then builds the classes of mmcv.ops, which is harmless.
        assert 'mmsegmentation is not installed' in before[0]
        assert before[1:] == [find_loader, MMCV_HAS_OPS]
        assert after == ['EncoderDecoder', MMCV_HAS_OPS, True]
    assert not patched


def test_package_lookup() -> None:
    folder = str(Path(inspect.getfile(mmseg)).parent)
    assert packages.get_installed_path(MODULE2PACKAGE['mmseg']) == folder
    assert packages.get_installed_path('mmseg') == folder
    assert packages.is_installed(MODULE2PACKAGE['mmseg'])
    assert packages.is_installed('mmseg')
    assert packages.package2module(MODULE2PACKAGE['mmseg']) == 'mmseg'
    assert not packages.is_installed('no-such-package')
    with pytest.raises(metadata.PackageNotFoundError):
        packages.get_installed_path('no-such-package')


def test_package_lookup_of_an_editable_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / 'site' / 'some_package-1.0.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: some-package\nVersion: 1.0\n')
    (info / 'top_level.txt').write_text('some_module\n')
    module = tmp_path / 'checkout' / 'some_module'
    module.mkdir(parents=True)
    (module / '__init__.py').touch()
    monkeypatch.syspath_prepend(tmp_path / 'site')
    monkeypatch.syspath_prepend(tmp_path / 'checkout')
    assert packages.get_installed_path('some-package') == str(module)


def test_forks_are_found_by_their_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULE2PACKAGE, 'mmseg', 'mmsegmentation')
    installed = {'onedl-mmsegmentation'}
    monkeypatch.setattr(packages, '_has_distribution', installed.__contains__)
    assert packages.mend_package_names()
    assert MODULE2PACKAGE['mmseg'] == 'onedl-mmsegmentation'
    assert packages.mend_package_names()
    # The official package goes first; mmengine's registries read the keys, which stay.
    monkeypatch.setitem(MODULE2PACKAGE, 'mmseg', 'mmsegmentation')
    installed.add('mmsegmentation')
    assert not packages.mend_package_names()
    assert MODULE2PACKAGE['mmseg'] == 'mmsegmentation'
    assert 'mmengine' not in MODULE2PACKAGE


def test_find_loader_is_left_alone() -> None:
    if not hasattr(pkgutil, 'find_loader'):
        pytest.skip('this Python has no pkgutil.find_loader')
    assert not packages.mend_find_loader()
