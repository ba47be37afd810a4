"""What the command lines share: help with defaults and an example, errors, Ctrl-C, tables.

Light: a tool reads its arguments before it imports torch and OpenMMLab, so that --help and a
mistyped option need no seconds.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from .errors import UsageError

INTERRUPTED = 130  # as shells have it: 128 + SIGINT
# What OpenMMLab's packages say about themselves
_UPSTREAM_WARNINGS = (
    '``build_loss`` would be deprecated',
    'The draw is False, it means that the hook for visualization will not take',
)


def running_program() -> list[str]:
    """What was typed to run this tool: 'python', 'tools/train.py', or 'ddf-seg', 'train'."""
    first = sys.argv[0]
    # `ddf_seg.cli` puts the words of its command there.
    return ['python', near(first)] if first.endswith('.py') else first.split()


def near(path: str | Path) -> str:
    """A path as seen from the working directory, if it is below that."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith('..') else relative


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the description, and shows defaults where the text does not say them."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or '', action.default
        if not action.option_strings or default in (None, False, argparse.SUPPRESS):
            return text
        if '(default: ' in text:
            return text
        if isinstance(default, (list, tuple)):
            default = ' '.join(map(str, default))
        return f'{text} (default: {default})'.replace('%', '%%')


class ToolParser(argparse.ArgumentParser):
    """A parser whose help shows defaults and examples, and whose errors look like all others.

    Args:
        examples: Command lines to show at the end of the help; '{program}' is what was typed.
        kwargs: As of `argparse.ArgumentParser`.
    """

    def __init__(self, *, examples: Sequence[str] = (), **kwargs: Any) -> None:
        program = ' '.join(running_program())
        kwargs.setdefault('prog', program)
        kwargs.setdefault('formatter_class', _HelpFormatter)
        if examples:
            title = 'examples:' if len(examples) > 1 else 'example:'
            kwargs['epilog'] = '\n  '.join([title, *examples]).replace('{program}', program)
        super().__init__(**kwargs)

    def error(self, message: str) -> Any:
        """Ends the tool: what is wrong, and how it is called."""
        self.print_usage(sys.stderr)
        self.exit(2, f'error: {message}\n')

    def add_cfg_options(self) -> None:
        """The option by which a command line changes a config."""
        self.add_argument(
            '--cfg-options',
            nargs='+',
            action=_ConfigOptions,
            metavar='KEY=VALUE',
            help='override settings of the config: model.decode_head.channels=64, lists as '
            'key="[a,b]" or key=a,b, nested ones as key="[(a,b),(c,d)]", without spaces',
        )

    def add_training(self, configs: str) -> None:
        """The arguments of a training with mmengine's runner alone; `configs` is a folder."""
        self.add_argument('config', help=f'config file, of {configs}')
        self.add_argument(
            '--work-dir',
            help="folder for checkpoints and logs (default: the config's work_dir, or work_dirs/ "
            'and the name of CONFIG)',
        )
        self.add_argument(
            '--resume',
            action='store_true',
            help='go on from the last checkpoint in the work dir (default: start anew)',
        )
        self.add_cfg_options()

    def add_launcher(self) -> None:
        """The options by which the launchers of distributed runs call train.py and test.py."""
        self.add_argument(
            '--launcher',
            choices=['none', 'pytorch', 'slurm', 'mpi'],
            default='none',
            help='what started the processes of a distributed run; tools/dist_train.sh, '
            'dist_test.sh and slurm_train.sh set it',
        )
        # torch.distributed.launch gives it; torchrun sets the variable.
        self.add_argument(
            '--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS
        )

    def add_device(self) -> None:
        """The option that says where a network runs; see `engine.predicting.network`."""
        self.add_argument(
            '--device', help='cpu, cuda:0, … (default: cuda:0 where torch sees one, else cpu)'
        )


def count(text: str) -> int:
    """Type of an option that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected a whole number of at least 1, got {text!r}')
    return int(text)


class _ConfigOptions(argparse.Action):
    """mmengine's DictAction, imported when there is something to read."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        from mmengine.config import DictAction

        if wrong := [text for text in values if '=' not in text]:
            raise argparse.ArgumentError(self, f'expected KEY=VALUE, got {wrong[0]!r}')
        read = DictAction(self.option_strings, self.dest, nargs=self.nargs)
        before = getattr(namespace, self.dest) or {}
        try:
            read(parser, namespace, values, option_string)
        except (ValueError, AssertionError) as error:
            raise argparse.ArgumentError(self, f'expected KEY=VALUE, got {error}') from error
        # The option may be given in several places.
        setattr(namespace, self.dest, {**before, **getattr(namespace, self.dest)})


def show_usage_errors(main: Callable[[], int]) -> int:
    """Run a tool; a mistake of the user becomes one message on stderr and exit code 1.

    Ctrl-C becomes a line on stderr, with what the KeyboardInterrupt says, and exit code 130.
    """
    for message in _UPSTREAM_WARNINGS:
        warnings.filterwarnings('ignore', message=message)
    # A file name need not be text in the terminal's encoding.
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        code = main()
        sys.stdout.flush()
        return code
    except UsageError as error:
        sys.stderr.write(f'error: {error}\n')
        return 1
    except KeyboardInterrupt as error:
        sys.stderr.write(f'{str(error) or "interrupted"}\n')
        return INTERRUPTED
    except BrokenPipeError:
        if not _reader_left():
            raise
        return 1


def _reader_left() -> bool:
    """Whether nobody reads standard output any more, as after `| head`; then, drop what is left."""
    watch = select.poll()
    watch.register(sys.stdout.fileno())
    if not any(event & select.POLLERR for _, event in watch.poll(0)):
        return False
    # Python flushes once more when it exits (https://docs.python.org/3/library/signal.html).
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def say(text: str) -> None:
    """Writes a line to stderr; names of files in it need not be text."""
    sys.stderr.write(f'{text}\n'.encode(errors='backslashreplace').decode())


@contextmanager
def output_errors(option: str) -> Iterator[None]:
    """Names the option where what it leads to cannot be written."""
    try:
        yield
    except OSError as error:
        raise UsageError(f'{option}: {error}') from error


def moved(to: str) -> NoReturn:
    """Ends a tool that lies elsewhere now: says where, exit code 2."""
    sys.stderr.write(f'error: this has moved: python {to}\n')
    raise SystemExit(2)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown.

    Args:
        head: names of the columns, each another.
        rows: as many cells each.
    """
    from prettytable import PrettyTable, TableStyle

    table = PrettyTable(list(head), align='l')
    table.set_style(TableStyle.MARKDOWN)
    table.add_rows([list(row) for row in rows])
    return table.get_string()
