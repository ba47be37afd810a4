"""Scores a checkpoint on the config's test set, with mmseg's own command line.

A test set without labels is not scored; --out and --show-dir still write what is predicted.
In place of CHECKPOINT, a file of ddf-seg export (.onnx, .xml) is scored, in its own runtime.
Several GPUs: torchrun --nproc-per-node GPUS -m ddf_seg test CONFIG CHECKPOINT --launcher pytorch,
or tools/dist_test.sh CONFIG CHECKPOINT GPUS.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..command_line import ToolParser
from ..errors import UsageError


def parser() -> ToolParser:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} ddf_seg::ddf_camvid_trainval_finetune.py \\\n    ddf_seg::ddf_camvid.pth',
            '{program} CONFIG CHECKPOINT --out ids --show-dir pictures',
            '{program} ddf_seg::ddf_camvid_trainval_finetune.py ddf_camvid.onnx',
        ],
    )
    parser.add_argument('config', help="config file, or a package's: mmseg::fcn/…")
    parser.add_argument('checkpoint', help='checkpoint file or URL, or an exported .onnx or .xml')
    parser.add_argument(
        '--work-dir',
        help="folder for the log, and the scores as JSON (default: the config's work_dir, or "
        'work_dirs/ and the name of CONFIG)',
    )
    parser.add_argument(
        '--out', metavar='DIR', help='write the predicted class ids there, as PNG (default: no)'
    )
    parser.add_argument(
        '--show-dir', metavar='DIR',
        help='write pictures of truth and prediction there, into a folder named by the time '
        '(default: no)',
    )  # fmt: skip
    parser.add_argument(
        '--show', action='store_true', help='show them on the screen instead (default: no)'
    )
    parser.add_argument(
        '--wait-time', type=float, default=2, metavar='S', help='seconds that --show shows each'
    )  # fmt: skip
    parser.add_argument(
        '--tta', action='store_true',
        help="average the predictions for several sizes and mirrored images, the config's "
        'tta_pipeline (default: no)',
    )  # fmt: skip
    parser.add_cfg_options()
    parser.add_launcher()
    return parser


def main() -> int:
    args = parser().parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ..engine.running.exported_scoring import SUFFIXES

    if args.checkpoint.endswith(SUFFIXES):
        return _score_exported(args)
    from ..engine.running.mmseg_tool import run_mmseg_tool

    return run_mmseg_tool('test', args)


def _score_exported(args: argparse.Namespace) -> int:
    from ..engine.config_file import read_config
    from ..engine.running.exported_scoring import score_exported

    others = dict(work_dir=None, out=None, show_dir=None, show=False, tta=False, launcher='none')
    for name, unset in others.items():
        if getattr(args, name) != unset:
            raise UsageError(
                f'--{name.replace("_", "-")} is for a config with a checkpoint; an exported file '
                'is scored, and no more; ddf-seg predict writes what it predicts'
            )
    scores = score_exported(read_config(args.config, args.cfg_options), Path(args.checkpoint))
    for name, value in scores.items():
        print(f'{name}: {value:.2f}')
    return 0
