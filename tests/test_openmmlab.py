"""What importing ddf_seg.openmmlab mends and registers; each defect is shown before its mend."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import pkgutil
import subprocess
import sys
import textwrap
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mmengine
import mmseg
import numpy as np
import pytest
import torch
from mmcv.cnn import build_conv_layer, build_upsample_layer
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.logging import HistoryBuffer
from mmengine.registry import MODELS
from mmengine.runner import checkpoint as mmengine_checkpoint

import ddf_seg.openmmlab
from ddf_seg import _compat, layers
from ddf_seg._compat import mmcv_ops, packages, resuming

ROOT = Path(__file__).parents[1]
MMCV_HAS_OPS = find_spec('mmcv._ext') is not None and not isinstance(
    sys.modules.get('mmcv._ext'), mmcv_ops._MissingOps
)

# Makes `import name` fail as if `name` were not installed (or broken).
BLOCK = """
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def __init__(self, name, error): self.name, self.error = name, error
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == self.name: raise self.error
def block(name, error=None):
    error = error or ModuleNotFoundError(f'No module named {name!r}', name=name)
    sys.meta_path.insert(0, Block(name, error))
"""


def run(code: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, with ``path`` to import from."""
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', BLOCK + textwrap.dedent(code)],
        env={**os.environ, 'PYTHONPATH': str(path), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run_ok(code: str, path: Path = ROOT) -> Any:
    """Run Python code that must succeed, and parse the last line that it prints as JSON."""
    result = run(code, path)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


# --- importing and registering ---


def test_import_is_quick_and_quiet() -> None:
    result = run_ok(f"""
        import contextlib, importlib.util, io, json, time, warnings
        import torch, mmengine
        # mmseg.models cannot be imported without this mend (which imports next to nothing).
        spec = importlib.util.spec_from_file_location('ops', {str(mmcv_ops.__file__)!r})
        ops = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(ops)
        ops.mend_missing_ops()
        import mmseg.models, mmseg.datasets, mmseg.evaluation, mmseg.engine
        started = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()) as out, \\
             contextlib.redirect_stderr(io.StringIO()) as err, \\
             warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            import ddf_seg.openmmlab
        seconds = time.process_time() - started
        printed = out.getvalue() + err.getvalue()
        print(json.dumps([seconds, printed, [str(w.message) for w in caught]]))
    """)
    seconds, printed, warned = result
    assert seconds < 0.6  # twice what it may cost, for busy machines
    assert printed == ''
    assert warned == []


def test_layers_are_registered_for_mmcv() -> None:
    conv = build_conv_layer({'type': 'DDF'}, 4, 8, 3, padding=1)
    assert isinstance(conv, layers.DDFConv2d)
    assert conv(torch.rand(1, 4, 6, 6)).shape == (1, 8, 6, 6)
    up = build_upsample_layer({'type': 'DDFUp', 'channels': 4, 'scale_factor': 2})
    assert isinstance(up, layers.DDFUpsample)
    for name in ('DDFPack', 'DDFUpPack', 'FilterNorm'):
        assert MODELS.get(name) is getattr(layers, name)


def test_mending_and_registering_twice() -> None:
    first = _compat.apply()
    importlib.reload(ddf_seg.openmmlab)
    assert _compat.apply() == first


def test_without_mmengine() -> None:
    result = run("""
        block('mmengine')
        import ddf_seg.ops, ddf_seg.layers
        print('still here')
        import ddf_seg.openmmlab
    """)
    assert result.stdout == 'still here\n'
    assert 'ImportError' in result.stderr
    assert "pip install --no-build-isolation '.[mmseg]'" in result.stderr
    assert 'the maintained forks, as its README says' in result.stderr


def test_only_a_missing_mmseg_is_forgiven() -> None:
    errors, names = run_ok("""
        import json
        block('mmseg')
        finder = sys.meta_path[0]
        missing, errors = finder.error, []
        for finder.error in (
            ImportError('undefined symbol'),
            ModuleNotFoundError("No module named 'ftfy'", name='ftfy'),
            ValueError('broken'),
        ):
            try:
                import ddf_seg.openmmlab
            except Exception as error:
                errors.append(str(error))
        import ddf_seg.ops, ddf_seg.layers
        finder.error = missing
        import ddf_seg.openmmlab
        from mmengine.registry import MODELS
        names = [name for name in ('DDF', 'DDFUp', 'DDFHead') if name in MODELS]
        print(json.dumps([errors, names]))
    """)
    assert errors == ['undefined symbol', "No module named 'ftfy'", 'broken']
    assert names == ['DDF', 'DDFUp']


# --- mmcv without its compiled operators ---


@pytest.mark.skipif(MMCV_HAS_OPS, reason='this mmcv has its compiled operators')
def test_missing_ops() -> None:
    result = run('import mmcv.ops')  # as mmseg.models does
    assert "No module named 'mmcv._ext'" in result.stderr

    import mmseg.models  # noqa: F401
    from mmcv.ops import PSAMask

    assert importlib.import_module('mmcv._ext').__spec__.loader is None
    with pytest.raises(NotImplementedError, match=r"'psamask_forward' .* mmcv-lite"):
        PSAMask('collect', (2, 2))(torch.rand(1, 4, 2, 2))
    with pytest.raises(AttributeError):
        importlib.import_module('mmcv._ext').__path__  # noqa: B018


@pytest.mark.parametrize(
    ('source', 'outcome'),
    [('real = True', 'real'), ("raise ImportError('undefined symbol')", 'undefined symbol')],
)
def test_existing_ops_are_left_alone(tmp_path: Path, source: str, outcome: str) -> None:
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    (tmp_path / 'mmcv' / '_ext.py').write_text(source)
    needed, message = run_ok(
        f"""
        import json, runpy
        needed = runpy.run_path({str(mmcv_ops.__file__)!r})['mend_missing_ops']()
        try:
            import mmcv._ext
            message = 'real' if mmcv._ext.real else ''
        except ImportError as error:
            message = str(error)
        print(json.dumps([needed, message]))
        """,
        path=tmp_path,
    )
    assert needed is False
    assert message == outcome


# --- finding packages ---


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


# --- loading checkpoints ---


def saved(value: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return file


class Call:
    """Pickled as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call

    def __call__(self) -> None:
        """pickle wants functions to be callable."""


def history() -> HistoryBuffer:
    buffer = HistoryBuffer([1.0, 2.5], [1, 2])
    # As the runner keeps it: with the table of statistics in the instance.
    buffer._statistics_methods = dict(HistoryBuffer._statistics_methods)
    return buffer


def test_loading_training_state() -> None:
    state = {
        'history': history(),
        'best': np.float64(61.5),
        'scores': [np.float32(1), np.int64(2), np.bool_(True)],
        'palette': np.arange(6, dtype=np.uint8).reshape(2, 3),
    }
    trusted = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with pytest.raises(Exception, match=r'HistoryBuffer|numpy'):
            torch.load(saved(state))
    finally:
        torch.serialization.add_safe_globals(trusted)
    loaded = torch.load(saved(state), weights_only=True)
    assert loaded['history'].mean() == state['history'].mean()
    assert loaded['history'].statistics('max') == 2.5
    assert loaded['best'] == 61.5
    assert loaded['scores'] == state['scores']
    np.testing.assert_array_equal(loaded['palette'], state['palette'])


def test_loading_what_numpy_1_wrote() -> None:
    file = io.BytesIO()
    # The legacy format holds the pickle itself, whose names end with a line: free to be renamed.
    torch.save({'history': history()}, file, _use_new_zipfile_serialization=False)
    old = file.getvalue().replace(b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n')
    assert old != file.getvalue()
    assert torch.load(io.BytesIO(old), weights_only=True)['history'].current() == 2.5


@pytest.mark.parametrize(
    'payload',
    [
        Call(getattr, HistoryBuffer, '__init__'),
        Call(getattr, HistoryBuffer, '_statistics_methods'),
        Call(getattr, np.ndarray, 'tofile'),
        Call(getattr, torch.Tensor, '__reduce_ex__'),
        Call(getattr, Call(getattr, HistoryBuffer, 'mean'), '__globals__'),
        Call(Call(getattr, HistoryBuffer, 'mean'), history()),
        Call(os.system, 'true'),
        Call(eval, '1'),
    ],
)
def test_malicious_checkpoints_are_refused(payload: Call) -> None:
    with pytest.raises(Exception, match='Weights only load failed'):
        torch.load(saved(payload))


def test_getattr_is_not_the_real_one() -> None:
    loaded = torch.load(saved(Call(getattr, HistoryBuffer, 'mean')))
    assert loaded is HistoryBuffer.mean
    user_globals = torch._weights_only_unpickler._get_user_allowed_globals()
    assert user_globals['builtins.getattr'] is resuming.history_statistic


def test_mmengine_never_runs_code_of_a_checkpoint(tmp_path: Path) -> None:
    marker = tmp_path / 'marker'
    file = tmp_path / 'evil.pth'
    torch.save(Call(os.mkdir, str(marker)), file)
    with pytest.raises(Exception, match='Weights only load failed'):
        mmengine_checkpoint.load_checkpoint(torch.nn.Linear(1, 1), str(file), map_location='cpu')
    assert not marker.exists()
    if not resuming.mend_unsafe_loading():
        pytest.skip(f'mmengine {mmengine.__version__} loads safely (checked), no mend to compare')
    run_ok(f"""
        from mmengine.runner.checkpoint import load_from_local
        load_from_local({str(file)!r}, 'cpu')
        print(0)
    """)
    assert marker.exists()
