"""Scores a checkpoint, with mmseg's own command line: python tools/test.py CONFIG CHECKPOINT …"""

import sys

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg.engine.tools import run_mmseg_tool

if __name__ == '__main__':
    sys.exit(run_mmseg_tool('test'))
