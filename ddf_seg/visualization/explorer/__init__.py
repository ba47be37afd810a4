"""The page to explore filters: one file, which needs no network and no server.

Python packs and describes; the scripts of web/, which it puts into the page one after another,
show. There is no framework.
"""

from .page import build_page

__all__ = ['build_page']
