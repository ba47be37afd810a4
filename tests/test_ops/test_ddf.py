"""`ddf` against a naive loop, the special cases of its formula, layouts and low precision."""

from __future__ import annotations

import itertools

import naive
import pytest
import torch
import torch.nn.functional as F
from assertions import assert_rounded_once, assert_same_bits_on_any_threads, is_channels_last_only
from cases import LAYOUTS, Call, ddf_calls, of_one_filter, present
from implementations import Implementation
from torch import Tensor

from ddf_seg.ops import reference

CLOSE = {'rtol': 1e-12, 'atol': 1e-11}


def call(**changes: object) -> Call:
    """A small call of plain geometry, but for the `changes`."""
    base: dict[str, object] = {
        'batch': 2,
        'channels': 4,
        'groups': 2,
        'size': (5, 7),
        'kernel_size': 3,
        'dilation': 1,
        'stride': 1,
        'kernel_combine': 'mul',
        'layouts': ('contiguous',) * 3,
    }
    base |= changes
    down = naive.pair(base['stride'])  # type: ignore[arg-type]
    height, width = base['size']  # type: ignore[misc]
    base.setdefault('out_size', (-(-height // down[0]), -(-width // down[1])))
    return Call(**base)  # type: ignore[arg-type]


@pytest.mark.parametrize('case', [*ddf_calls(60), *of_one_filter(ddf_calls(30))], ids=str)
def test_agrees_with_the_naive_loop(implementation: Implementation, case: Call) -> None:
    tensors = case.tensors(requires_grad=True)
    output = implementation.ddf(*tensors, **case.arguments)
    torch.testing.assert_close(output, naive.ddf(*tensors, **case.arguments)[0], **CLOSE)

    upstream = case.grad_output()
    gradients = torch.autograd.grad(output, present(tensors), upstream)
    expected = naive.ddf(*tensors, **case.arguments, grad_output=upstream)
    for name, got, want in zip(f'X{case.filters}', gradients, expected, strict=True):
        torch.testing.assert_close(got, want, **CLOSE, msg=lambda m, n=name: f'{n}: {m}')


@pytest.mark.parametrize(
    'case',
    [
        call(size=(1, 1), kernel_size=7, dilation=3),
        call(size=(2, 3), kernel_size=(5, 7), dilation=(3, 2), stride=3),
        call(size=(1, 6), kernel_size=5, stride=(2, 4), kernel_combine='add'),
        call(channels=1, groups=1),
        call(channels=6, groups=6),
    ],
    ids=str,
)
def test_maps_smaller_than_the_kernel_and_extreme_groups(
    implementation: Implementation, case: Call
) -> None:
    tensors = case.tensors(requires_grad=True)
    output = implementation.ddf(*tensors, **case.arguments)
    torch.testing.assert_close(output, naive.ddf(*tensors, **case.arguments)[0], **CLOSE)
    upstream = case.grad_output()
    expected = naive.ddf(*tensors, **case.arguments, grad_output=upstream)
    for got, want in zip(torch.autograd.grad(output, tensors, upstream), expected, strict=True):
        torch.testing.assert_close(got, want, **CLOSE)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('layout', ['contiguous', 'channels_last', 'sliced'])
@pytest.mark.parametrize(
    'changes',
    [
        # Several tiles, several blocks of channels, and neither a multiple of a vector.
        {'channels': 70, 'groups': 1, 'size': (37, 45)},
        {'channels': 22, 'size': (5, 801), 'kernel_combine': 'add'},
        {'channels': 39, 'groups': 1, 'size': (23, 19), 'dilation': 2},
        {'channels': 34, 'size': (41, 26), 'stride': (2, 1), 'kernel_size': (1, 3)},
        {'channels': 34, 'size': (41, 26), 'stride': (2, 1), 'kernel_size': 1},
        {'channels': 70, 'groups': 1, 'size': (37, 45), 'filters': 'S'},
        {'channels': 39, 'groups': 1, 'size': (23, 19), 'dilation': 2, 'filters': 'S'},
        {'channels': 34, 'size': (5, 801), 'filters': 'S'},
        {'channels': 34, 'size': (21, 26), 'kernel_size': 5, 'filters': 'S'},
        {'channels': 70, 'groups': 1, 'size': (37, 45), 'filters': 'F'},
        {'channels': 39, 'groups': 1, 'size': (23, 19), 'dilation': 2, 'filters': 'F'},
    ],
    ids=lambda changes: str(call(**changes)),
)
def test_agrees_with_the_formula_over_many_tiles(
    implementation: Implementation, changes: dict[str, object], layout: str, dtype: torch.dtype
) -> None:
    case = call(batch=1, layouts=(layout,) * 3, **changes)
    tensors, upstream = case.tensors(dtype, requires_grad=True), case.grad_output(dtype)
    exact = [None if t is None else t.detach().double().requires_grad_() for t in tensors]
    output = implementation.ddf(*tensors, **case.arguments)
    want = reference.ddf(*exact, **case.arguments)  # type: ignore[arg-type]
    # Sums of up to a few thousand products of about 1.
    close = {'rtol': 1e-4, 'atol': 2e-4} if dtype == torch.float32 else CLOSE
    torch.testing.assert_close(output.double(), want, **close)
    gradients = torch.autograd.grad(output, present(tensors), upstream)
    expected = torch.autograd.grad(want, present(exact), upstream.double())
    for got, exactly in zip(gradients, expected, strict=True):
        torch.testing.assert_close(got.double(), exactly, **close)


@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
def test_empty_batch(implementation: Implementation, kernel_combine: str) -> None:
    case = call(batch=0, stride=2, kernel_combine=kernel_combine)
    tensors = case.tensors(torch.float32, requires_grad=True)
    output = implementation.ddf(*tensors, **case.arguments)
    assert output.shape == (0, 4, 3, 4)
    for gradient, tensor in zip(torch.autograd.grad(output.sum(), tensors), tensors, strict=True):
        assert gradient.shape == tensor.shape


def test_infinite_pixel_stays_within_its_kernel(implementation: Implementation) -> None:
    """An infinite pixel spoils the outputs whose kernel reaches it, and no other."""
    x, f, s = call(size=(4, 4)).tensors()
    x[0, 0, 0, 0] = torch.inf
    output = implementation.ddf(x, f, s)
    assert not output[0, 0, :2, :2].isfinite().any()
    output[0, 0, :2, :2] = 0
    assert output.isfinite().all()


# --- special cases of the formula ------------------------------------------------------------


@pytest.mark.parametrize(
    ('kernel_size', 'dilation', 'stride'),
    [(3, 1, 1), (5, 2, 1), (3, 1, 2), (7, 1, 2), ((3, 5), (2, 1), (2, 1)), (1, 1, 2)],
)
def test_without_channel_filter_it_is_involution(
    implementation: Implementation, kernel_size: object, dilation: object, stride: object
) -> None:
    case = call(
        size=(9, 11),
        channels=6,
        groups=3,
        kernel_size=kernel_size,
        dilation=dilation,
        stride=stride,
    )
    x, _, s = case.tensors()
    output = implementation.ddf(x, None, s, **case.arguments)

    kernel, dilated = naive.pair(case.kernel_size), naive.pair(case.dilation)
    padding = [(k - 1) // 2 * d for k, d in zip(kernel, dilated, strict=True)]
    patches = F.unfold(x, kernel, dilated, padding, case.stride)
    patches = patches.view(2, 3, 2, kernel[0] * kernel[1], *case.out_size)
    expected = (patches * s.view(2, 3, 1, -1, *case.out_size)).sum(3).view(2, 6, *case.out_size)
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize(
    ('kernel_size', 'dilation', 'stride'),
    [(3, 1, 1), (5, 2, 1), (3, 1, 2), (7, 3, 3), ((3, 5), (2, 1), (2, 1)), (1, 1, 2)],
)
@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
def test_without_spatial_filter_it_is_depthwise_convolution(
    implementation: Implementation,
    kernel_size: object,
    dilation: object,
    stride: object,
    kernel_combine: str,
) -> None:
    case = call(
        size=(9, 11),
        kernel_size=kernel_size,
        dilation=dilation,
        stride=stride,
        kernel_combine=kernel_combine,
    )
    x, f, _ = case.tensors()
    output = implementation.ddf(x, f, None, **case.arguments)

    kernel, dilated = naive.pair(case.kernel_size), naive.pair(case.dilation)
    padding = [(k - 1) // 2 * d for k, d in zip(kernel, dilated, strict=True)]
    expected = F.conv2d(
        x.reshape(1, 8, 9, 11), f.view(8, 1, *kernel), None, case.stride, padding, dilated, 8
    )
    torch.testing.assert_close(output, expected.view(2, 4, *case.out_size))


# --- layouts, precision, determinism -----------------------------------------------------------


@pytest.mark.parametrize('filters', ['FS', 'F', 'S'])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_output_follows_the_features_layout(
    implementation: Implementation, layout: str, filters: str
) -> None:
    case = call(layouts=(layout,) * 3, filters=filters)
    tensors = case.tensors(torch.float32, requires_grad=True)
    output = implementation.ddf(*tensors, **case.arguments)
    channels_last = layout == 'channels_last'
    assert is_channels_last_only(output) == channels_last
    assert output.is_contiguous() != channels_last


@pytest.mark.parametrize('layout', LAYOUTS)
def test_backward_op_follows_its_tensors_layout(kernels: Implementation, layout: str) -> None:
    case = call(layouts=(layout,) * 3)
    gradients = kernels.ddf_backward(
        case.grad_output(), *case.tensors(), [3, 3], [1, 1], [1, 1], 'mul', [True] * 3
    )
    for gradient in gradients:
        assert is_channels_last_only(gradient) == (layout == 'channels_last')
        assert gradient.is_contiguous() != (layout == 'channels_last')


@pytest.mark.parametrize(
    'layouts', list(itertools.product(('contiguous', 'channels_last'), repeat=3))
)
def test_mixed_layouts_give_the_same_values(
    implementation: Implementation, layouts: tuple[str, str, str]
) -> None:
    case = call(layouts=layouts)
    upstream = case.grad_output().contiguous(memory_format=torch.channels_last)
    results = []
    for each in (call(), case):
        tensors = each.tensors(requires_grad=True)
        output = implementation.ddf(*tensors, **each.arguments)
        results.append((output, *torch.autograd.grad(output, tensors, upstream)))
    for plain, mixed in zip(*results, strict=True):
        torch.testing.assert_close(mixed, plain, **CLOSE)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
@pytest.mark.parametrize('layout', ['contiguous', 'channels_last'])
@pytest.mark.parametrize('filters', ['FS', 'F', 'S'])
def test_low_precision_rounds_once(
    implementation: Implementation,
    dtype: torch.dtype,
    kernel_combine: str,
    layout: str,
    filters: str,
) -> None:
    """Sums in float32: off by float32's noise, and by half a unit in the last place of `dtype`."""
    case = call(
        size=(9, 10),
        kernel_size=7,
        kernel_combine=kernel_combine,
        layouts=(layout,) * 3,
        batch=1,
        groups=1 if filters == 'F' else 2,
        filters=filters,
    )
    tensors = case.tensors(dtype, requires_grad=True)
    upstream = case.grad_output(dtype)
    output = implementation.ddf(*tensors, **case.arguments)
    got = (output, *torch.autograd.grad(output, present(tensors), upstream))

    exact = naive.ddf(*tensors, **case.arguments)
    exact += naive.ddf(*tensors, **case.arguments, grad_output=upstream)
    magnitudes = tuple(None if t is None else t.abs() for t in tensors)
    scale = naive.ddf(*magnitudes, **case.arguments)
    scale += naive.ddf(*magnitudes, **case.arguments, grad_output=upstream.abs())
    for name, value, want, terms in zip(f'OX{filters}', got, exact, scale, strict=True):
        assert value.dtype == dtype
        assert_rounded_once(name, value, want, terms)


@pytest.mark.parametrize('filters', ['FS', 'F', 'S'])
@pytest.mark.parametrize('shape', [(1, 1, 1), (1, 2, 1), (2, 6, 3)], ids=str)
def test_results_do_not_depend_on_threads_and_runs(
    kernels: Implementation, shape: tuple[int, int, int], filters: str
) -> None:
    """Bit-equal. With one sample and one channel a plain sum would be split between threads."""
    batch, channels, groups = shape
    case = call(batch=batch, channels=channels, groups=groups, size=(200, 210), filters=filters)
    tensors = case.tensors(torch.float32, requires_grad=True)
    upstream = case.grad_output(torch.float32)

    def run() -> tuple[Tensor, ...]:
        output = kernels.ddf(*tensors, **case.arguments)
        return (output, *torch.autograd.grad(output, present(tensors), upstream))

    assert_same_bits_on_any_threads(run)


def test_inputs_are_left_alone(implementation: Implementation) -> None:
    case = call()
    tensors = case.tensors()
    copies = [t.clone() for t in tensors]
    implementation.ddf(*tensors, **case.arguments)
    for tensor, copy in zip(tensors, copies, strict=True):
        assert torch.equal(tensor, copy)
