"""Costs of networks and layers, against what is known of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch

from ddf_seg.analysis import layers
from ddf_seg.cli.flops import main
from ddf_seg.command_line import show_usage_errors


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the tool in this process; returns exit code, output and error."""

    def count(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, 'argv', ['get_flops.py', *map(str, arguments)])
        capsys.readouterr()
        code = show_usage_errors(main)
        return code, *capsys.readouterr()

    return count


HEAD = """
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor'),
    backbone=dict(type='ERFNet', init_cfg=None),
    decode_head=dict({head} in_channels=16, channels=16, num_convs=1, concat_input=False,
        num_classes=19, norm_cfg=dict(type='BN')))
"""


def costs(count: Any, path: Path, head: str) -> tuple[float, float]:
    """Multiply-adds and parameters, with three decimals of a million."""
    path.write_text(HEAD.format(head=head))
    code, output, error = count(path, '--shape', 32, 48)
    assert code == 0, error
    assert 'Input shape: (32, 48)' in output
    values = dict(line.split(': ') for line in output.splitlines() if ': ' in line)
    units = {'K': 1e3, 'M': 1e6}
    flops, parameters = (float(values[k][:-1]) * units[values[k][-1]] for k in ('Flops', 'Params'))
    return flops, parameters


def test_options_change_what_is_counted(count: Any, tmp_path: Path) -> None:
    file = tmp_path / 'config.py'

    def parameters(channels: int, *options: str) -> str:
        file.write_text(
            HEAD.format(head="type='FCNHead',").replace(' channels=16', f' {channels=}')
        )
        code, output, error = count(file, '--shape', 32, 48, *options)
        assert code == 0, error
        return output.partition('Params: ')[2]

    changed = parameters(16, '--cfg-options', 'model.decode_head.channels=32')
    assert changed == parameters(32) != parameters(16)


def test_ddf_adds_what_its_layers_cost(count: Any, tmp_path: Path) -> None:
    """A refinement of 16 channels, on a map of half the image's sides, in both forms."""
    file = tmp_path / 'config.py'
    plain = costs(count, file, "type='FCNHead',")
    channels, squeezed, pixels = 16, 3, 16 * 24
    filtering = 9 * channels * pixels  # by the spatial filter alone
    gated = costs(count, file, "type='DDFGuidedHead', head='FCNHead',")
    made = channels * 10 * pixels
    assert gated[0] - plain[0] == pytest.approx(made + filtering, abs=2e3)
    paper = costs(
        count,
        file,
        "type='DDFGuidedHead', head='FCNHead', ddf_cfg=dict(normalization='filter_norm'),",
    )
    ddf = channels * 9 * pixels + channels * squeezed * 10
    mix = (channels * channels + 2 * channels) * pixels
    weights = 9 * 17 + squeezed * 17 + 144 * (squeezed + 2) + channels * channels + 2 * channels
    assert paper[0] - plain[0] == pytest.approx(ddf + 2 * filtering + mix, abs=2e3)
    assert paper[1] - plain[1] == pytest.approx(weights, abs=1e3)


def test_measured_layers_cost_what_the_formulas_say() -> None:
    size = (28, 20)
    for name in layers.FORMULAS:
        formula, measured = layers.by_formula(name, 28 * 20), layers.measured(name, size)
        assert measured.filters == formula.filters
        # Biases, normalisation and pooling come on top.
        for cost in ('parameters', 'multiply_adds'):
            ratio = getattr(measured, cost) / getattr(formula, cost)
            assert 1 <= ratio < (1.12 if name == 'depthwise' else 1.05)


def test_pixel_adaptive_convolution_is_that_of_a_loop() -> None:
    torch.manual_seed(0)
    layer = layers.PixelAdaptive(4, 3)
    x = 0.5 * torch.randn(2, 4, 3, 5)
    weight = layer.mix.weight.view(4, 4, 9)
    expected = layer.mix.bias.view(1, 4, 1, 1).expand(2, 4, 3, 5).clone()
    for b, row, column, tap in np.ndindex(2, 3, 5, 9):
        y, z = row + tap // 3 - 1, column + tap % 3 - 1
        if 0 <= y < 3 and 0 <= z < 5:
            here, there = x[b, :, row, column], x[b, :, y, z]
            alike = torch.exp(-((here - there) ** 2).sum() / 2)
            expected[b, :, row, column] += alike * weight[:, :, tap] @ there
    torch.testing.assert_close(layer(x), expected)


def test_ddf_costs_a_fraction_of_a_full_dynamic_filter(count: Any) -> None:
    code, output, error = count('--table', '--shape', 14)
    assert code == 0, error
    assert 'n = 14×14 pixels, c = 256' in output
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in output.splitlines()]
    values = {}
    for row in rows:
        if len(row) == 5 and row[0]:
            name = row[0]
        if len(row) == 5 and row[1] in ('parameters', 'multiply-adds'):
            values[name, row[1]] = int(row[4].replace(',', ''))
    assert values['DFN', 'parameters'] > 4 * values['DDF', 'parameters']
    assert values['DFN', 'multiply-adds'] > 50 * values['DDF', 'multiply-adds']
    assert values['DDF', 'multiply-adds'] < 4 * values['depthwise', 'multiply-adds']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['missing.py'], 'config file missing.py does not exist'),
        (['mmseg::_base_/datasets/cityscapes.py'], 'has no model'),
        (['mmseg::point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py', '--shape', '64'],
         'does not run on a bare image'),
    ],
)  # fmt: skip
def test_mistakes_end_with_one_line(count: Any, arguments: list[str], message: str) -> None:
    code, _, error = count(*arguments)
    assert code == 1
    assert error.startswith('error: ')
    assert message in error


@pytest.mark.parametrize('arguments', [[], ['x.py', '--table'], ['x.py', '--shape', '1', '2', '3']])
def test_arguments_are_checked(count: Any, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        count(*arguments)


def test_filters_that_start_as_interpolation(count: Any, tmp_path: Path) -> None:
    """While mmengine counts, sizes are tensors."""
    file = tmp_path / 'pspnet.py'
    file.write_text(
        "_base_ = 'mmseg::_base_/models/pspnet_r50-d8.py'\n"
        "head = dict(type='DDFGuidedHead', head='PSPHead', guide_index=[0], guide_channels=[256])\n"
        "model = dict(pretrained=None, decode_head=head)\n"
    )  # fmt: skip
    code, output, error = count(file, '--shape', 32, 64)
    assert code == 0, error
    assert 'Params: ' in output
