"""What importing ddf_seg.openmmlab costs, registers and forgives."""

from __future__ import annotations

import importlib

import torch
from mmcv.cnn import build_conv_layer, build_upsample_layer
from mmengine.registry import MODELS
from processes import run_loaded, run_ok

import ddf_seg.openmmlab
from ddf_seg import _compat, layers
from ddf_seg._compat import mmcv_ops


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
    result = run_loaded("""
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
