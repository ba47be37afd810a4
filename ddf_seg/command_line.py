"""What tools/train.py and tools/test.py need before torch is loaded.

Importing this takes no time: ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

INTERRUPTED = 130  # as shells have it: 128 + SIGINT


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the arguments that mmseg's train.py and test.py share.

    Args:
        description: The tool's docstring, shown as it is written.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help="config file, or a package's: mmseg::fcn/…")
    parser.add_argument(
        '--cfg-options', nargs='+', action='extend', metavar='KEY=VALUE',
        help='override settings of the config: model.decode_head.channels=64, lists as '
        'key="[a,b]" or key=a,b, nested ones as key="[(a,b),(c,d)]", without spaces',
    )  # fmt: skip
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
        help='what started the processes of a distributed run; tools/dist_train.sh, dist_test.sh '
        'and slurm_train.sh set it (default: none)',
    )  # fmt: skip
    # torch.distributed.launch gives it; torchrun sets the variable.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def parse_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line and, as mmseg's tools do, hand LOCAL_RANK on to mmengine."""
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def interruptible(main: Callable[[], int]) -> int:
    """Run a tool; Ctrl-C while it is still loading ends it with a line instead of a traceback."""
    try:
        return main()
    except KeyboardInterrupt:
        sys.stderr.write('\ninterrupted before anything was done\n')
        return INTERRUPTED
