"""Bad arguments: the exception, and in its message the argument, what was expected and found."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from implementations import IMPLEMENTATIONS, Implementation

from ddf_seg.ops import ddf, is_native_available

Arguments = dict[str, Any]


@pytest.fixture(params=['dispatched', 'reference'])
def implementation(request: pytest.FixtureRequest) -> Implementation:
    """The public ones."""
    return IMPLEMENTATIONS[request.param]


def ddf_arguments() -> Arguments:
    """A good call: 6 channels in 3 groups, 9×8 to 5×8."""
    return {
        'features': torch.randn(2, 6, 9, 8),
        'channel_filter': torch.randn(2, 6, 3, 5),
        'spatial_filter': torch.randn(2, 3 * 15, 5, 8),
        'kernel_size': (3, 5),
        'dilation': 1,
        'stride': (2, 1),
        'kernel_combine': 'mul',
    }


def ddf_upsample_arguments() -> Arguments:
    """A good call: 6 channels in 3 groups, 4×3 to 11×9 (r = 3)."""
    return {
        'features': torch.randn(2, 6, 4, 3),
        'channel_filter': torch.randn(2, 9, 6, 3, 3),
        'spatial_filter': torch.randn(2, 3 * 9, 11, 9),
        'kernel_size': 3,
        'scale_factor': 3,
        'dilation': 1,
        'kernel_combine': 'mul',
    }


BOTH: list[tuple[str, Any, type[Exception]]] = [
    ('kernel_size', (3, 4), ValueError),
    ('kernel_size', 2, ValueError),
    ('kernel_size', 0, ValueError),
    ('kernel_size', -3, ValueError),
    ('kernel_size', 3.0, TypeError),
    ('kernel_size', (3.0, 3), TypeError),
    ('kernel_size', (3, 3, 3), TypeError),
    ('kernel_size', (3,), TypeError),
    ('kernel_size', '35', TypeError),
    ('kernel_size', None, TypeError),
    ('dilation', 0, ValueError),
    ('dilation', -1, ValueError),
    ('dilation', (1, 0), ValueError),
    ('dilation', 1.5, TypeError),
    # A bool is an int in Python, and no size
    ('kernel_size', True, TypeError),
    ('dilation', True, TypeError),
    ('dilation', (1, True), TypeError),
    ('kernel_size', 2**31 + 1, ValueError),
    # 2^40 weights a channel
    ('kernel_size', 2**20 + 1, ValueError),
    ('dilation', 2**31, ValueError),
    ('dilation', (1, 2**62), ValueError),
    ('dilation', 2**70, ValueError),
    ('kernel_combine', 'times', ValueError),
    ('kernel_combine', '', ValueError),
    ('kernel_combine', None, ValueError),
]
DDF = [
    *BOTH,
    ('stride', 0, ValueError),
    ('stride', (1, -2), ValueError),
    ('stride', 2.0, TypeError),
    ('stride', False, TypeError),
    ('stride', 2**31, ValueError),
    ('stride', (2**62, 1), ValueError),
    ('features', torch.randn(6, 9, 8), ValueError),
    ('features', torch.randn(1, 2, 6, 9, 8), ValueError),
    ('features', torch.randn(2, 6, 0, 8), ValueError),
    ('channel_filter', torch.randn(2, 6, 15), ValueError),
    ('channel_filter', torch.randn(2, 6, 5, 3), ValueError),
    ('channel_filter', torch.randn(2, 5, 3, 5), ValueError),
    ('channel_filter', torch.randn(1, 6, 3, 5), ValueError),
    ('channel_filter', torch.randn(2, 4, 6, 3, 5), ValueError),
    ('spatial_filter', torch.randn(2, 45, 40), ValueError),
    ('spatial_filter', torch.randn(2, 45, 9, 8), ValueError),
    # 9 // 2 rows, where a convolution rounds up
    ('spatial_filter', torch.randn(2, 45, 4, 8), ValueError),
    ('spatial_filter', torch.randn(2, 45, 5, 7), ValueError),
    ('spatial_filter', torch.randn(1, 45, 5, 8), ValueError),
    ('spatial_filter', torch.randn(2, 44, 5, 8), ValueError),
    ('spatial_filter', torch.randn(2, 0, 5, 8), ValueError),
    # 4 groups of 6 channels
    ('spatial_filter', torch.randn(2, 60, 5, 8), ValueError),
]
UPSAMPLE = [
    *BOTH,
    ('scale_factor', 0, ValueError),
    ('scale_factor', -2, ValueError),
    ('scale_factor', 3.0, TypeError),
    ('scale_factor', True, TypeError),
    ('scale_factor', 2**15 + 1, ValueError),
    ('scale_factor', 2**62, ValueError),
    ('scale_factor', (3, 3), TypeError),
    ('features', torch.randn(6, 4, 3), ValueError),
    ('features', torch.randn(2, 6, 4, 0), ValueError),
    ('channel_filter', torch.randn(2, 4, 6, 3, 3), ValueError),
    ('channel_filter', torch.randn(2, 6, 9, 3, 3), ValueError),
    ('channel_filter', torch.randn(2, 6, 9), ValueError),
    ('channel_filter', torch.randn(3, 6, 3, 3), ValueError),
    # 4 · 3 ± 3 rows, 3 · 3 ± 3 columns
    ('spatial_filter', torch.randn(2, 27, 9, 9), ValueError),
    ('spatial_filter', torch.randn(2, 27, 15, 9), ValueError),
    ('spatial_filter', torch.randn(2, 27, 12, 6), ValueError),
    ('spatial_filter', torch.randn(2, 27, 12, 12), ValueError),
    ('spatial_filter', torch.randn(2, 27, 99), ValueError),
    ('spatial_filter', torch.randn(1, 27, 11, 9), ValueError),
    ('spatial_filter', torch.randn(2, 28, 11, 9), ValueError),
    ('spatial_filter', torch.randn(2, 36, 11, 9), ValueError),
]
CALLS = {'ddf': (ddf_arguments, DDF), 'ddf_upsample': (ddf_upsample_arguments, UPSAMPLE)}


def _id(value: Any) -> str | None:
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else None


def check(
    implementation: Implementation,
    op: str,
    arguments: Arguments,
    name: str,
    error: type[Exception],
) -> str:
    """Calls, and returns the message of the error that must come."""
    with pytest.raises(error, match=rf'^{name}: expected .*got ') as caught:
        getattr(implementation, op)(**arguments)
    assert type(caught.value) is error
    return str(caught.value)


@pytest.mark.parametrize('op', CALLS)
def test_good_arguments_pass(implementation: Implementation, op: str) -> None:
    arguments = CALLS[op][0]()
    output = getattr(implementation, op)(**arguments)
    assert output.shape == (2, 6, *arguments['spatial_filter'].shape[2:])


@pytest.mark.parametrize(
    ('op', 'name', 'value', 'error'),
    [(op, *bad) for op, (_, cases) in CALLS.items() for bad in cases],
    ids=_id,
)
def test_bad_argument(
    implementation: Implementation, op: str, name: str, value: Any, error: type[Exception]
) -> None:
    arguments = CALLS[op][0]() | {name: value}
    message = check(implementation, op, arguments, name, error)
    if isinstance(value, torch.Tensor):
        assert any(str(n) in message.split('got ')[-1] for n in value.shape)
    else:
        assert repr(value) in message.split('got ')[-1]


TENSORS = ('features', 'channel_filter', 'spatial_filter')


@pytest.mark.parametrize('op', CALLS)
@pytest.mark.parametrize('name', TENSORS)
@pytest.mark.parametrize('dtype', [torch.int64, torch.bool, torch.complex64, torch.uint8])
def test_unsupported_dtype(
    implementation: Implementation, op: str, name: str, dtype: torch.dtype
) -> None:
    arguments = CALLS[op][0]()
    arguments[name] = arguments[name].to(dtype)
    assert str(dtype) in check(implementation, op, arguments, name, TypeError)


@pytest.mark.parametrize('op', CALLS)
def test_integer_tensors(implementation: Implementation, op: str) -> None:
    arguments = CALLS[op][0]()
    for name in TENSORS:
        arguments[name] = arguments[name].int()
    check(implementation, op, arguments, 'features', TypeError)


@pytest.mark.parametrize('op', CALLS)
@pytest.mark.parametrize('device', ['cpu', 'meta'])
@pytest.mark.parametrize('name', TENSORS)
def test_mixed_dtypes(implementation: Implementation, op: str, device: str, name: str) -> None:
    arguments = CALLS[op][0]()
    for other in TENSORS:
        arguments[other] = arguments[other].to(device)
    arguments[name] = arguments[name].to(torch.float16)
    wrong = 'channel_filter' if name == 'features' else name
    message = check(implementation, op, arguments, wrong, TypeError)
    assert 'torch.float16' in message
    assert 'torch.float32' in message


@pytest.mark.parametrize('op', CALLS)
@pytest.mark.parametrize('name', TENSORS)
def test_mixed_devices(implementation: Implementation, op: str, name: str) -> None:
    arguments = CALLS[op][0]()
    arguments[name] = arguments[name].to('meta')
    wrong = 'channel_filter' if name == 'features' else name
    message = check(implementation, op, arguments, wrong, ValueError)
    assert 'meta' in message
    assert 'cpu' in message


@pytest.mark.parametrize('op', CALLS)
def test_no_filter_at_all(implementation: Implementation, op: str) -> None:
    arguments = CALLS[op][0]() | {'channel_filter': None, 'spatial_filter': None}
    message = check(implementation, op, arguments, 'channel_filter', ValueError)
    assert 'where spatial_filter is None' in message


@pytest.mark.parametrize(
    ('op', 'name', 'value'),
    [(op, n, v) for op, (_, cases) in CALLS.items() for n, v, _ in cases if n in TENSORS],
    ids=_id,
)
def test_one_filter_is_checked_without_the_other(
    implementation: Implementation, op: str, name: str, value: Any
) -> None:
    other = 'spatial_filter' if name == 'channel_filter' else 'channel_filter'
    arguments = CALLS[op][0]() | {other: None, name: value}
    check(implementation, op, arguments, name, ValueError)


@pytest.mark.parametrize('op', CALLS)
@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('features', None),
        *((n, v) for n in TENSORS for v in (1.0, np.zeros((2, 6, 9, 8), np.float32))),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_no_tensor(implementation: Implementation, op: str, name: str, value: Any) -> None:
    arguments = CALLS[op][0]() | {name: value}
    message = check(implementation, op, arguments, name, TypeError)
    assert type(value).__name__ in message


@pytest.mark.parametrize('op', CALLS)
@pytest.mark.parametrize('name', TENSORS)
@pytest.mark.parametrize('layout', ['sparse_coo', 'mkldnn'])
def test_layouts_without_strides(
    implementation: Implementation, op: str, name: str, layout: str
) -> None:
    arguments = CALLS[op][0]()
    if layout == 'mkldnn' and not torch.backends.mkldnn.is_available():
        pytest.skip('this torch has no MKL-DNN')
    convert = torch.Tensor.to_sparse if layout == 'sparse_coo' else torch.Tensor.to_mkldnn
    arguments[name] = convert(arguments[name])
    assert layout in check(implementation, op, arguments, name, ValueError)


# --- for who calls torch.ops.ddf_seg directly ----------------------------------------------------

RAW_DDF = {'kernel_size': [3, 5], 'dilation': [1, 1], 'stride': [2, 1], 'kernel_combine': 'mul'}
RAW_UPSAMPLE = {'kernel_size': [3, 3], 'scale_factor': 3, 'dilation': [1, 1]}
RAW: dict[str, tuple[Any, Arguments]] = {
    'ddf': (ddf_arguments, RAW_DDF),
    'ddf_upsample': (ddf_upsample_arguments, {**RAW_UPSAMPLE, 'kernel_combine': 'mul'}),
}


def refusals(op: str, **changed: Any) -> list[str]:
    """The errors of the operator and its backward operator."""
    make, arguments = RAW[op]
    call = make() | arguments | changed
    upstream = torch.zeros(2, 6, *make()['spatial_filter'].shape[2:])
    forward, backward = (getattr(torch.ops.ddf_seg, name) for name in (op, f'{op}_backward'))
    errors = []
    for run in (forward, lambda *a: backward(upstream, *a, [True] * 3)):
        with pytest.raises((RuntimeError, ValueError, TypeError)) as caught:
            run(*call.values())
        errors.append(str(caught.value))
    return errors


@pytest.mark.parametrize(
    ('op', 'name', 'value'),
    [
        ('ddf', 'dilation', [1, 2**62]),
        ('ddf', 'dilation', [2**62 - 1, 1]),
        ('ddf', 'dilation', [0, 1]),
        ('ddf', 'stride', [2**62, 1]),
        ('ddf', 'kernel_size', [2**31 - 1, 2**31 - 1]),
        ('ddf', 'kernel_size', [2, 3]),
        ('ddf', 'kernel_combine', 'times'),
        ('ddf_upsample', 'dilation', [2**62, 2**62]),
        ('ddf_upsample', 'scale_factor', 2**62),
        ('ddf_upsample', 'scale_factor', 2**15 + 1),
        ('ddf_upsample', 'scale_factor', 0),
    ],
)
def test_raw_operators_have_the_limits(op: str, name: str, value: Any) -> None:
    """Larger values crashed or gave wrong numbers."""
    for message in refusals(op, **{name: value}):
        assert message.startswith(f'{name}: expected '), message


@pytest.mark.parametrize('op', CALLS)
@pytest.mark.parametrize('name', TENSORS)
@pytest.mark.parametrize('change', ['to meta', 'to sparse', 'None'])
def test_raw_operators_look_at_every_tensor(op: str, name: str, change: str) -> None:
    tensor = RAW[op][0]()[name]
    other = {'to meta': tensor.to('meta'), 'to sparse': tensor.to_sparse(), 'None': None}[change]
    changes = {name: other}
    if change == 'None' and name != 'features':
        name = 'channel_filter'
        changes = {'channel_filter': None, 'spatial_filter': None}
    of_forward, of_backward = refusals(op, **changes)
    # What differs from the first tensor is named, also where that is the odd one out.
    wrong = 'channel_filter' if name == 'features' and change == 'to meta' else name
    assert re.match(f'{wrong}: expected .*got ', of_forward)
    assert re.match(f'{name}: expected .*got ', of_backward)


# --- values as large as they may be --------------------------------------------------------------


@pytest.mark.parametrize('dilation', [8, 100, 2**31 - 1, (2**31 - 1, 7)], ids=str)
@pytest.mark.parametrize('combine', ['mul', 'add'])
def test_taps_beyond_the_map_leave_its_centre(
    implementation: Implementation, dilation: Any, combine: str
) -> None:
    """Of 7×7 pixels every tap but the middle one reads zeros; gradients, too."""
    x, f, s = (
        torch.randn(n, requires_grad=True) for n in ((1, 2, 7, 7), (1, 2, 3, 3), (1, 9, 7, 7))
    )
    weight = f[:, :, 1, 1, None, None], s[:, 4:5]
    centre = (weight[0] * weight[1] if combine == 'mul' else weight[0] + weight[1]) * x
    output = implementation.ddf(x, f, s, dilation=dilation, kernel_combine=combine)
    torch.testing.assert_close(output, centre)
    up = implementation.ddf_upsample(
        x, f, s, scale_factor=1, dilation=dilation, kernel_combine=combine
    )
    torch.testing.assert_close(up, centre)
    for got in (output, up):
        torch.testing.assert_close(
            torch.autograd.grad(got.pow(2).sum(), (x, f, s), retain_graph=True),
            torch.autograd.grad(centre.pow(2).sum(), (x, f, s), retain_graph=True),
        )


@pytest.mark.parametrize('stride', [7, 2**31 - 1, (9, 2**20)], ids=str)
def test_steps_beyond_the_map_leave_its_first_pixel(
    implementation: Implementation, stride: Any
) -> None:
    x, f, s = torch.randn(1, 2, 7, 7), torch.randn(1, 2, 3, 3), torch.randn(1, 9, 1, 1)
    seen = torch.nn.functional.pad(x, (1, 1, 1, 1))[:, :, :3, :3]
    want = (f * s.view(1, 1, 3, 3) * seen).sum((2, 3), keepdim=True)
    torch.testing.assert_close(implementation.ddf(x, f, s, stride=stride), want)


def test_a_scale_far_beyond_the_output(implementation: Implementation) -> None:
    """One pixel of 10000² phases: no loop over those that are not there."""
    x, f, s = torch.randn(1, 2, 1, 1), torch.randn(1, 2, 3, 3), torch.randn(1, 9, 1, 2)
    want = f[:, :, 1, 1, None, None] * s[:, 4:5] * x
    torch.testing.assert_close(implementation.ddf_upsample(x, f, s, scale_factor=10000), want)


@pytest.mark.skipif(not is_native_available(), reason='the operators are not compiled here')
def test_out_of_memory_names_the_size() -> None:
    """A petabyte, from tensors of no memory."""
    one = torch.zeros(1)
    x, f = one.expand(1, 2**18, 2**15, 2**15), one.expand(1, 2**18, 1, 1)
    s = one.expand(1, 1, 2**15, 2**15)
    message = r'out of memory.*\(1, 262144, 32768, 32768\).*1\.05e\+06 GiB'
    with pytest.raises(RuntimeError, match=message):
        ddf(x, f, s, kernel_size=1)


@pytest.mark.parametrize('size', [(10, 7), (14, 11), (12, 9)], ids=str)
def test_upsampled_sizes_within_one_step_pass(
    implementation: Implementation, size: tuple[int, int]
) -> None:
    arguments = ddf_upsample_arguments() | {'spatial_filter': torch.randn(2, 27, *size)}
    assert implementation.ddf_upsample(**arguments).shape[2:] == size
