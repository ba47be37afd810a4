from .ddf_fpn import DDFFPN

__all__ = ['DDFFPN']
