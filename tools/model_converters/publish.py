"""Makes a checkpoint to publish from that of a training: the weights alone, in half precision.

The state of optimizer, schedulers and averaging is left out; names and colours of the classes stay.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ddf_seg.command_line import ToolParser, show_usage_errors
from ddf_seg.errors import UsageError


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            'python tools/model_converters/publish.py work_dirs/ddf_camvid/iter_2000.pth small.pth'
        ],
    )
    parser.add_argument('checkpoint', type=Path, help='what tools/train.py wrote')
    parser.add_argument('out', type=Path, help='file to write')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    import torch

    from ddf_seg.engine.weights.checkpoints import check_checkpoint, save_checkpoint

    check_checkpoint(args.checkpoint, 'CHECKPOINT')
    checkpoint = torch.load(args.checkpoint, map_location='cpu', weights_only=True)
    if 'state_dict' not in checkpoint:
        raise UsageError(
            f'CHECKPOINT: expected what tools/train.py wrote, {args.checkpoint} has no state_dict'
        )
    weights = dict(checkpoint['state_dict'])
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


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
