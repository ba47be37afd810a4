"""Depth maps of drawn scenes, enlarged by joint DDF-Up, by interpolation and by a bilateral filter.

The paper's table 7 at a size that one core trains in minutes. The rows of a seed share images,
their order and crops, and the start of what they have in common.
"""
