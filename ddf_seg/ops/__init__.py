"""The DDF operators. `reference` has `ddf` and `ddf_upsample` in plain torch."""

from . import (  # noqa: F401  (define operators)
    depthwise_pointwise,
    filter_norm,
    interpolation_softmax,
    registration,
    weight_gain,
)
from .affinity import affinity
from .ddf import ddf, ddf_upsample
from .native import LIBRARIES, is_native_available, load

for _device_type in LIBRARIES:
    load(_device_type)

__all__ = ['affinity', 'ddf', 'ddf_upsample', 'is_native_available']
