"""Puts DDF into a config: python tools/swap_heads.py CONFIG -o NEW.py

CONFIG is a file, or a config of mmsegmentation: mmseg::pspnet/pspnet_r50-d8_…. NEW.py inherits it
and changes only what it must; what that is gets printed. Without --head, --upsample, --convs and
--backbone, the decode head is swapped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
from mmengine.config import Config

from ddf_seg.engine.config_file import load_config
from ddf_seg.engine.errors import UsageError
from ddf_seg.engine.tools import show_usage_errors
from ddf_seg.swap import config_text, plan_swap


def parse_args() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file, or mmseg::…')
    parser.add_argument(
        '--head', action='store_true', help='DDF in the decode head (what is done by default)'
    )
    parser.add_argument('--upsample', action='store_true', help='DDF-Up in an FPN neck or a UNet')
    parser.add_argument(
        '--convs', action='store_true', help="DDF for the decode head's 3×3 convolutions (conv_cfg)"
    )
    parser.add_argument('--backbone', action='store_true', help='DDF-ResNet for a ResNet')
    parser.add_argument('-o', '--out', type=Path, required=True, help='the config to write')
    args = parser.parse_args()
    if not (args.upsample or args.convs or args.backbone):
        args.head = True
    return args


def check_target(args: argparse.Namespace) -> None:
    if args.out.suffix != '.py':
        raise UsageError(f'--out: expected a file name that ends in .py, got {args.out}')
    if '::' not in args.config:
        source = Path(args.config)
        if source.exists() and args.out.exists() and source.samefile(args.out):
            raise UsageError(f'--out: {args.out} is CONFIG itself, which the new config inherits')
        if source.suffix == '.py' and source.exists() and Config._is_lazy_import(str(source)):
            raise UsageError(
                f"{source} is a config of mmengine's pure Python style (read_base), which a config "
                'with _base_ cannot inherit'
            )


def main() -> int:
    args = parse_args()
    check_target(args)
    swap = plan_swap(load_config(args.config), args.head, args.upsample, args.convs, args.backbone)
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(config_text(swap, args.config, args.out))
    except OSError as error:
        raise UsageError(f'--out: {error}') from error
    for note in swap.notes:
        print(note)
    print(f'written: {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
