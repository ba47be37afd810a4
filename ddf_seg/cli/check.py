"""Finds the faults of a config's datasets before training.

Reads every image and label of every split. Reports missing, extra and unused files, damaged ones,
sizes and orientations that differ, colour or 16-bit labels, ids that are no class, settings that
contradict each other, and images that occur in two splits (compared by decoded pixels). Counts
pixels and images of each class, and suggests class weights.

Exit code: 0 nothing found, 3 warnings, 4 errors; 1 and 2: the config or the command line is wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from pathlib import Path

from ..command_line import ToolParser
from ..errors import UsageError


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=['{program} ddf_seg::ddf_camvid.py --json faults.json'],
    )
    parser.add_argument('config', help="config file, or a package's: mmseg::fcn/…")
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the result there')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='number of processes')
    parser.add_cfg_options()
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ..engine.checks.dataset import check_all, exit_code, format_report, to_json
    from ..engine.config_file import read_config
    from ..engine.explanations import explained

    cfg = read_config(args.config, args.cfg_options)
    with explained(cfg):
        result = check_all(cfg, args.jobs)
    # Names of files need not be UTF-8, nor the terminal.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')
    print(format_report(result))
    if args.json:
        try:
            args.json.write_text(json.dumps(to_json(result), indent=1) + '\n')
        except OSError as error:
            raise UsageError(f'--json: {error}') from error
    return exit_code(result)
