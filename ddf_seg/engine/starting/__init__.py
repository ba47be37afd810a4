"""From a folder of pictures and masks to a config that trains (ddf-seg init).

`layout` finds pairs of files, `annotations.masks` reads what the masks hold, `class_list` decides
what it means, `division` which pictures validate, `recipe` sizes and numbers, and `writing` makes
the config's text.
"""

from __future__ import annotations

from .starting import CONFIG, Options, Start, start

__all__ = ['CONFIG', 'Options', 'Start', 'start']
