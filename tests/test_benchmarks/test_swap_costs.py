"""What a config and its counterpart cost, against networks that are counted here."""

from __future__ import annotations

import sys
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
from mmseg.registry import MODELS
from openmmlab_toy import make_resnets_shallow
from scripts import load_script

from ddf_seg.command_line import show_usage_errors
from ddf_seg.engine.config_file import load_config
from ddf_seg.swap import swap_heads
from ddf_seg.swap.probe import without_pretrained

tool = load_script('benchmarks/swap_costs.py')
SEGFORMER = tool.CONFIGS[0]


def parameters(model: dict[str, Any]) -> str:
    network = MODELS.build(without_pretrained(model))
    return f'{sum(p.numel() for p in network.parameters()) / 1e6:.2f}'


def test_a_line_for_each_config(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [SEGFORMER, '--shape', '64', '96', '--seconds', '0.01']
    monkeypatch.setattr(sys, 'argv', ['swap_costs.py', *arguments])
    assert show_usage_errors(tool.main) == 0
    output = capsys.readouterr().out
    head, _, line, _, where = output.splitlines()
    names, cells = ([cell.strip() for cell in row.split('|')[1:-1]] for row in (head, line))
    values = dict(zip(names, cells, strict=True))
    assert values['config'] == 'segformer_mit-b0_8xb1-160k_cityscapes-1024x1024'
    assert values['becomes'] == 'SegformerHead → DDFSegformerHead'
    original = load_config(SEGFORMER)
    models = [original.model.to_dict(), swap_heads(original).model.to_dict()]
    assert values['parameters, M'] == ' → '.join(map(parameters, models))
    before, after = (float(each) for each in values['ms / image'].split(' → '))
    assert float(values['ratio']) == pytest.approx(after / before, rel=0.02)
    # The head convolves each level before it is upsampled.
    before, after = (float(each) for each in values['multiply-adds, G'].split(' (')[0].split(' → '))
    assert after < 0.85 * before
    assert where.startswith('64×96; ')


def test_heads_in_a_row_are_all_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_resnets_shallow(monkeypatch)
    config = 'mmseg::ocrnet/ocrnet_r101-d8_4xb2-40k_cityscapes-512x1024.py'
    arguments = [config, '--shape', '64', '96', '--seconds', '0.01']
    monkeypatch.setattr(sys, 'argv', ['swap_costs.py', *arguments])
    assert show_usage_errors(tool.main) == 0
    assert '| FCNHead, OCRHead → FCNHead, DDFGuidedHead |' in capsys.readouterr().out


def test_a_config_that_cannot_be_swapped_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'argv', ['swap_costs.py', 'mmseg::_base_/datasets/cityscapes.py'])
    assert show_usage_errors(tool.main) == 1
    assert 'it describes no segmentor' in capsys.readouterr().err


def test_seconds_are_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'argv', ['swap_costs.py', '--seconds', '0'])
    with pytest.raises(SystemExit) as end:
        tool.main()
    assert end.value.code == 2
    assert '--seconds: expected a number above 0, got 0.0' in capsys.readouterr().err
