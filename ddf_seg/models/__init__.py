"""Models in mmseg's registry."""

from . import backbones, decode_heads, necks
from .mean_classifier import MeanClassifier

__all__ = ['MeanClassifier', 'backbones', 'decode_heads', 'necks']
