"""The operator `depthwise_pointwise`, compiled and in plain torch, against two convolutions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ddf_seg.ops
from ddf_seg.ops import depthwise_pointwise as module
from ddf_seg.ops.depthwise_pointwise import check_depthwise_pointwise, depthwise_pointwise

needs_library = pytest.mark.skipif(
    not ddf_seg.ops.is_native_available(), reason='the operators are not compiled here'
)
IMPLEMENTATIONS = {
    'dispatched': (
        torch.ops.ddf_seg.depthwise_pointwise,
        torch.ops.ddf_seg.depthwise_pointwise_backward,
    ),
    'plain torch': (module._plain_forward, module._plain_backward),
}
# batch, channels, height, width, phases, outputs, side (0: no depthwise filters), scale factor
SHAPES = {
    'DDF-Up x2': (2, 5, 6, 7, 4, 9, 3, 1),
    'DDF-Up x3, groups': (1, 9, 40, 70, 9, 18, 3, 1),
    'one phase, long rows': (1, 19, 5, 300, 1, 9, 3, 1),
    'several tiles across': (1, 17, 3, 520, 2, 7, 3, 1),
    'several blocks of channels': (1, 150, 9, 60, 4, 13, 3, 1),
    'one pixel': (2, 8, 1, 1, 4, 25, 5, 1),
    'dw_kernel_size 1': (1, 3, 9, 33, 4, 9, 1, 1),
    'side 5': (1, 10, 13, 40, 3, 4, 5, 1),
    'no image': (0, 4, 5, 5, 4, 9, 3, 1),
    'fine map x2': (2, 5, 6, 67, 4, 11, 3, 2),
    'fine map x2, one output': (1, 3, 2, 8, 4, 1, 3, 2),
    'fine map x3': (2, 5, 6, 19, 9, 3, 5, 3),
    'fine map x8': (1, 6, 5, 40, 64, 9, 3, 8),
    'fine map, no image': (0, 4, 5, 5, 4, 9, 3, 2),
    '1x1 alone': (2, 19, 6, 67, 1, 9, 0, 1),
    '1x1 alone, several tiles': (1, 13, 9, 130, 1, 25, 0, 1),
    '1x1 alone, long rows': (1, 100, 2, 1050, 1, 10, 0, 1),
    '1x1 alone, one pixel': (3, 5, 1, 1, 1, 9, 0, 1),
    '1x1 alone, phases': (2, 9, 6, 17, 4, 9, 0, 1),
    '1x1 alone, fine map x2': (2, 8, 7, 33, 4, 3, 0, 2),
    '1x1 alone, no image': (0, 4, 5, 5, 1, 9, 0, 1),
    '1x1 alone, small maps': (5, 21, 7, 7, 1, 9, 0, 1),
    '1x1 alone, many small maps': (19, 12, 5, 8, 1, 50, 0, 1),
    '1x1 alone, tiles in blocks': (1, 11, 20, 33, 1, 25, 0, 1),
}
LAYOUTS = {
    'contiguous': lambda x: x,
    'channels_last': lambda x: x.to(memory_format=torch.channels_last),
    'transposed': lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    'part of a map': lambda x: F.pad(x, (2, 3))[..., 2:-3],
}


def make(shape: str, layout: str, dtype: torch.dtype) -> tuple[Any, ...]:
    """x, depthwise, None where the shape has no side, pointwise and bias."""
    batch, channels, height, width, phases, outputs, side, _ = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64).to(dtype)

    x = LAYOUTS[layout](draw(batch, channels, height, width))
    depthwise = draw(phases, channels, side, side) if side else None
    pointwise = draw(phases, outputs, channels)
    return x, depthwise, pointwise, draw(phases * outputs)


def two_convolutions(
    x: Tensor, depthwise: Tensor | None, pointwise: Tensor, bias: Tensor
) -> Tensor:
    """What the operator is defined by: all phases side by side, as torch's convolutions."""
    phases, _, channels = pointwise.shape
    between = x.repeat(1, phases, 1, 1)
    if depthwise is not None:
        weight, padding = depthwise.flatten(0, 1)[:, None], depthwise.shape[-1] // 2
        between = F.conv2d(between, weight, padding=padding, groups=phases * channels)
    return F.conv2d(between, pointwise.flatten(0, 1)[..., None, None], bias, groups=phases)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_two_convolutions(implementation: str, shape: str, layout: str, dtype: torch.dtype) -> None:
    """And their gradients; the plain form rounds the merged weight to the dtype."""
    forward, backward = IMPLEMENTATIONS[implementation]
    tensors, r = make(shape, layout, dtype), SHAPES[shape][-1]
    wide = [None if t is None else t.double().requires_grad_() for t in tensors]
    expected = two_convolutions(*wide)
    if r > 1:
        by_phase = expected.unflatten(1, (r, r, -1))
        expected = by_phase.permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)
    upstream = torch.randn(expected.shape, dtype=torch.float64).to(dtype)
    given = [t for t in wide[:3] if t is not None]
    gradients = torch.autograd.grad(expected, given, upstream.double())
    out = forward(*tensors, r)
    assert out.dtype == dtype
    as_features = torch.channels_last if layout == 'channels_last' else torch.contiguous_format
    if not tensors[0].is_contiguous():
        assert out.stride() == torch.empty_like(out, memory_format=as_features).stride()
    tolerance = 30 * torch.finfo(dtype).eps
    found = backward(upstream, *tensors[:3], r)
    results = (out, *(g for g, t in zip(found, wide, strict=False) if t is not None))
    for result, reference in zip(results, (expected, *gradients), strict=True):
        scale = reference.abs().max().item() if reference.numel() else 1.0
        torch.testing.assert_close(
            result.double(), reference, rtol=0, atol=tolerance * scale, check_stride=False
        )


def differentiable(shape: str, layout: str, dtype: torch.dtype) -> list[Tensor | None]:
    return [None if t is None else t.requires_grad_() for t in make(shape, layout, dtype)]


@pytest.mark.parametrize('shape', ['DDF-Up x2', 'fine map x2', '1x1 alone'])
def test_torch_accepts_it(shape: str) -> None:
    tensors = differentiable(shape, 'contiguous', torch.float32)
    arguments = (*tensors, SHAPES[shape][-1])
    torch.library.opcheck(torch.ops.ddf_seg.depthwise_pointwise.default, arguments)


@pytest.mark.parametrize(
    'shape', ['DDF-Up x2', 'fine map x2', 'fine map x3', '1x1 alone', '1x1 alone, fine map x2']
)
def test_gradients_of_all(shape: str) -> None:
    tensors = differentiable(shape, 'channels_last', torch.float64)
    arguments = (*tensors, SHAPES[shape][-1])
    assert torch.autograd.gradcheck(depthwise_pointwise, arguments, fast_mode=True)
    assert torch.autograd.gradgradcheck(depthwise_pointwise, arguments, fast_mode=True)


@pytest.mark.parametrize(
    ('shape', 'needed'),
    [
        *(('DDF-Up x2', needed) for needed in range(4)),
        *(('1x1 alone', needed) for needed in (0, 2, 3)),
        ('1x1 alone, phases', 2),
        ('1x1 alone, no image', 2),
    ],
)
def test_gradient_of_one_alone(shape: str, needed: int) -> None:
    tensors = list(make(shape, 'contiguous', torch.float64))
    tensors[needed].requires_grad_()
    expected = two_convolutions(*tensors)
    upstream = torch.randn(expected.shape, dtype=torch.float64, requires_grad=True)
    gradients = [
        torch.autograd.grad(out, tensors[needed], upstream, create_graph=True)[0]
        for out in (depthwise_pointwise(*tensors), expected)
    ]
    torch.testing.assert_close(*gradients)
    again = [
        torch.autograd.grad(each.square().sum(), upstream, materialize_grads=True)[0]
        for each in gradients
    ]
    torch.testing.assert_close(*again)


def test_autocast_casts_all_tensors() -> None:
    tensors = make('DDF-Up x2', 'contiguous', torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        out = depthwise_pointwise(*tensors)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, depthwise_pointwise(*(t.bfloat16() for t in tensors)))


def test_compiled_graph_has_no_breaks() -> None:
    compiled = torch.compile(depthwise_pointwise, fullgraph=True, dynamic=True, backend='aot_eager')
    for shape in ('DDF-Up x2', 'DDF-Up x3, groups', 'fine map x2', 'fine map x3', '1x1 alone'):
        arguments = (*make(shape, 'contiguous', torch.float32), SHAPES[shape][-1])
        assert torch.equal(compiled(*arguments), depthwise_pointwise(*arguments))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_one_phase_and_one_output_in_any_layout(
    implementation: str, dtype: torch.dtype, layout: str
) -> None:
    """Of all tensors: torch's own gradient refused some of these weights."""
    _, backward = IMPLEMENTATIONS[implementation]
    generator = torch.Generator().manual_seed(0)
    sizes = ((2, 4, 6, 3), (1, 4, 3, 3), (1, 1, 4), (2, 1, 6, 3))
    x, depthwise, pointwise, upstream = (
        torch.randn(n, generator=generator, dtype=torch.float64) for n in sizes
    )
    wide = [t.clone().requires_grad_() for t in (x, depthwise, pointwise)]
    expected = torch.autograd.grad(two_convolutions(*wide, torch.zeros(1).double()), wide, upstream)
    x, depthwise, upstream = (LAYOUTS[layout](t) for t in (x, depthwise, upstream))
    got = backward(*(t.to(dtype) for t in (upstream, x, depthwise, pointwise)))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-4, check_stride=False)


@needs_library
@pytest.mark.parametrize(
    ('shape', 'where'),
    [
        (shape, where)
        for shape in ('DDF-Up x2', 'several tiles across', 'side 5', '1x1 alone')
        for where in ('x', 'depthwise', 'pointwise', 'upstream')
        if (shape, where) != ('1x1 alone', 'depthwise')
    ],
)
@pytest.mark.parametrize('value', [float('inf'), float('nan')])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_infinity_in_the_gradients_is_where_torch_has_it(
    shape: str, where: str, value: float, dtype: torch.dtype
) -> None:
    """Not at pixels whose tap reads outside the image, nor in lanes past the end of a row."""
    x, depthwise, pointwise, bias = make(shape, 'contiguous', torch.float64)
    upstream = torch.randn(two_convolutions(x, depthwise, pointwise, bias).shape).double()
    place = ('x', 'depthwise', 'pointwise', 'upstream').index(where)
    for index in (0, -1):
        tensors = [None if t is None else t.clone() for t in (x, depthwise, pointwise, upstream)]
        tensors[place].view(-1)[index] = value
        given = [t.requires_grad_() for t in tensors[:3] if t is not None]
        expected = torch.autograd.grad(two_convolutions(*tensors[:3], bias), given, tensors[3])
        # The values as they are rounded to the dtype
        low = [None if t is None else t.detach().to(dtype) for t in tensors]
        found = torch.ops.ddf_seg.depthwise_pointwise_backward(low[3], *low[:3])
        got = [g for g, t in zip(found, low, strict=False) if t is not None]
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-3, equal_nan=True)


@needs_library
@pytest.mark.parametrize(
    'shape', ['DDF-Up x3, groups', '1x1 alone, long rows', '1x1 alone, many small maps']
)
def test_same_bits_on_any_number_of_threads(shape: str) -> None:
    before = torch.get_num_threads()
    tensors = make(shape, 'contiguous', torch.float32)
    upstream = torch.randn_like(depthwise_pointwise(*tensors))
    results = []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            backward = torch.ops.ddf_seg.depthwise_pointwise_backward(upstream, *tensors[:3])
            results.append((depthwise_pointwise(*tensors), *backward))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@needs_library
@pytest.mark.parametrize('shape', ['several tiles across', '1x1 alone, several tiles'])
def test_infinity_stays_where_it_is_read(shape: str) -> None:
    x, depthwise, pointwise, bias = make(shape, 'contiguous', torch.float32)
    x[0, 3, 1, -1] = float('inf')
    finite = depthwise_pointwise(x, depthwise, pointwise, bias).isfinite().all(dim=1)[0]
    expected = torch.ones_like(finite)
    if depthwise is None:
        expected[1, -1] = False
    else:
        expected[:, -2:] = False
    assert torch.equal(finite, expected)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({0: torch.zeros(5, 6, 7)}, r'x: expected 4 dimensions.*got shape \(5, 6, 7\)'),
        ({0: torch.zeros(2, 5, 0, 7)}, r'x: .*at least one .*row.*got shape \(2, 5, 0, 7\)'),
        (
            {0: torch.zeros(2, 0, 6, 7), 1: torch.zeros(4, 0, 3, 3), 2: torch.zeros(4, 9, 0)},
            r'x: .*at least one channel.*got shape \(2, 0, 6, 7\)',
        ),
        ({2: torch.zeros(0, 9, 5)}, r'pointwise: expected shape .*got \(0, 9, 5\)'),
        (
            {0: torch.zeros(2, 5, 6, 7).int()},
            'x: expected one of float64, float32, float16, bfloat16, got (Int|torch.int32)',
        ),
        ({1: torch.zeros(4, 5, 2, 2)}, r'depthwise: expected .*odd side, got \(4, 5, 2, 2\)'),
        ({1: torch.zeros(3, 5, 3, 3)}, r'depthwise: expected .*got \(3, 5, 3, 3\)'),
        ({2: torch.zeros(4, 9, 6)}, r'pointwise: expected shape .*got \(4, 9, 6\)'),
        (
            {2: torch.zeros(4, 9, 5).double()},
            'pointwise: expected .*dtype of .*got (Double|torch.float64)',
        ),
        ({2: None}, 'pointwise: expected a (torch.T|t)ensor, got None'),
        ({3: None}, 'bias: expected a (torch.T|t)ensor, got None'),
        ({0: None}, 'x: expected a (torch.T|t)ensor, got None'),
        (
            {1: torch.zeros(4, 5, 3, 3, device='meta')},
            'depthwise: expected a tensor on (the CPU|cpu).*got',
        ),
        ({2: torch.zeros(4, 9, 5).to_sparse()}, 'pointwise: expected a dense tensor, got'),
        ({3: torch.zeros(35)}, r'bias: expected shape \(36\), got \(35\)'),
        ({4: 3}, 'scale_factor: expected 1, or the root of the number of phases 4, got 3'),
        ({4: -2}, 'scale_factor: expected 1, or the root of .* 4, got -2'),
    ],
)
@pytest.mark.parametrize('checked', ['operator', 'plain torch'])
def test_bad_arguments(checked: str, change: dict[int, Any], message: str) -> None:
    arguments: list[Any] = [*make('DDF-Up x2', 'contiguous', torch.float32), 1]
    for index, argument in change.items():
        arguments[index] = argument
    with pytest.raises((RuntimeError, ValueError, TypeError), match=message):
        (depthwise_pointwise if checked == 'operator' else check_depthwise_pointwise)(*arguments)
    if 3 not in change and checked == 'operator':  # the bias has no part in the gradients
        with pytest.raises((RuntimeError, ValueError, TypeError), match=message):
            torch.ops.ddf_seg.depthwise_pointwise_backward(
                torch.zeros(2, 36, 6, 7), *arguments[:3], arguments[4]
            )
