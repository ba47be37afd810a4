"""What users type: `ddf-seg COMMAND …`, `python -m ddf_seg COMMAND …`, or `python tools/….py`.

A module for each command: its arguments, and one call of what does the work. It imports that after
it has read the arguments, so that help and a mistyped option need no seconds.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from .. import __version__
from ..command_line import ToolParser, show_usage_errors
from ..errors import hint

COMMANDS = (
    *('init', 'train', 'test', 'predict', 'visualize', 'explore', 'demo-app', 'swap', 'check'),
    *('export', 'flops', 'classify', 'depth', 'scenes', 'unpack', 'convert', 'publish'),
)


def main() -> int:
    """The command line `ddf-seg`; returns the exit code."""
    is_module = Path(sys.argv[0]).name == '__main__.py'
    sys.argv[0] = 'python -m ddf_seg' if is_module else 'ddf-seg'
    description = 'Decoupled dynamic filters for semantic segmentation.'
    return show_usage_errors(lambda: run_command(__name__, COMMANDS, description))


def run_command(package: str, commands: Sequence[str], description: str | None) -> int:
    """Runs what the first argument names; the command finds its own name in `sys.argv[0]`.

    Args:
        package: Where the commands are modules with a `main`.
        commands: Their names.
        description: For the help.

    Returns:
        The command's exit code.
    """
    rows = [f'  {name:<11} {_summary(_module(package, name))}' for name in commands]
    parser = ToolParser(
        description=description,
        usage='%(prog)s [-h] [--version] COMMAND …',
        epilog='\n'.join(['commands:', *rows]),
    )
    parser.add_argument('--version', action='version', version=f'ddf_seg {__version__}')
    parser.add_argument('command', metavar='COMMAND', help='its --help says what it takes')
    command = parser.parse_args(sys.argv[1:2] or ['--help']).command
    if command not in commands:
        parser.error(
            f'COMMAND: expected one of {", ".join(commands)}, got {command!r}'
            f'{hint(command, commands)}'
        )
    sys.argv[:2] = [f'{sys.argv[0]} {command}']
    code: int = import_module(_module(package, command)).main()
    return code


def _module(package: str, command: str) -> str:
    return f'{package}.{command.replace("-", "_")}'


def _summary(module: str) -> str:
    """The first line of a module's docstring, without importing what the module imports."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding='utf-8')
    return (ast.get_docstring(ast.parse(source)) or '').partition('\n')[0]
