"""Trains decoders on the features of a frozen backbone, and compares them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import ddf_seg.openmmlab  # noqa: F401 isort: skip
import torch
from decoder_study.data import read_images
from decoder_study.hosts import rows
from decoder_study.training import Run, run_rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('host')
    parser.add_argument('--rows', nargs='+')
    parser.add_argument('--splits', nargs='+', required=True)
    parser.add_argument('--seeds', nargs='+', type=int, required=True)
    parser.add_argument('--iterations', type=int, default=500)
    parser.add_argument('--checkpoint', type=Path)
    parser.add_argument('--config', type=Path, default=Path('configs/ddf_camvid.py'))
    parser.add_argument('--cache', type=Path, required=True)
    parser.add_argument('--results', type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = read_images(args.config, args.checkpoint, args.cache)
    for seed in args.seeds:
        for split in args.splits:
            run = Run(args.host, split, seed, args.iterations)
            run_rows(run, args.rows or list(rows(args.host)), images, args.results)
            print(split, seed, flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
