"""What stands between a config and a run: hooks, and checks with messages a user can act on.

What registers itself (flops, hooks, package_weights) is imported by `ddf_seg.openmmlab`: the tools
need the errors before they import OpenMMLab.
"""
