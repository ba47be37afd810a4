"""Models in mmseg's registry."""

from . import backbones, decode_heads, necks
from .depth_upsampler import DepthUpsampler
from .mean_classifier import MeanClassifier

__all__ = ['DepthUpsampler', 'MeanClassifier', 'backbones', 'decode_heads', 'necks']
