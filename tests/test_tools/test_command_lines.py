"""The command lines of tools/train.py and test.py, beside mmseg's own."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import mmseg
import pytest
from mmengine.config import DictAction
from tool_runs import TOOLS

from ddf_seg.engine.running.mmseg_tool import _load_tool

# Heavy enough to be noticed
HELP = """
import runpy, sys, time
sys.argv = [{tool!r}, '--help']
try:
    runpy.run_path({tool!r}, run_name='__main__')
except SystemExit as end:
    assert not end.code
heavy = {{'torch', 'numpy', 'mmengine', 'mmcv', 'mmseg', 'cv2'}} & set(sys.modules)
print(f'seconds: {{time.process_time():.2f}}, loaded: {{sorted(heavy)}}')
"""


@pytest.mark.parametrize('name', ['train', 'test'])
def test_help_answers_at_once(name: str) -> None:
    tool = str(TOOLS / f'{name}.py')
    result = subprocess.run(
        [sys.executable, '-c', HELP.format(tool=tool)],
        cwd=TOOLS.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    *text, last = result.stdout.splitlines()
    seconds, loaded = last.removeprefix('seconds: ').split(', loaded: ')
    assert loaded == '[]'
    # Of processor time; torch and mmseg take 4.
    assert float(seconds) < 0.5
    assert any(f'python tools/{name}.py' in line for line in text)


def parser_of(name: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = import_module(f'ddf_seg.cli.{name}').parser()
    return parser


def parser_of_mmseg(name: str, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    parsers: list[argparse.ArgumentParser] = []

    def parse_args(self: argparse.ArgumentParser) -> argparse.Namespace:
        parsers.append(self)
        return argparse.Namespace(local_rank=0)

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
        _load_tool(name).parse_args()
    return parsers[0]


@pytest.mark.parametrize('name', ['train', 'test'])
def test_every_option_of_mmseg_is_there_and_means_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('LOCAL_RANK', '0')
    ours = {action.dest: action for action in parser_of(name)._actions}
    theirs = {action.dest: action for action in parser_of_mmseg(name, monkeypatch)._actions}
    assert ours.keys() == theirs.keys()
    for dest, action in theirs.items():
        for attribute in ('option_strings', 'nargs', 'const', 'default', 'choices', 'required'):
            assert getattr(ours[dest], attribute) == getattr(action, attribute), (dest, attribute)
        if dest != 'cfg_options':
            assert type(ours[dest]) is type(action)
            assert ours[dest].type == action.type or action.type is str
        # An option says what it does when it is not given.
        if action.option_strings and action.default is None and dest != 'cfg_options':
            assert '(default: ' in str(ours[dest].help)


def test_options_are_read_as_mmengine_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    given = ['a.b=1', 'c=[1,(2,3)]', 'd=x,y', 'e=None', 'f=a=b', 'a.b=2', 'g=-1e-3']
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    expected = parser.parse_args(['--cfg-options', *given]).cfg_options
    ours = parser_of('train')
    assert ours.parse_args(['x.py', '--cfg-options', *given]).cfg_options == expected
    assert ours.parse_args(['x.py']).cfg_options is None
    with pytest.raises(SystemExit):
        ours.parse_args(['x.py', '--cfg-options', 'noequals'])
    assert "--cfg-options: expected KEY=VALUE, got 'noequals'" in capsys.readouterr().err


def test_options_may_be_given_in_two_places() -> None:
    arguments = ['x.py', '--cfg-options', 'a=1', 'b=2', '--amp', '--cfg-options', 'c=3']
    options = parser_of('train').parse_args(arguments).cfg_options
    assert options == {'a': 1, 'b': 2, 'c': 3}


def test_it_is_mmsegs_tool_that_runs() -> None:
    for name in ('train', 'test'):
        assert Path(str(_load_tool(name).__file__)).is_relative_to(Path(mmseg.__file__).parent)


@pytest.mark.skipif(shutil.which('make') is None, reason='make is not installed')
def test_the_demo_ends_with_its_score() -> None:
    command = ['make', '-n', '-C', str(TOOLS.parent), 'demo']
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in result.stdout.splitlines() if 'make' not in line]
    last = max(index for index, line in enumerate(lines) if 'tools/' in line)
    assert 'tools/test.py configs/ddf_demo.py' in lines[last]
    # After it comes only where things lie.
    assert all(line.startswith('echo "') for line in lines[last + 1 :])
    assert any('explorer.html' in line for line in lines[last + 1 :])
