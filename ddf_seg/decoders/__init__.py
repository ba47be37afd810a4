"""Decoders for segmentation on torch alone: a backbone's levels in, a map out."""

from .blocks import Projection
from .refinement import DDFRefinement, GatedAddition, GatedRefinement, SeparableRefinement
from .top_down import DDFDecoder, TopDownDecoder
from .upsampling import GuidedUpsample, build_fusion

__all__ = [
    'DDFDecoder',
    'DDFRefinement',
    'GatedAddition',
    'GatedRefinement',
    'GuidedUpsample',
    'Projection',
    'SeparableRefinement',
    'TopDownDecoder',
    'build_fusion',
]
