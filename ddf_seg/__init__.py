"""Decoupled Dynamic Filters for semantic segmentation of road scenes, a plugin of OpenMMLab.

`ddf_seg.ops` and `ddf_seg.layers` need torch alone; `import ddf_seg.openmmlab` makes mmengine, mmcv
and mmsegmentation know the rest.
"""

__version__ = '0.1.0'
