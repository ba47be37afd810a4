"""Makes a config for a folder of pictures and masks.

Pairs pictures and masks by their names and folders (images/ and masks/ or labels/, train/ and val/,
street.jpg and street_mask.png, …), reads what the masks hold (ids, or a colour for each class),
and writes to FOLDER/ddf_seg: config.py, to train with; ids/, the masks as class ids; splits/, the
names of the pictures that train and validate; classes.csv. Your files stay as they are.

Then it checks the dataset. Exit code: 0; 4 where the check found errors; 1 and 2: the folder or the
command line is wrong.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..command_line import ToolParser, running_program
from ..errors import UsageError, counted

if TYPE_CHECKING:
    from ..engine.starting import Start


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} my_pictures --classes road kerb person',
            '{program} my_pictures --classes classes.csv --ignore 0,0,0 \\\n'
            '    --load-from ddf_seg::ddf_camvid.pth',
        ],
    )
    parser.add_argument('folder', type=Path, help='holds pictures and masks, in any depth')
    parser.add_argument(
        '--classes', nargs='+', metavar='NAME',
        help='names of the classes in the order of their ids, or a file: a name a line, or '
        '"road 128 64 128", or CSV with name, id, red, green, blue (default: a classes.csv, '
        'class_dict.csv, classes.txt, labelmap.txt or label_colors.txt in FOLDER; else what the '
        'masks hold, and in a terminal the tool asks)',
    )  # fmt: skip
    parser.add_argument(
        '--ignore', nargs='+', metavar='CLASS',
        help='what is no class: a name, an id, or a colour as 0,0,0',
    )  # fmt: skip
    parser.add_argument('--images', type=Path, help='folder of the pictures, below FOLDER')
    parser.add_argument('--masks', type=Path, help='folder of the masks, below FOLDER')
    parser.add_argument(
        '--mask-suffix',
        help='what the files of masks end with, where a picture has several: _labelIds.png',
    )  # fmt: skip
    parser.add_argument(
        '--skip-unpaired', action='store_true', help='leave pictures without a mask out'
    )
    parser.add_argument(
        '--val', type=float, default=0.2,
        help='share of the pictures that validate, where FOLDER has no train and val',
    )  # fmt: skip
    parser.add_argument(
        '--longest', type=int, default=1024,
        help='the longer side of the images in training; larger ones are resized',
    )  # fmt: skip
    parser.add_argument(
        '--load-from', metavar='CHECKPOINT',
        help='start from this network; its classifier starts anew where classes differ in number. '
        "ddf_seg::ddf_camvid.pth is ours, which has seen streets (default: ImageNet's weights)",
    )  # fmt: skip
    parser.add_argument('--out-dir', type=Path, help='folder to write (default: FOLDER/ddf_seg)')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='number of processes')
    args = parser.parse_args()
    if not 0 < args.val < 1:
        parser.error(f'--val: expected a share between 0 and 1, got {args.val}')
    if args.longest < 64:
        parser.error(f'--longest: expected at least 64 pixels, got {args.longest}')
    args.out_dir = args.out_dir or args.folder / 'ddf_seg'
    return args


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ..engine.checks.dataset import check_all, exit_code, format_report
    from ..engine.config_file import read_config
    from ..engine.starting import Options, start

    someone_there = sys.stdin.isatty() and sys.stderr.isatty()
    done = start(
        Options(
            args.folder,
            args.out_dir,
            images=args.images and _below(args.folder, args.images, '--images'),
            masks=args.masks and _below(args.folder, args.masks, '--masks'),
            mask_suffix=args.mask_suffix or '',
            skip_unpaired=args.skip_unpaired,
            classes=args.classes or (),
            ignore=args.ignore or (),
            val=args.val,
            longest=args.longest,
            load_from=_checkpoint(args.load_from),
            jobs=args.jobs,
            ask=_ask if someone_there else None,
        )
    )
    print(_summary(done))
    result = check_all(read_config(str(done.config)), args.jobs)
    print(format_report(result))
    print(f'\nto train:  {_train_command(done.config)}')
    code = exit_code(result)
    # Warnings do not keep anybody from training.
    return code if code > 3 else 0


def _train_command(config: Path) -> str:
    *first, last = running_program()
    return shlex.join([*first, last.replace('init', 'train'), str(config)])


def _checkpoint(name: str | None) -> str | None:
    """A file by its whole path, as the config may be used from elsewhere; others as they are."""
    if name is None or '::' in name or '://' in name:
        return name
    if not Path(name).is_file():
        raise UsageError(f'--load-from: expected a checkpoint, and there is no file {name}')
    return str(Path(name).resolve())


def _below(root: Path, folder: Path, option: str) -> Path:
    """A folder as the user names it, from FOLDER or from here, as one below FOLDER."""
    if (root / folder).is_dir() and not folder.is_absolute():
        return root / folder
    # First by name: below FOLDER, links may lead out of it.
    for whole in (os.path.abspath, os.path.realpath):
        if (found := Path(whole(folder))).is_relative_to(whole(root)):
            return root / found.relative_to(whole(root))
    raise UsageError(f'{option}: expected a folder below {root}, got {folder}')


def _ask(question: str) -> str | None:
    """The answer of somebody at a terminal; None after Ctrl-D."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline() or None


def _summary(done: Start) -> str:
    recipe, classes = done.recipe, done.classes
    splits = ', '.join(f'{len(pairs)} {split}' for split, pairs in done.splits.items())
    (size, _), *others = done.sizes.most_common()
    more = f' and {counted(len(others), "other size")}' if others else ''
    lines = [
        f'pictures:    {splits} ({done.division})',
        f'size:        {size[0]}×{size[1]}{more}',
        f'classes:     {len(classes.names)}: {", ".join(classes.names)}',
        *(f'             {note}' for note in classes.notes),
    ]
    if done.left_out:
        lines.append(f'left out:    {counted(done.left_out, "picture")} without a mask')
    height, width = recipe.crop
    scaled = f' of images of {recipe.scale[0]}×{recipe.scale[1]}' if recipe.resize else ''
    weights = 'weighted, as the classes are unbalanced' if recipe.class_weight else 'not weighted'
    lines += [
        f'training:    {recipe.iterations} iterations of 4 crops of {width}×{height}{scaled}, '
        f'classes {weights}',
        f'             roughly {recipe.minutes:.0f} minutes with one CPU thread',
        f'written:     {done.config}',
    ]
    return '\n'.join(lines)
