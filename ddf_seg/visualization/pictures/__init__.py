"""Pictures of filters (matplotlib)."""

from .at_points import draw_phases, draw_points, pick_channels
from .footprints import animate_scan, draw_footprint
from .of_image import LAYER_PICTURES, layer_pictures, telling
from .of_layers import draw_channels, draw_classes, draw_maps
from .overview import draw_overview, layer_bases
from .style import save, to_array

__all__ = [
    'LAYER_PICTURES',
    'animate_scan',
    'draw_channels',
    'draw_classes',
    'draw_footprint',
    'draw_maps',
    'draw_overview',
    'draw_phases',
    'draw_points',
    'layer_bases',
    'layer_pictures',
    'pick_channels',
    'save',
    'telling',
    'to_array',
]
