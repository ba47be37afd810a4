"""Layers around the DDF operators, on torch alone."""

from .conv import DDFConv2d
from .ddf_pack import DDFPack
from .ddf_up_pack import DDFUpPack
from .filter_norm import FilterNorm
from .gated import GatedDDF, GatedDDFConv2d
from .interpolation import InterpolationSoftmax
from .joint_bilateral import JointBilateralUpsample
from .local_attention import LocalAttender, NeighborhoodCrossAttention
from .upsample import DDFUpsample

__all__ = [
    'DDFConv2d',
    'DDFPack',
    'DDFUpPack',
    'DDFUpsample',
    'FilterNorm',
    'GatedDDF',
    'GatedDDFConv2d',
    'InterpolationSoftmax',
    'JointBilateralUpsample',
    'LocalAttender',
    'NeighborhoodCrossAttention',
]
