"""The DDF operators. `reference` has the same two functions in plain torch."""

from . import depthwise_pointwise, filter_norm, registration  # noqa: F401  (define operators)
from .ddf import ddf, ddf_upsample
from .native import is_native_available, load, load_cuda

load()
load_cuda()

__all__ = ['ddf', 'ddf_upsample', 'is_native_available']
