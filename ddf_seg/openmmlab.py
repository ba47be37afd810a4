"""Makes OpenMMLab know ddf_seg: importing this mends what today's versions broke, then registers.

In a config::

    custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

A config that inherits from ``'mmseg::…'`` or ``'ddf_seg::…'`` needs the import before it is read,
as the tools do: mmengine reads ``_base_`` first.
"""

from __future__ import annotations

from . import threads  # noqa: F401  (before torch is loaded, by mmengine or whatever comes here)

try:
    import mmengine  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != 'mmengine':
        raise
    raise ImportError(
        'ddf_seg.openmmlab needs mmengine, mmcv and mmsegmentation: in a checkout of ddf_seg, pip '
        "install --no-build-isolation '.[mmseg]' (the official packages), or the maintained forks, "
        'as its README says; never both. ddf_seg.ops and ddf_seg.layers work without.'
    ) from error

from mmengine.registry import MODELS

from . import _compat, layers
from ._compat.configs import register_configs

_compat.apply()
register_configs()


def _register_layers() -> None:
    # mmcv looks for convolutions and upsampling layers in mmengine's root registry.
    for name, layer in {
        'DDF': layers.DDFConv2d,
        'DDFUp': layers.DDFUpsample,
        'DDFPack': layers.DDFPack,
        'DDFUpPack': layers.DDFUpPack,
        'FilterNorm': layers.FilterNorm,
    }.items():
        if MODELS.module_dict.get(name) is not layer:
            MODELS.register_module(name=name, module=layer)


def _register_segmentation() -> None:
    try:
        import mmseg  # noqa: F401
    except ModuleNotFoundError as error:
        # The layers serve other OpenMMLab projects, too. A broken mmseg has to say so itself.
        if error.name not in ('mmseg', 'mmcv'):
            raise
        return
    from . import datasets, evaluation, models  # noqa: F401
    from ._compat.losses import mend_class_weight
    from ._compat.reading import mend_nameless_errors
    from .engine import flops, hooks  # noqa: F401
    from .engine.weights import package_weights  # noqa: F401
    from .visualization import hook  # noqa: F401

    mend_class_weight()
    mend_nameless_errors()


_register_layers()
_register_segmentation()
