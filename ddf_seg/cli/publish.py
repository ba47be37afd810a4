"""Makes a checkpoint to publish from that of a training: the weights alone, in half precision.

The state of optimizer, schedulers and averaging is left out; names and colours of the classes stay.
--mean-with publishes the mean of several stages of one training: as good on images like those of
the training as the last, and better on others (WiSE-FT, arXiv 2109.01903).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..command_line import ToolParser
from ..errors import UsageError


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=['{program} work_dirs/ddf_camvid/iter_2000.pth small.pth'],
    )
    parser.add_argument('checkpoint', type=Path, help='what tools/train.py wrote')
    parser.add_argument('out', type=Path, help='file to write')
    parser.add_argument(
        '--mean-with', nargs='+', type=Path, default=[], metavar='OTHER',
        help='checkpoints of the same network, to average the weights with (default: none)',
    )  # fmt: skip
    return parser.parse_args()


def read(path: Path, purpose: str) -> dict[str, Any]:
    """What tools/train.py wrote."""
    import torch

    from ..engine.weights.checkpoints import check_checkpoint

    check_checkpoint(path, purpose)
    checkpoint: dict[str, Any] = torch.load(path, map_location='cpu', weights_only=True)
    if 'state_dict' not in checkpoint:
        raise UsageError(f'{purpose}: expected what tools/train.py wrote, {path} has no state_dict')
    return checkpoint


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    import torch

    from ..engine.weights.checkpoints import save_checkpoint

    checkpoint = read(args.checkpoint, 'CHECKPOINT')
    weights = dict(checkpoint['state_dict'])
    others = [read(path, '--mean-with')['state_dict'] for path in args.mean_with]
    for path, other in zip(args.mean_with, others, strict=True):
        shapes, expected = ({k: v.shape for k, v in w.items()} for w in (other, weights))
        if shapes != expected:
            raise UsageError(f'--mean-with: {path} is of another network than {args.checkpoint}')
    for name, weight in weights.items():
        if weight.is_floating_point() and others:
            weights[name] = torch.stack([weight, *(other[name] for other in others)]).mean(dim=0)
    for name, weight in weights.items():
        if weight.is_floating_point():
            half = weight.half()
            if not half.isfinite().all():
                raise UsageError(
                    f'CHECKPOINT: {name} is not finite in half precision, largest value '
                    f'{weight.abs().max().item():.3g}, expected at most 65504'
                )
            weights[name] = half
    known = checkpoint.get('meta', {}).get('dataset_meta')
    save_checkpoint(
        {'meta': {'dataset_meta': known}, 'state_dict': weights}, args.out, args.checkpoint
    )
    print(f'{args.out}: {args.out.stat().st_size / 1e6:.1f} MB')
    return 0
