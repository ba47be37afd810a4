"""Looking at filters: capture, statistics, pictures, a page to explore, and a training hook.

`capture_filters` needs torch alone. What looks at networks of mmsegmentation is imported when it is
asked for. `pictures` and `explorer` need matplotlib (the extra `visualization`) and are imported by
those who use them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .calls import FilterCall
from .capture import capture_filters

if TYPE_CHECKING:
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

_HOMES = {
    'hook': ('FilterVisualizationHook',),
    'inspection': ('Inspection', 'inspect_batch', 'inspect_image'),
    'points': ('Point', 'named_points', 'pick_points'),
    'showing': ('Exploration', 'explore'),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f'.{module}', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
