"""Trains a segmentor, with mmseg's own command line.

Several GPUs: torchrun --nproc-per-node GPUS -m ddf_seg train CONFIG --launcher pytorch, or
tools/dist_train.sh CONFIG GPUS, or tools/slurm_train.sh.
"""

from __future__ import annotations

from ..command_line import ToolParser


def parser() -> ToolParser:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} ddf_seg::ddf_camvid.py',
            '{program} ddf_seg::ddf_camvid.py --resume   (after an interruption)',
            '{program} ddf_seg::ddf_camvid.py --work-dir runs/1 \\\n'
            '    --cfg-options randomness.seed=1',
        ],
    )
    parser.add_argument('config', help="config file, or a package's: mmseg::fcn/…")
    parser.add_argument(
        '--work-dir',
        help="folder for checkpoints and logs (default: the config's work_dir, or work_dirs/ and "
        'the name of CONFIG)',
    )
    parser.add_argument(
        '--resume', action='store_true',
        help='go on from the last checkpoint in the work dir, or start anew if it has none '
        '(default: start anew)',
    )  # fmt: skip
    parser.add_argument(
        '--amp', action='store_true',
        help='train in mixed precision, on CPUs in bfloat16 (default: as the config says)',
    )  # fmt: skip
    parser.add_cfg_options()
    parser.add_launcher()
    return parser


def main() -> int:
    args = parser().parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ..engine.running.mmseg_tool import run_mmseg_tool

    return run_mmseg_tool('train', args)
