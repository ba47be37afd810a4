"""DDFUpsample, with the arguments of CARAFE's configs and of mmseg's UNet."""

from __future__ import annotations

from typing import Any

import authors
import pytest
import torch
from torch import Tensor

from ddf_seg.layers import DDFUpPack, DDFUpsample


def features(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('arguments', [{'channels': 8}, {'in_channels': 8}], ids=str)
@pytest.mark.parametrize('scale_factor', [2, 3])
def test_is_ddf_up(arguments: dict[str, Any], scale_factor: int) -> None:
    layer = DDFUpsample(**arguments, scale_factor=scale_factor, kernel_size=5, head=2)
    pack = DDFUpPack(8, scale_factor=scale_factor, kernel_size=5, head=2)
    assert list(layer.state_dict()) == list(pack.state_dict())
    theirs = authors.DDFUpPack(8, scale_factor=scale_factor, kernel_size=5, head=2)
    layer.load_state_dict(theirs.state_dict(), strict=True)
    x = features(2, 8, 3, 5)
    torch.testing.assert_close(layer(x), theirs(x), rtol=1e-3, atol=1e-4)


def test_checkpointing_changes_nothing() -> None:
    plain = DDFUpsample(8)
    saving = DDFUpsample(8, with_cp=True)
    saving.load_state_dict(plain.state_dict(), strict=True)
    results = []
    for layer in (plain, saving):
        x = features(1, 8, 3, 4).requires_grad_()
        output = layer(x)
        output.square().sum().backward()
        results.append([output, x.grad, *(p.grad for p in layer.parameters())])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        ({'channels': 0}, 'in_channels'),
        ({'channels': 8.0}, 'in_channels'),
        ({'channels': 8, 'out_channels': 0}, 'out_channels'),
        ({'channels': 8, 'scale_factor': 1.5}, 'scale_factor'),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f'^{name}: expected .*got'):
        DDFUpsample(**arguments)


@pytest.mark.parametrize('arguments', [{}, {'in_channels': 8, 'channels': 8}], ids=str)
def test_one_name_for_the_channels(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match='in_channels: expected exactly one of'):
        DDFUpsample(**arguments)
