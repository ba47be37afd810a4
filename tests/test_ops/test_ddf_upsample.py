"""`ddf_upsample` against a naive loop, the authors' DDF-Up, CARAFE, layouts and low precision."""

from __future__ import annotations

import naive
import pytest
import torch
import torch.nn.functional as F
from assertions import assert_rounded_once, assert_same_bits_on_any_threads, is_channels_last_only
from cases import LAYOUTS, Call, ddf_upsample_calls, of_one_filter, present
from implementations import Implementation
from torch import Tensor

CLOSE = {'rtol': 1e-12, 'atol': 1e-11}


def call(**changes: object) -> Call:
    """A small call with r = 2 at twice the size, but for the `changes`."""
    base: dict[str, object] = {
        'batch': 2,
        'channels': 4,
        'groups': 2,
        'size': (3, 4),
        'kernel_size': 3,
        'dilation': 1,
        'scale_factor': 2,
        'kernel_combine': 'mul',
        'layouts': ('contiguous',) * 3,
        'phased': True,
    }
    base |= changes
    height, width = base['size']  # type: ignore[misc]
    r: int = base['scale_factor']  # type: ignore[assignment]
    base.setdefault('out_size', (r * height, r * width))
    return Call(**base)  # type: ignore[arg-type]


def assert_naive(implementation: Implementation, case: Call) -> None:
    tensors = case.tensors(requires_grad=True)
    output = implementation.ddf_upsample(*tensors, **case.arguments)
    torch.testing.assert_close(output, naive.ddf_upsample(*tensors, **case.arguments)[0], **CLOSE)

    upstream = case.grad_output()
    gradients = torch.autograd.grad(output, present(tensors), upstream)
    expected = naive.ddf_upsample(*tensors, **case.arguments, grad_output=upstream)
    for name, got, want in zip(f'X{case.filters}', gradients, expected, strict=True):
        torch.testing.assert_close(got, want, **CLOSE, msg=lambda m, n=name: f'{n}: {m}')


@pytest.mark.parametrize(
    'case', [*ddf_upsample_calls(60), *of_one_filter(ddf_upsample_calls(30))], ids=str
)
def test_agrees_with_the_naive_loop(implementation: Implementation, case: Call) -> None:
    assert_naive(implementation, case)


@pytest.mark.parametrize('phased', [True, False])
@pytest.mark.parametrize('height', range(7, 12))
@pytest.mark.parametrize('width', range(1, 6))
def test_every_size_between_multiples(
    implementation: Implementation, height: int, width: int, phased: bool
) -> None:
    """r = 3 from 3×1: all sizes from r · n − (r − 1) to r · n + (r − 1)."""
    assert_naive(
        implementation,
        call(
            batch=1,
            channels=2,
            groups=1,
            size=(3, 1),
            scale_factor=3,
            out_size=(height, width),
            phased=phased,
        ),
    )


@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
def test_empty_batch(implementation: Implementation, kernel_combine: str) -> None:
    case = call(batch=0, out_size=(7, 7), kernel_combine=kernel_combine)
    tensors = case.tensors(torch.float32, requires_grad=True)
    output = implementation.ddf_upsample(*tensors, **case.arguments)
    assert output.shape == (0, 4, 7, 7)
    for gradient, tensor in zip(torch.autograd.grad(output.sum(), tensors), tensors, strict=True):
        assert gradient.shape == tensor.shape


# --- special cases of the formula ------------------------------------------------------------


@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
@pytest.mark.parametrize('scale_factor', [2, 3, 4])
@pytest.mark.parametrize('kernel_size', [3, (5, 3)])
@pytest.mark.parametrize('phased', [True, False])
def test_at_multiples_it_is_the_authors_ddf_up(
    implementation: Implementation,
    kernel_combine: str,
    scale_factor: int,
    kernel_size: object,
    phased: bool,
) -> None:
    """r² calls of ddf, one a phase, stacked and shuffled."""
    case = call(
        size=(5, 4),
        kernel_combine=kernel_combine,
        scale_factor=scale_factor,
        kernel_size=kernel_size,
        phased=phased,
    )
    x, f, s = case.tensors()
    r = scale_factor
    phases = [
        implementation.ddf(
            x,
            f[:, r * row + column] if phased else f,
            s[:, :, row::r, column::r],
            case.kernel_size,
            kernel_combine=kernel_combine,
        )
        for row in range(r)
        for column in range(r)
    ]
    expected = F.pixel_shuffle(torch.stack(phases, dim=2).flatten(1, 2), r)
    torch.testing.assert_close(implementation.ddf_upsample(x, f, s, **case.arguments), expected)


@pytest.mark.parametrize('scale_factor', [1, 2, 3])
@pytest.mark.parametrize('kernel_size', [3, 5])
@pytest.mark.parametrize('dilation', [1, 2])
def test_without_channel_filter_it_is_carafe(
    implementation: Implementation, scale_factor: int, kernel_size: int, dilation: int
) -> None:
    """CARAFE's reassembly: unfold, nearest-neighbour upsampling, weighted sum over the taps."""
    r, k = scale_factor, kernel_size
    case = call(channels=6, groups=3, size=(5, 4), scale_factor=r, kernel_size=k, dilation=dilation)
    x, _, s = case.tensors()
    output = implementation.ddf_upsample(x, None, s, **case.arguments)

    patches = F.unfold(x, k, dilation, dilation * (k // 2)).view(2, 6 * k * k, 5, 4)
    patches = F.interpolate(patches, scale_factor=r, mode='nearest')
    patches = patches.view(2, 3, 2, k * k, 5 * r, 4 * r)
    expected = (patches * s.view(2, 3, 1, k * k, 5 * r, 4 * r)).sum(3).flatten(1, 2)
    torch.testing.assert_close(output, expected)


def test_scale_factor_1_is_ddf(implementation: Implementation) -> None:
    case = call(scale_factor=1, phased=False, size=(5, 6))
    x, f, s = case.tensors()
    torch.testing.assert_close(
        implementation.ddf_upsample(x, f, s, 3, 1), implementation.ddf(x, f, s, 3)
    )


# --- layouts, precision, determinism -----------------------------------------------------------


@pytest.mark.parametrize('layout', LAYOUTS)
def test_output_follows_the_features_layout(implementation: Implementation, layout: str) -> None:
    case = call(layouts=(layout,) * 3)
    output = implementation.ddf_upsample(*case.tensors(), **case.arguments)
    assert is_channels_last_only(output) == (layout == 'channels_last')
    assert output.is_contiguous() != (layout == 'channels_last')


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('phased', [True, False])
def test_backward_op_follows_its_tensors_layout(
    kernels: Implementation, layout: str, phased: bool
) -> None:
    case = call(layouts=(layout,) * 3, phased=phased)
    tensors = case.tensors()
    gradients = kernels.ddf_upsample_backward(
        case.grad_output(), *tensors, [3, 3], 2, [1, 1], 'mul', [True] * 3
    )
    for gradient, tensor in zip(gradients, tensors, strict=True):
        channels_last = layout == 'channels_last' and tensor.dim() == 4
        assert (gradient.dim() == 4 and is_channels_last_only(gradient)) == channels_last
        assert gradient.is_contiguous() != channels_last


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
@pytest.mark.parametrize(
    ('phased', 'filters'), [(True, 'FS'), (False, 'FS'), (True, 'F'), (False, 'S')]
)
def test_low_precision_rounds_once(
    implementation: Implementation,
    dtype: torch.dtype,
    kernel_combine: str,
    phased: bool,
    filters: str,
) -> None:
    """Sums in float32: off by float32's noise, and by half a unit in the last place of `dtype`."""
    case = call(
        batch=1,
        size=(6, 5),
        out_size=(12, 10) if filters == 'F' else (11, 11),
        kernel_size=5,
        kernel_combine=kernel_combine,
        phased=phased,
        groups=1 if filters == 'F' else 2,
        filters=filters,
    )
    tensors = case.tensors(dtype, requires_grad=True)
    upstream = case.grad_output(dtype)
    output = implementation.ddf_upsample(*tensors, **case.arguments)
    got = (output, *torch.autograd.grad(output, present(tensors), upstream))

    exact = naive.ddf_upsample(*tensors, **case.arguments)
    exact += naive.ddf_upsample(*tensors, **case.arguments, grad_output=upstream)
    magnitudes = tuple(None if t is None else t.abs() for t in tensors)
    scale = naive.ddf_upsample(*magnitudes, **case.arguments)
    scale += naive.ddf_upsample(*magnitudes, **case.arguments, grad_output=upstream.abs())
    for name, value, want, terms in zip(f'OX{filters}', got, exact, scale, strict=True):
        assert value.dtype == dtype
        assert_rounded_once(name, value, want, terms)


@pytest.mark.parametrize('shape', [(1, 1, 1), (1, 2, 1)], ids=str)
@pytest.mark.parametrize(('scale_factor', 'phased'), [(2, True), (2, False), (1, True)])
def test_results_do_not_depend_on_threads_and_runs(
    kernels: Implementation, shape: tuple[int, int, int], scale_factor: int, phased: bool
) -> None:
    batch, channels, groups = shape
    case = call(
        batch=batch,
        channels=channels,
        groups=groups,
        size=(200 // scale_factor, 210 // scale_factor),
        out_size=(200, 210),
        scale_factor=scale_factor,
        phased=phased,
    )
    tensors = case.tensors(torch.float32, requires_grad=True)
    upstream = case.grad_output(torch.float32)

    def run() -> tuple[Tensor, ...]:
        output = kernels.ddf_upsample(*tensors, **case.arguments)
        return (output, *torch.autograd.grad(output, tensors, upstream))

    assert_same_bits_on_any_threads(run)
