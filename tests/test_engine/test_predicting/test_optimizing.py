"""Faster networks compute what plain ones do."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from ddf_seg.engine.predicting.optimizing import compile_network, fold_normalization
from ddf_seg.errors import UsageError
from ddf_seg.layers import GatedDDFConv2d


class Segmentor(nn.Module):
    """Convolutions, with BatchNorm after them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = ConvModule(3, 8, 3, padding=1, norm_cfg=dict(type='BN'))
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, 5, 1)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                module.weight.data.uniform_(0.5, 2)

    def encode_decode(self, image: Tensor, metas: Any) -> Tensor:
        assert metas[0]['img_shape'] == tuple(image.shape[2:])
        return self.head(self.middle(self.stem(image)))

    def middle(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


class OtherOrder(Segmentor):
    """Defined in the same order, and computed in another."""

    def middle(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x)).relu()


def scores(model: Any, *size: int) -> Tensor:
    image = torch.rand(*size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.encode_decode(image, [dict(img_shape=tuple(size[2:]), img_path='a.png')])


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_batch_norm_is_folded() -> None:
    model = Segmentor().eval()
    expected = scores(model, 2, 3, 20, 30)
    folded = fold_normalization(model)
    assert (norms(model), norms(folded)) == (2, 0)
    torch.testing.assert_close(scores(folded, 2, 3, 20, 30), expected, atol=1e-5, rtol=1e-5)


def test_a_trained_gate_keeps_its_norm_and_no_other() -> None:
    """The weights of a gated convolution are not all of it, so a BatchNorm cannot go into them."""
    model = Segmentor().eval()
    model.conv = GatedDDFConv2d(8)
    model.conv.gated.factor.data.fill_(0.5)
    expected = scores(model, 2, 3, 20, 30)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        folded = fold_normalization(model)
    assert norms(folded) == 1
    assert type(folded.conv) is GatedDDFConv2d
    torch.testing.assert_close(scores(folded, 2, 3, 20, 30), expected, atol=1e-5, rtol=1e-5)


def test_nothing_is_folded_where_that_would_change_the_result() -> None:
    model = OtherOrder().eval()
    with pytest.warns(UserWarning, match='not folded: it would change the scores'):
        assert fold_normalization(model) is model
    grey = Segmentor().eval()
    grey.stem = nn.Conv2d(1, 8, 3)
    with pytest.warns(UserWarning, match='not folded: .*channels'):
        assert fold_normalization(grey) is grey


def test_a_network_is_compiled_for_a_few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend=backend))
    plain, model = Segmentor().eval(), Segmentor().eval()
    compile_network(model)
    sizes = [(1, 3, 16, 16 + 2 * index) for index in range(6)]
    for size in [*sizes, *sizes]:
        torch.testing.assert_close(scores(model, *size), scores(plain, *size))
    assert len(graphs) == 4


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(*_: Any) -> Any:
        raise RuntimeError('No working C++ compiler found')

    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend=backend))
    model = Segmentor().eval()
    compile_network(model)
    with pytest.raises(UsageError, match=r'--optimize: .*No working C\+\+ compiler'):
        scores(model, 1, 3, 16, 16)
