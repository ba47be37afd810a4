"""What the tools' command lines share; and the help of every tool."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from ddf_seg import cli
from ddf_seg.cli.convert import NAMES
from ddf_seg.command_line import (
    ToolParser,
    markdown_table,
    output_errors,
    show_usage_errors,
)
from ddf_seg.errors import UsageError

ROOT = Path(__file__).parents[1]
FOLDERS = ('tools', 'tools/dataset_converters', 'tools/model_converters', 'benchmarks', 'dev')
SCRIPTS = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for folder in FOLDERS
    for path in sorted((ROOT / folder).glob('*.py'))
}
MOVED = [script for script, text in SCRIPTS.items() if 'import moved' in text]
# Others, such as dev/cuda_sass.py, are imported by one.
TOOLS = {script for script, text in SCRIPTS.items() if '__main__' in text} - {*MOVED}
SUBCOMMANDS = [*(c for c in cli.COMMANDS if c != 'convert'), *(f'convert {n}' for n in NAMES)]


def ask(*command: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """What a command line answers in the checkout, and the seconds of processor time it takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize('tool', sorted([*TOOLS, *(f'-m ddf_seg {c}' for c in SUBCOMMANDS)]))
def test_help_is_there_in_no_time(tool: str) -> None:
    """It shows an example, and a text for every option, without importing torch."""
    done, seconds = ask(*tool.split(), '--help')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f'usage: python {tool} [-h]')
    _, _, examples = done.stdout.partition('\nexample')
    assert f'\n  python {tool} ' in examples
    assert '{' not in examples
    assert seconds < 1
    lines = done.stdout.partition('\noptions:\n')[2].partition('\n\n')[0].splitlines()
    for line, below in zip(lines, [*lines[1:], ''], strict=True):
        if line.startswith('  -'):
            # The text stands beside the option, or where that is long, below it.
            assert '  ' in line.strip() or below.startswith('      '), line
    for option in ' '.join(' '.join(lines).split()).split(' -'):
        assert option.count('(default') < 2, option


@pytest.mark.parametrize('tool', MOVED)
def test_what_has_moved_says_where(tool: str) -> None:
    done = subprocess.run(
        [sys.executable, tool, '--any', 'thing'], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    to = line.removeprefix('error: this has moved: python ')
    assert to in TOOLS
    assert Path(to).name == Path(tool).name


def test_every_command_is_listed_with_what_it_does() -> None:
    for words, names in (('', cli.COMMANDS), ('convert', NAMES)):
        done, seconds = ask('-m', 'ddf_seg', *words.split(), '--help')
        assert done.returncode == 0, done.stderr
        listed = dict(
            line.split(maxsplit=1) for line in done.stdout.partition('commands:\n')[2].splitlines()
        )
        assert listed.keys() == set(names)
        assert all(text.endswith('.') for text in listed.values())
        assert seconds < 1
    folder = ROOT / 'ddf_seg/cli'
    modules = {path.stem.replace('_', '-') for path in folder.glob('*.py')} | {'convert'}
    assert modules - {'--init--'} == set(cli.COMMANDS)
    modules = {path.stem for path in folder.glob('convert/*.py')}
    assert modules - {'__init__'} == set(NAMES)


def test_a_mistyped_command_is_named() -> None:
    done, _ = ask('-m', 'ddf_seg', 'trian', 'x.py')
    assert done.returncode == 2
    assert done.stderr.startswith('usage: python -m ddf_seg [-h] [--version] COMMAND …\nerror: ')
    assert "got 'trian' (did you mean 'train'?)\n" in done.stderr


def test_the_console_command_is_called_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pip installs it: a script in a folder for programs, which calls the entry point."""
    (entry,) = metadata.entry_points(group='console_scripts', name='ddf-seg')
    monkeypatch.setattr(sys, 'argv', ['/some where/bin/ddf-seg', 'check', 'x.py', '--jbs', '1'])
    with pytest.raises(SystemExit) as stop:
        entry.load()()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith('usage: ddf-seg check [-h]')
    assert error.endswith('\nerror: unrecognized arguments: --jbs 1\n')


def test_defaults_and_examples_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ToolParser(description='Does.\n\n  As it is.', examples=['do --size 1', 'do'])
    parser.add_argument('--size', type=int, nargs='+', default=[3, 5], help='100 % of it')
    parser.add_argument('--out', type=Path, default=Path('here'), help='folder')
    parser.add_argument('--quick', action='store_true', help='or not')
    parser.add_argument('--device', help='cpu (default: none)')
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(['--help'])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert '\n  As it is.\n' in text
    assert '100 % of it (default: 3 5)' in text
    assert 'folder (default: here)' in text
    assert text.count('(default') == 3
    assert text.endswith('examples:\n  do --size 1\n  do\n')
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(['--size', 'x'])
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith("\nerror: argument --size: invalid int value: 'x'\n")


def test_options_of_the_config_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ToolParser()
    parser.add_cfg_options()
    given = ['--cfg-options', 'a.b=1', 'c=[x,y]', '--cfg-options', 'd=None']
    assert parser.parse_args(given).cfg_options == {'a.b': 1, 'c': ['x', 'y'], 'd': None}
    for wrong in ('a', 'a=[1,(2]'):
        with pytest.raises(SystemExit):
            parser.parse_args(['--cfg-options', wrong])
        assert 'error: argument --cfg-options: expected KEY=VALUE, got ' in capsys.readouterr().err


def test_mistakes_and_interruptions_end_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def mistaken() -> int:
        raise UsageError('no such file')

    def interrupted() -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    def interrupted_at_work() -> int:
        raise KeyboardInterrupt('interrupted, 40 of 101 done')

    for main, code, message in (
        (mistaken, 1, 'error: no such file\n'),
        (interrupted, 130, 'interrupted\n'),
        (interrupted_at_work, 130, 'interrupted, 40 of 101 done\n'),
    ):
        assert show_usage_errors(main) == code
        assert capsys.readouterr().err == message


def test_names_that_are_no_text_can_be_printed() -> None:
    code = (
        'from ddf_seg.command_line import show_usage_errors\n'
        "show_usage_errors(lambda: print('caf\\udce9 \\u8def') or 0)"
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={'PYTHONIOENCODING': 'ascii', 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert done.stdout == b'caf\\udce9 \\u8def\n'


def test_what_cannot_be_written_names_the_option() -> None:
    with pytest.raises(UsageError, match=r'^--out: .*No space left'), output_errors('--out'):
        Path('/dev/full').write_text('x' * 10**6)


def test_tables_are_markdown() -> None:
    """As the rules of GitHub's tables have them: head, a rule, and as many cells in each row."""
    lines = markdown_table(['shape', 'ms'], [['2×3', '0.5'], ['', '12']]).splitlines()
    head, rule, *rows = ([cell.strip() for cell in line.split('|')] for line in lines)
    assert head == ['', 'shape', 'ms', '']
    assert all(set(cell) <= set(':-') and '-' in cell for cell in rule[1:-1])
    assert rows == [['', '2×3', '0.5', ''], ['', '', '12', '']]
