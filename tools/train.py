"""Trains a segmentor, with mmseg's own command line.

    python tools/train.py configs/ddf_camvid.py
    python tools/train.py configs/ddf_camvid.py --resume     goes on after an interruption
    python tools/train.py configs/ddf_camvid.py --work-dir runs/1 --cfg-options randomness.seed=1

Several GPUs: tools/dist_train.sh CONFIG GPUS, or tools/slurm_train.sh.
"""

from __future__ import annotations

import argparse
import sys

from ddf_seg.command_line import interruptible, make_parser, parse_args


def parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    parser.add_argument(
        '--work-dir',
        help="folder for checkpoints and logs (default: the config's work_dir, or work_dirs/ and "
        'the name of CONFIG)',
    )
    parser.add_argument(
        '--resume', action='store_true',
        help='go on from the last checkpoint in the work dir; at the beginning where it has none '
        '(default: start anew)',
    )  # fmt: skip
    parser.add_argument(
        '--amp', action='store_true',
        help='train in mixed precision, on CPUs in bfloat16 (default: as the config says)',
    )  # fmt: skip
    return parser


def main() -> int:
    args = parse_args(parser())
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ddf_seg.engine.tools import run_mmseg_tool

    return run_mmseg_tool('train', args)


if __name__ == '__main__':
    sys.exit(interruptible(main))
