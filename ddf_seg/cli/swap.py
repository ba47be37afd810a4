"""Puts DDF into a config.

CONFIG is a file, or a config of mmsegmentation: mmseg::pspnet/pspnet_r50-d8_…. NEW.py inherits it
and changes only what it must. The tool prints the changes. Without --head, --upsample, --convs and
--backbone, it swaps the decode head.

With --checkpoint, it also writes NEW.pth: the trained network's weights, with which the new network
predicts what the original does, until it is trained on. --finetune writes a schedule for that.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ..command_line import ToolParser, output_errors
from ..engine.checks.output_folder import check_folder
from ..errors import UsageError


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} \\\n'
            '    mmseg::pspnet/pspnet_r50-d8_4xb2-80k_cityscapes-512x1024.py -o my/ddf_pspnet.py',
            '{program} my/segformer.py --checkpoint my/segformer.pth \\\n'
            '    --finetune 1000 -o my/ddf_segformer.py',
        ],
    )
    parser.add_argument('config', help="config file, or a package's: mmseg::fcn/…")
    parser.add_argument('--head', action='store_true', help='DDF in the decode head (the default)')
    parser.add_argument('--upsample', action='store_true', help='DDF-Up in an FPN neck or a UNet')
    parser.add_argument(
        '--convs', action='store_true', help="DDF in place of the decode head's 3×3 convolutions"
    )
    parser.add_argument('--backbone', action='store_true', help='DDF in a ResNet')
    parser.add_argument('-o', '--out', type=Path, required=True, help='the config to write')
    parser.add_argument(
        '--checkpoint', type=Path, help="CONFIG's trained weights, to put into the new network"
    )
    parser.add_argument(
        '--finetune',
        type=int,
        metavar='ITERATIONS',
        help='write a schedule, too: new parts at a full rate, the others at a tenth of it',
    )
    parser.add_argument(
        '--force', action='store_true', help='overwrite the files, even if you have edited them'
    )
    args = parser.parse_args()
    if args.finetune is not None and (args.checkpoint is None or args.finetune < 1):
        parser.error('--finetune: expected a number above 0, and --checkpoint')
    if not (args.upsample or args.convs or args.backbone):
        args.head = True
    return args


def check_target(args: argparse.Namespace) -> None:
    """Make sure that the new config can stand where it is asked for."""
    if args.out.suffix != '.py':
        raise UsageError(f'--out: expected a file name that ends in .py, got {args.out}')
    if args.out.is_dir():
        raise UsageError(f'--out: expected a file, {args.out} is a folder')
    weights = _weights(args.out)
    if args.checkpoint and _same(weights, args.checkpoint):
        raise UsageError(
            f'--out: {weights}, which the new weights would get, is --checkpoint itself, and that '
            f'would be lost. Give the new config another name than {args.out.name}'
        )
    check_folder(args.out.parent, '--out')


def check_source(config: str, out: Path) -> None:
    """Make sure that the new config can inherit its source, which has been loaded."""
    from mmengine.config import Config

    if '::' in config:
        return
    source = Path(config)
    if source.suffix == '.py' and Config._is_lazy_import(str(source)):
        raise UsageError(
            f"{source} is a config of mmengine's pure Python style (read_base), which a config "
            'with _base_ cannot inherit'
        )
    for file in _inherited(source):
        if _same(file, out):
            which = 'CONFIG itself' if file == source else 'a base of CONFIG'
            raise UsageError(f'--out: {out} is {which}, which the new config inherits')


def _inherited(config: Path) -> Iterator[Path]:
    """A config file, and the files that it inherits, directly or not."""
    from mmengine.config import Config

    yield config
    if config.suffix == '.py':
        for base in Config._get_base_files(str(config)):
            if '::' not in base:
                yield from _inherited(config.parent / base)


def _weights(out: Path) -> Path:
    """Where the weights of a new config go."""
    return out.with_suffix('.pth')


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def write(path: Path, content: bytes, force: bool) -> None:
    """Write a file, but not over another that somebody may have edited."""
    from ..files import write_whole

    with output_errors('--out'):
        if path.exists() and path.read_bytes() != content and not force:
            raise UsageError(
                f'--out: {path} is there and differs from what would be written. Give another '
                'name, or --force to overwrite it'
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ..engine.config_file import load_config
    from ..engine.weights.checkpoints import checkpoint_bytes
    from ..swap import config_text, plan_swap, swapped_config, upgrade

    check_target(args)
    original = load_config(args.config)
    check_source(args.config, args.out)
    swap = plan_swap(original, args.head, args.upsample, args.convs, args.backbone)
    if original.get('work_dir'):
        # Inherited, it would mix the runs of both.
        swap.options['work_dir'] = f'work_dirs/{args.out.stem}'
    files = {}
    if args.checkpoint:
        weights = _weights(args.out)
        done = upgrade(original, swapped_config(original, swap), args.checkpoint)
        swap.notes += done.notes()
        if args.finetune:
            # By its whole path, as the config may be used from another folder.
            swap.options.update(load_from=str(weights.resolve()), **done.schedule(args.finetune))
        files[weights] = checkpoint_bytes(done.checkpoint)
    files[args.out] = config_text(swap, args.config, args.out).encode()
    for path, content in files.items():
        write(path, content, args.force)
    for note in swap.notes:
        print(note)
    for path in files:
        print(f'written: {path}')
    return 0
