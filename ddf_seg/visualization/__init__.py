"""Looking at filters: capture, statistics, pictures, a page to explore, and a training hook.

`pictures` and `explorer` need matplotlib (the extra `visualization`) and are imported by those who
use them.
"""

from .calls import FilterCall
from .capture import capture_filters
from .hook import FilterVisualizationHook
from .inspection import Inspection, inspect_batch, inspect_image
from .points import Point, named_points, pick_points
from .showing import Exploration, explore

__all__ = [
    'Exploration',
    'FilterCall',
    'FilterVisualizationHook',
    'Inspection',
    'Point',
    'capture_filters',
    'explore',
    'inspect_batch',
    'inspect_image',
    'named_points',
    'pick_points',
]
