"""Converts a dataset's labels to class ids, or the DDF authors' classifiers."""

from __future__ import annotations

from .. import run_command

NAMES = (
    *('camvid', 'cityscapes', 'gta5', 'idd', 'kitti', 'nuimages', 'synthia', 'wilddash2'),
    'ddfnet',
)


def main() -> int:
    return run_command(__name__, NAMES, __doc__)
