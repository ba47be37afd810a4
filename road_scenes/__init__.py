"""Road scenes with Cityscapes' 19 classes, drawn with OpenCV: what the demo trains on."""

from .labels import CLASSES, IGNORE, PALETTE, colourise
from .scene import render_scene, render_with_depth
from .view import View

VERSION = 1
"""Rises whenever the same seed gives other pictures than before."""

__all__ = [
    'CLASSES',
    'IGNORE',
    'PALETTE',
    'VERSION',
    'View',
    'colourise',
    'render_scene',
    'render_with_depth',
]
