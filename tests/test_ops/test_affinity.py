"""affinity: against a naive loop, torch's own gradients, and what torch asks of an operator."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ddf_seg.ops import affinity, ddf_upsample

CASES = [
    # query size, features size, kernel_size, scale_factor, dilation
    ((4, 5), (4, 5), 3, 1, 1),
    ((8, 6), (4, 3), 3, 2, 1),
    ((7, 7), (4, 3), (3, 5), 2, 1),
    ((7, 11), (3, 5), 5, 2, (1, 2)),
    ((12, 4), (3, 1), (1, 3), 4, 2),
]


def tensors(
    query: tuple[int, int],
    features: tuple[int, int],
    dtype: torch.dtype = torch.float64,
    maps: tuple[int, int] = (2, 3),
) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(*maps, *query, dtype=dtype), torch.randn(*maps, *features, dtype=dtype)


def naive(query: Tensor, features: Tensor, kernel: Any, r: int, dilation: Any) -> Tensor:
    kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
    dy, dx = (dilation, dilation) if isinstance(dilation, int) else dilation
    height, width = features.shape[2:]
    out = query.new_zeros(query.shape[0], kh * kw, *query.shape[2:])
    for y in range(query.shape[2]):
        for x in range(query.shape[3]):
            for t in range(kh * kw):
                row = min(y // r, height - 1) + (t // kw - kh // 2) * dy
                column = min(x // r, width - 1) + (t % kw - kw // 2) * dx
                if 0 <= row < height and 0 <= column < width:
                    both = query[:, :, y, x] * features[:, :, row, column]
                    out[:, t, y, x] = both.sum(dim=1)
    return out


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_it_is_the_formula(case: Any, layout: torch.memory_format) -> None:
    query, features = (x.contiguous(memory_format=layout) for x in tensors(*case[:2]))
    out = affinity(query, features, *case[2:])
    torch.testing.assert_close(out, naive(query, features, *case[2:]))
    assert out.is_contiguous(memory_format=layout)


@pytest.mark.parametrize('case', CASES)
def test_gradients_of_both_modes(case: Any) -> None:
    # Differences take as many calls as there are elements.
    query, features = (x.requires_grad_() for x in tensors(*case[:2], maps=(1, 2)))
    arguments = (query, features, *case[2:])
    assert torch.autograd.gradcheck(affinity, arguments, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(affinity, arguments)


@pytest.mark.parametrize('needed', [(True, False), (False, True)])
def test_one_gradient_alone(needed: tuple[bool, bool]) -> None:
    query, features = tensors((8, 6), (4, 3))
    both = [x.clone().requires_grad_() for x in (query, features)]
    naive(*both, 3, 2, 1).square().sum().backward()
    alone = [x.clone().requires_grad_(n) for x, n in zip((query, features), needed, strict=True)]
    affinity(*alone, 3, 2).square().sum().backward()
    for one, expected, n in zip(alone, both, needed, strict=True):
        if n:
            torch.testing.assert_close(one.grad, expected.grad)
        else:
            assert one.grad is None


def test_torch_accepts_the_operator() -> None:
    query, features = (x.requires_grad_() for x in tensors((8, 6), (4, 3), torch.float32))
    arguments = (query, features, [3, 3], 2, [1, 1])
    torch.library.opcheck(torch.ops.ddf_seg.affinity.default, arguments)


def test_transforms() -> None:
    query, features = tensors((8, 6), (4, 3))
    many = torch.stack([query, 2 * query, query - 1])
    mapped = torch.func.vmap(lambda q: affinity(q, features, 3, 2))(many)
    torch.testing.assert_close(mapped[2], naive(query - 1, features, 3, 2, 1))
    tangent = torch.func.jvp(lambda x: affinity(query, x, 3, 2), (features,), (features,))[1]
    torch.testing.assert_close(tangent, naive(query, features, 3, 2, 1))
    gradient = torch.func.grad(lambda q: affinity(q, features, 3, 2).sum())(query)
    one = features.new_ones(2, 3, 3, 3)
    ones = features.new_ones(2, 9, 8, 6)
    torch.testing.assert_close(gradient, ddf_upsample(features, one, ones, 3, 2))


def test_autocast_casts_both() -> None:
    query, features = tensors((8, 6), (4, 3), torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        out = affinity(query, features.double(), 3, 2)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), naive(query, features, 3, 2, 1), rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_narrow_types_sum_in_float32(dtype: torch.dtype) -> None:
    query = torch.full((1, 4096, 1, 1), 1.0, dtype=dtype)
    assert affinity(query, query, 3)[0, 4, 0, 0] == 4096


def test_local_attention_by_torch() -> None:
    """Softmax of the affinity, applied to values: torch's attention over the same neighbours."""
    query, features = tensors((5, 6), (5, 6))
    weights = affinity(query, features, 3).softmax(1)
    inside = affinity(torch.ones_like(query), torch.ones_like(query), 3) > 0
    weights = weights.where(inside, 0)
    weights = weights / weights.sum(1, keepdim=True)
    out = ddf_upsample(features, features.new_ones(2, 3, 3, 3), weights, 3, 1)
    index = torch.arange(30)
    rows, columns = index // 6, index % 6
    near = (rows[:, None] - rows).abs().le(1) & (columns[:, None] - columns).abs().le(1)
    q, k = (x.flatten(2).transpose(1, 2) for x in (query, features))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, k, near, scale=1.0)
    torch.testing.assert_close(out.flatten(2).transpose(1, 2), expected)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(query=torch.ones(2, 3, 10, 6)), 'query: expected a height from 7 to 9'),
        (dict(query=torch.ones(2, 4, 8, 6)), r'query: expected the batch and channels of features'),
        (dict(query=torch.ones(3, 8, 6)), 'query: expected 4 dimensions'),
        (dict(features=torch.ones(2, 3, 0, 3)), 'features: expected 4 dimensions, at least one'),
        (dict(kernel_size=4), 'kernel_size: expected odd values, got 4'),
        (dict(scale_factor=0), 'scale_factor: expected a value of at least 1, got 0'),
        (dict(dilation=0), 'dilation: expected values from 1'),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = dict(
        query=torch.ones(2, 3, 8, 6), features=torch.ones(2, 3, 4, 3), kernel_size=3, scale_factor=2
    )
    with pytest.raises(ValueError, match=message):
        affinity(**(arguments | change))


def test_wrong_types_are_named() -> None:
    query, features = tensors((8, 6), (4, 3))
    with pytest.raises(TypeError, match=r'features: expected torch\.float64'):
        affinity(query, features.float(), 3, 2)
    with pytest.raises(TypeError, match=r'query: expected a torch\.Tensor, got NoneType'):
        affinity(None, features, 3, 2)  # type: ignore[arg-type]
