"""A page in the browser: upload a street, see its classes and the filters of its pixels."""

from .segmenting import Demo
from .server import serve

__all__ = ['Demo', 'serve']
