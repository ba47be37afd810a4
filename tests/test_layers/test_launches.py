"""How many kernels a layer launches on a GPU, on paper: the operators that it calls, counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from ddf_seg.layers import DDFPack, FilterNorm
from ddf_seg.ops.filter_norm import filter_norm
from ddf_seg.ops.weight_gain import weight_gain

# What makes a tensor without values, or compares dtypes.
_NO_KERNEL = ('aten::empty', 'aten::new_empty', 'aten::promote_types', 'aten::detach')


class Launches(TorchDispatchMode):
    """Records the operators that want a kernel: no views, no allocations.

    Of tensors on the device meta. What is not on the CPU takes the way of CUDA tensors, and an
    operator of this package is one call, as where its CUDA kernels are built. Without a spatial
    filter, `ddf` writes the 0 that stands for it, which is not counted here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func._schema.name
        is_view = any(
            r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns
        )
        if not is_view and not name.startswith(_NO_KERNEL):
            self.names.append(name)
            # cuDNN adds a bias in a kernel of its own.
            if name == 'aten::convolution' and args[2] is not None:
                self.names.append('the bias of a convolution')
        return func(*args, **(kwargs or {}))


def launches(layer: nn.Module, *arguments: Any) -> list[str]:
    with torch.no_grad(), Launches() as found:
        layer(*arguments)
    return found.names


@pytest.mark.parametrize(
    ('arguments', 'count'),
    [
        ({}, 12),
        (dict(stride=2, head=2), 12),
        (dict(neutral_start=True), 12),
        (dict(kernel_combine='add', kernel_size=5), 12),
        (dict(branches='spatial'), 5),
        (dict(branches='channel'), 8),
        (dict(normalization='none'), 8),
    ],
    ids=str,
)
def test_ddf_pack(arguments: dict[str, Any], count: int) -> None:
    with torch.device('meta'):
        names = launches(DDFPack(16, **arguments), torch.empty(2, 16, 20, 30))
    assert len(names) == count, names
    assert names[-1] == 'ddf_seg::ddf'


def test_counts_each_kernel_of_plain_torch() -> None:
    """FilterNorm as it was: what `launches` counts is no constant."""
    x = torch.empty(1, 9, 4, 4, device='meta')
    norm = FilterNorm(1, 3, 'spatial')
    assert launches(norm, x) == ['ddf_seg::filter_norm']
    with Launches() as found:
        shifted = x.unflatten(1, (1, 9)) - x[:, None, :1]
        (shifted - shifted.mean(dim=2, keepdim=True)).square().sum(dim=2)
    assert [name[6:] for name in found.names] == ['sub', 'mean', 'sub', 'pow', 'sum']


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)


def test_compiled_is_torchs_own(compiling: None) -> None:
    """What Inductor can fuse, where there is another device than the CPU."""
    with torch.device('meta'):
        names = launches(DDFPack(16), torch.empty(2, 16, 20, 30))
    assert [name for name in names if name.startswith('ddf_seg')] == ['ddf_seg::ddf']


def test_on_the_cpu_filter_norm_is_one_operator_compiled_too(compiling: None) -> None:
    x, std, mean = (torch.randn(n) for n in ((2, 18, 3, 4), (18,), (18,)))
    with Launches() as found:
        filter_norm(x, 9, 0.7, 1e-5, weight_gain(x), std, mean)
    assert found.names[-1] == 'ddf_seg::filter_norm'
    assert 'ddf_seg::weight_gain' not in found.names
