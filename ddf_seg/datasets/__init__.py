"""Road-scene datasets in mmseg's registry, and a generator of synthetic scenes."""

from .camvid import CamVidDataset

__all__ = ['CamVidDataset']
