"""Scores a checkpoint on the config's test set, with mmseg's own command line.

A test set without labels is not scored; --out and --show-dir still write what is predicted.
Several GPUs: torchrun --nproc-per-node GPUS -m ddf_seg test CONFIG CHECKPOINT --launcher pytorch,
or tools/dist_test.sh CONFIG CHECKPOINT GPUS.
"""

from __future__ import annotations

from ..command_line import ToolParser


def parser() -> ToolParser:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} ddf_seg::ddf_camvid_trainval_finetune.py \\\n    ddf_seg::ddf_camvid.pth',
            '{program} CONFIG CHECKPOINT --out ids --show-dir pictures',
        ],
    )
    parser.add_argument('config', help="config file, or a package's: mmseg::fcn/…")
    parser.add_argument('checkpoint', help='checkpoint file or URL')
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
    from ..engine.running.mmseg_tool import run_mmseg_tool

    return run_mmseg_tool('test', args)
