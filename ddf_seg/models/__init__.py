"""Models in mmseg's registry."""

from . import backbones, decode_heads, necks

__all__ = ['backbones', 'decode_heads', 'necks']
