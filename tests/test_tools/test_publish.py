"""A published checkpoint: smaller, of half precision, and the same network."""

from __future__ import annotations

import sys
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch

from ddf_seg.cli.publish import main
from ddf_seg.command_line import show_usage_errors


def publish(monkeypatch: pytest.MonkeyPatch, source: Path, out: Path, *options: object) -> int:
    monkeypatch.setattr(sys, 'argv', ['publish.py', *map(str, (source, out, *options))])
    return show_usage_errors(main)


def test_weights_and_classes_are_kept(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = trained / 'iter_4.pth', tmp_path / 'new' / 'small.pth'
    assert publish(monkeypatch, source, out) == 0
    before = torch.load(source, weights_only=True)
    after = torch.load(out, weights_only=True)
    assert out.stat().st_size < source.stat().st_size
    assert after.keys() == {'meta', 'state_dict'}
    assert after['meta']['dataset_meta'] == before['meta']['dataset_meta']
    assert after['state_dict'].keys() == before['state_dict'].keys()
    for name, weight in before['state_dict'].items():
        half = after['state_dict'][name]
        expected = torch.float16 if weight.is_floating_point() else weight.dtype
        assert half.dtype == expected, name
        # Half precision rounds to 11 bits.
        torch.testing.assert_close(half.to(weight.dtype), weight, rtol=2**-11, atol=2**-24)


def test_the_mean_of_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {'a': ([1.0, 2.0], 3), 'b': ([3.0, 0.0], 3), 'c': ([5.0, 1.0], 3)}
    for name, (weight, count) in values.items():
        state = {'w': torch.tensor(weight), 'n': torch.tensor(count)}
        torch.save({'state_dict': state}, tmp_path / f'{name}.pth')
    a, b, c, out = (tmp_path / f'{name}.pth' for name in ('a', 'b', 'c', 'out'))
    assert publish(monkeypatch, a, out, '--mean-with', b, c) == 0
    mean = torch.load(out, weights_only=True)['state_dict']
    assert mean['w'].tolist() == [3.0, 1.0]
    assert mean['n'] == 3
    torch.save({'state_dict': {'w': torch.ones(3), 'n': torch.tensor(3)}}, b)
    assert publish(monkeypatch, a, out, '--mean-with', b) == 1
    assert f'--mean-with: {b} is of another network than {a}' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'does not exist'),
        ({'weight': torch.ones(1)}, 'has no state_dict'),
        ({'state_dict': {'w': torch.tensor([1e6])}}, 'w is not finite in half precision'),
    ],
)
def test_what_cannot_be_published(
    content: object,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, out = tmp_path / 'in.pth', tmp_path / 'out.pth'
    if content is not None:
        torch.save(content, source)
    assert publish(monkeypatch, source, out) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_the_training_itself_is_not_overwritten(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / 'iter_4.pth'
    source.write_bytes((trained / 'iter_4.pth').read_bytes())
    assert publish(monkeypatch, source, source) == 1
    assert 'iter_4.pth is CHECKPOINT itself' in capsys.readouterr().err
    assert source.read_bytes() == (trained / 'iter_4.pth').read_bytes()
    assert publish(monkeypatch, source, source / 'below.pth') == 1
    assert 'error: OUT: ' in capsys.readouterr().err
