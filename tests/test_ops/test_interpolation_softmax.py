"""The operator `interpolation_softmax`, compiled and in plain torch, against loops in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from guarded import guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from softmax_cases import IN_LAYOUTS, LAYOUTS, SHAPES, Shape
from test_native_values import EXAMPLES
from torch import Tensor

import ddf_seg.ops
from ddf_seg.ops import interpolation_softmax as module
from ddf_seg.ops.definition import plain_kernel
from ddf_seg.ops.interpolation_softmax import check_interpolation_softmax, interpolation_softmax

needs_library = pytest.mark.skipif(
    not ddf_seg.ops.is_native_available(), reason='the operators are not compiled here'
)
IMPLEMENTATIONS = {
    'dispatched': (
        torch.ops.ddf_seg.interpolation_softmax,
        torch.ops.ddf_seg.interpolation_softmax_backward,
    ),
    'plain torch': (module._plain_forward, module._plain_backward),
}


def formula(arguments: Any) -> np.ndarray:
    """Pixel by pixel, in float64."""
    logits, query, key, rows, columns = (
        None if x is None else x.double().numpy() for x in arguments[:5]
    )
    scale, k = arguments[5], rows.shape[1]
    batch, channels, height, width = logits.shape
    groups, maps = channels // k**2, rows.shape[0] - 2
    out = np.zeros((batch, maps, groups, k * k, height, width))
    for b, g, y, x in np.ndindex(batch, groups, height, width):
        total = logits[b, g * k * k : (g + 1) * k * k, y, x].copy()
        if key is not None:
            depth = key.shape[1] // groups
            of_group = slice(g * depth, (g + 1) * depth)
            for t in range(k * k):
                row = min(y // scale, key.shape[2] - 1) + t // k - k // 2
                column = min(x // scale, key.shape[3] - 1) + t % k - k // 2
                if 0 <= row < key.shape[2] and 0 <= column < key.shape[3]:
                    total[t] += query[b, of_group, y, x] @ key[b, of_group, row, column]
        prior = (rows[0, :, None, y] + columns[0, None, :, x]).ravel()
        raised = np.exp(total + prior - (total + prior).max())
        deviation = raised / raised.sum() - np.outer(rows[1, :, y], columns[1, :, x]).ravel()
        for m in range(maps):
            weights = np.outer(rows[2 + m, :, y], columns[2 + m, :, x]).ravel()
            out[b, m, g, :, y, x] = deviation + weights
    return out.reshape(batch, maps * channels, height, width)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize(('shape', 'layout'), IN_LAYOUTS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_formula(implementation: str, shape: str, layout: str, dtype: torch.dtype) -> None:
    arguments = SHAPES[shape].arguments(dtype, layout)
    found = IMPLEMENTATIONS[implementation][0](*arguments)
    assert found.dtype == dtype
    expected = torch.from_numpy(formula(arguments))
    eps = torch.finfo(dtype).eps
    # Plain torch rounds the products.
    loose = 8 if implementation == 'plain torch' and dtype.itemsize == 2 else 1
    torch.testing.assert_close(
        found.double(), expected, rtol=loose * eps, atol=loose * max(4 * eps, 1e-13)
    )
    logits = arguments[0]
    is_channels_last = layout == 'channels_last' and not logits.is_contiguous()
    fresh = torch.empty_like(
        found, memory_format=torch.channels_last if is_channels_last else torch.contiguous_format
    )
    assert found.stride() == fresh.stride()


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ('shape', 'layout'),
    [case for case in IN_LAYOUTS if case[0] != 'nothing' and 'part' not in case[1]],
)
def test_gradient_of_the_logits(implementation: str, shape: str, layout: str) -> None:
    """Against the softmax' derivative, pixel by pixel, from what the forward pass gives."""
    arguments = SHAPES[shape].arguments(torch.float64, layout)
    logits, _, _, rows, columns, _ = arguments
    # Without what does not depend on the logits, a map is the softmax itself.
    only = [torch.cat([t[:1], torch.zeros_like(t[:2])]) for t in (rows, columns)]
    softmax = torch.from_numpy(formula((*arguments[:3], *only, arguments[5])))
    upstream = torch.randn_like(logits.repeat(1, rows.shape[0] - 2, 1, 1))
    found = IMPLEMENTATIONS[implementation][1](upstream, *arguments)
    k = rows.shape[1]
    p = softmax.unflatten(1, (-1, k * k))
    above = upstream.unflatten(1, (-1, *p.shape[1:3])).sum(1)
    jacobian = torch.diag_embed(p.movedim(2, -1)) - torch.einsum('bgihw,bgjhw->bghwij', p, p)
    expected = torch.einsum('bghwij,bgjhw->bgihw', jacobian, above).flatten(1, 2)
    torch.testing.assert_close(found, expected, check_stride=False)


@pytest.mark.parametrize('needed', [(True, True, True), (True, False, False), (False, False, True)])
def test_gradients_of_all_arguments(needed: tuple[bool, bool, bool]) -> None:
    """The compiled forward pass against differences, and its gradients in both modes."""
    shape = Shape((3, 5), (2, 3), groups=2, depth=2, maps=2)
    *tensors, rows, columns, scale = shape.arguments(torch.float64)
    tensors = [x.requires_grad_(n) for x, n in zip(tensors, needed, strict=True)]
    arguments = (*tensors, rows, columns, scale)
    assert torch.autograd.gradcheck(interpolation_softmax, arguments, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(interpolation_softmax, arguments)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_large_logits(implementation: str, dtype: torch.dtype) -> None:
    """Their exponentials would not fit, and differences leave nothing of the others."""
    logits = torch.zeros(1, 9, 2, 40, dtype=dtype)
    logits[:, 4], logits[:, 7] = 3e4, -3e4
    tables = [torch.zeros(3, 3, n, dtype=module.table_dtype(logits)) for n in (2, 40)]
    found = IMPLEMENTATIONS[implementation][0](logits, None, None, *tables, 2)
    expected = torch.zeros_like(logits)
    expected[:, 4] = 1
    assert torch.equal(found, expected)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_the_exponential_at_many_places(implementation: str) -> None:
    """Two taps: the softmax is the logistic function, here of differences from -100 to 100."""
    logits = torch.zeros(1, 9, 1, 8001)
    logits[0, 0] = torch.linspace(-100, 100, 8001)
    rows, columns = torch.zeros(3, 3, 1), torch.zeros(3, 3, 8001)
    rows[0, 1:], columns[0, 2] = -1e9, -1e9
    found = IMPLEMENTATIONS[implementation][0](logits, None, None, rows, columns, 2)[0, :2, 0]
    x = logits[0, 0, 0].double()
    expected = torch.stack([torch.sigmoid(x), torch.sigmoid(-x)])
    torch.testing.assert_close(found.double(), expected, rtol=5e-7, atol=1e-37)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_nan_and_infinity_stay_in_their_filter(implementation: str) -> None:
    logits, _, _, *others = Shape((4, 37), groups=2).arguments(torch.float32)
    logits[0, 3, 1, 5], logits[0, 11, 2, 36] = float('nan'), float('inf')
    forward = IMPLEMENTATIONS[implementation][0]
    nan = forward(logits, None, None, *others).isnan().unflatten(1, (2, 9))
    expected = torch.zeros_like(nan)
    expected[0, 0, :, 1, 5] = expected[0, 1, :, 2, 36] = True
    assert torch.equal(nan, expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('compared', [True, False])
def test_torch_accepts_it(dtype: torch.dtype, compared: bool) -> None:
    shape = Shape((6, 5), (3, 3) if compared else None, groups=2, maps=2, batch=2)
    arguments = [
        x.requires_grad_() if isinstance(x, Tensor) and i < 3 else x
        for i, x in enumerate(shape.arguments(dtype))
    ]
    torch.library.opcheck(torch.ops.ddf_seg.interpolation_softmax.default, tuple(arguments))


@needs_library
@given(
    low=st.tuples(st.integers(1, 6), st.integers(1, 40)),
    scale=st.sampled_from([1, 2, 2, 3, 4, 70, 200]),
    off=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    kernel=st.sampled_from([1, 3, 5, 7]),
    groups=st.integers(1, 3),
    depth=st.integers(0, 5),
    maps=st.integers(1, 3),
    batch=st.integers(1, 2),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    layout=st.sampled_from(sorted(LAYOUTS)),
    at_end=st.booleans(),
)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 200, print_blob=True)
def test_any_call_agrees_with_plain_torch(
    low: tuple[int, int], off: tuple[float, float], dtype: torch.dtype, at_end: bool, layout: str,
    **rest: Any,
) -> None:  # fmt: skip
    """Between pages that must not be touched, against float64."""
    scale = rest['scale']
    low = tuple(min(n, -(-80 // scale)) for n in low)
    high = tuple(
        scale * n - (scale - 1) + round(o * (2 * scale - 2)) for n, o in zip(low, off, strict=True)
    )
    shape = Shape(high, low if rest['depth'] else None, **rest)
    arguments = [
        guarded(x, at_end) if isinstance(x, Tensor) else x for x in shape.arguments(dtype, layout)
    ]
    forward, backward = IMPLEMENTATIONS['dispatched']
    found = forward(*arguments)
    wide = [x.double() if isinstance(x, Tensor) else x for x in arguments]
    close: dict[str, Any] = dict(rtol=0.0, atol=max(16 * torch.finfo(dtype).eps, 1e-13))
    torch.testing.assert_close(found.double(), module._plain_forward(*wide), **close)
    upstream = guarded(LAYOUTS[layout](torch.ones_like(found).cumsum(1) / found.shape[1]), at_end)
    torch.testing.assert_close(
        backward(upstream, *arguments).double(),
        module._plain_backward(upstream.double(), *wide),
        **close,
    )


@needs_library
def test_same_bits_on_any_number_of_threads() -> None:
    before = torch.get_num_threads()
    arguments = Shape((70, 300), (35, 150), groups=2).arguments(torch.float32)
    forward, backward = IMPLEMENTATIONS['dispatched']
    try:
        results = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            found = forward(*arguments)
            results.append((found, backward(found, *arguments)))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_tables_have_no_derivative() -> None:
    """No silent 0."""
    logits, _, _, rows, columns, _ = Shape((4, 5)).arguments(torch.float32)
    for one, other in ((rows.requires_grad_(), columns), (rows.detach(), columns.requires_grad_())):
        with pytest.raises(NotImplementedError, match='rows, columns: expected tables without'):
            interpolation_softmax(logits, None, None, one, other, 2).sum().backward()


GOOD: dict[str, Any] = dict(
    zip(
        ('logits', 'query', 'key', 'rows', 'columns', 'scale_factor'),
        Shape((6, 4), (3, 2), groups=2).arguments(torch.float32),
        strict=True,
    )
)


@pytest.mark.parametrize('function', [interpolation_softmax, check_interpolation_softmax])
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(logits=torch.ones(1, 18, 6)), 'logits: expected 4 dimensions'),
        (dict(logits=torch.ones(1, 10, 6, 4)), r'logits: expected .*groups \* 9'),
        (dict(logits=torch.ones(1, 18, 6, 4).int()), 'logits: expected one of float64'),
        (dict(rows=torch.ones(3, 3, 5)), r'rows: expected shape \(2 \+ maps, kernel_size, 6\)'),
        (dict(rows=torch.ones(2, 3, 6)), 'rows: expected shape'),
        (dict(rows=torch.ones(3, 4, 6)), 'rows: expected shape'),
        (dict(rows=torch.ones(3, 3, 6).double()), r'rows: expected .*[Ff]loat'),
        (dict(columns=torch.ones(4, 3, 4)), 'columns: expected shape'),
        (dict(key=None), 'query, key: expected both or none'),
        (dict(query=torch.ones(1, 5, 6, 4)), 'query: expected the batch and size of logits'),
        (dict(query=torch.ones(1, 6, 6, 5)), 'query: expected the batch and size of logits'),
        (dict(query=torch.ones(1, 6, 6, 4).double()), '(query|key): expected .*[Ff]loat'),
        (dict(key=torch.ones(1, 4, 3, 2)), 'key: expected the batch and channels of query'),
        (dict(key=torch.ones(1, 6, 3, 0)), r'(key|logits): .*\(1, 6, 3, 0\)'),
        (dict(key=torch.ones(1, 6, 3, 4)), 'logits: .*width'),
        (dict(scale_factor=0), 'scale_factor: expected a value .*got 0'),
    ],
)
def test_bad_arguments(function: Any, change: dict[str, Any], message: str) -> None:
    """What the compiled operator says, and what the one in plain torch does."""
    with pytest.raises((RuntimeError, ValueError, TypeError), match=message):
        function(**(GOOD | change))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_under_autocast_float32_stays(implementation: str) -> None:
    """Its plain kernel and its derivatives are made of operators that autocast would cast."""
    op = torch.ops.ddf_seg.interpolation_softmax.default
    plain = plain_kernel(op, module._plain_forward, check_interpolation_softmax, ())
    forward = plain if implementation == 'plain torch' else op
    arguments = SHAPES['compared'].arguments(torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        inside = forward(*arguments)
    assert torch.equal(inside, forward(*arguments))


def test_gradients_under_autocast_are_those_without() -> None:
    *tensors, scale = SHAPES['compared'].arguments(torch.float32)

    def gradients(enabled: bool) -> list[Tensor]:
        leaves = [x.clone().requires_grad_() for x in tensors[:3]]
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            out = torch.ops.ddf_seg.interpolation_softmax(*leaves, *tensors[3:], scale)
            first = torch.autograd.grad(out.square().sum(), leaves, create_graph=True)
            return [*first, *torch.autograd.grad(sum(g.sum() for g in first), leaves)]

    for inside, outside in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(inside, outside)
