"""Label files of road-scene datasets: class tables, encodings, conversion. Needs no OpenMMLab."""

from __future__ import annotations

from .class_tables import IGNORE, id_map, index_of, metainfo, read_table
from .converting import Job, convert, converter, converter_parser, write_list, write_png
from .encodings import colours_to_ids, draw_polygons, index_colours, map_ids, read_ids, read_json

__all__ = [
    'IGNORE',
    'Job',
    'colours_to_ids',
    'convert',
    'converter',
    'converter_parser',
    'draw_polygons',
    'id_map',
    'index_colours',
    'index_of',
    'map_ids',
    'metainfo',
    'read_ids',
    'read_json',
    'read_table',
    'write_list',
    'write_png',
]
