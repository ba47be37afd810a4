"""The page to explore filters (Bokeh): one file, which needs no network and no server."""

from .page import build_page

__all__ = ['build_page']
