"""What torch promises of a registered operator: autograd, compile, export, autocast, FLOPs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from implementations import Implementation
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ddf_seg.ops import ddf, ddf_upsample, reference

OPS = torch.ops.ddf_seg
Tensors = tuple[Tensor, Tensor, Tensor]


def ddf_tensors(
    batch: int = 2, size: tuple[int, int] = (5, 4), requires_grad: bool = False, **kwargs: Any
) -> Tensors:
    """For kernel size 3, stride 2; 4 channels in 2 groups."""
    out = (-(-size[0] // 2), -(-size[1] // 2))
    shapes = ((batch, 4, *size), (batch, 4, 3, 3), (batch, 18, *out))
    x, f, s = (torch.randn(n, requires_grad=requires_grad, **kwargs) for n in shapes)
    return x, f, s


def upsample_tensors(
    batch: int = 2, size: tuple[int, int] = (2, 3), requires_grad: bool = False, **kwargs: Any
) -> Tensors:
    """For kernel size 3, r = 2, one row less than 2 · size; 4 channels in 2 groups."""
    out = (2 * size[0] - 1, 2 * size[1])
    shapes = ((batch, 4, *size), (batch, 4, 4, 3, 3), (batch, 18, *out))
    x, f, s = (torch.randn(n, requires_grad=requires_grad, **kwargs) for n in shapes)
    return x, f, s


DDF_ARGUMENTS = ([3, 3], [1, 1], [2, 2])
UPSAMPLE_ARGUMENTS = ([3, 3], 2, [1, 1])
BY_NAME: dict[str, Any] = {
    'ddf': (ddf_tensors, DDF_ARGUMENTS, ddf, {'stride': 2}),
    'ddf_upsample': (upsample_tensors, UPSAMPLE_ARGUMENTS, ddf_upsample, {}),
}
both = pytest.mark.parametrize('name', BY_NAME)
combines = pytest.mark.parametrize('kernel_combine', ['mul', 'add'])


# --- autograd ----------------------------------------------------------------------------------


@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
@pytest.mark.parametrize(
    ('kernel_size', 'dilation', 'stride', 'groups'),
    [(3, 1, 1, 1), (3, 2, (2, 1), 2), ((1, 3), 1, 3, 1)],
)
def test_gradcheck_ddf(
    implementation: Implementation,
    kernel_size: Any,
    dilation: Any,
    stride: Any,
    groups: int,
    kernel_combine: str,
) -> None:
    kh, kw = (kernel_size,) * 2 if isinstance(kernel_size, int) else kernel_size
    sh, sw = (stride,) * 2 if isinstance(stride, int) else stride
    double = {'dtype': torch.float64, 'requires_grad': True}
    x = torch.randn(1, 2, 4, 3, **double)
    f = torch.randn(1, 2, kh, kw, **double)
    s = torch.randn(1, groups * kh * kw, -(-4 // sh), -(-3 // sw), **double)
    arguments = (kernel_size, dilation, stride, kernel_combine)
    assert torch.autograd.gradcheck(lambda *t: implementation.ddf(*t, *arguments), (x, f, s))


@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
@pytest.mark.parametrize('size', [(4, 4), (3, 4), (5, 3)])
@pytest.mark.parametrize('phased', [True, False])
def test_gradcheck_ddf_upsample(
    implementation: Implementation, size: tuple[int, int], phased: bool, kernel_combine: str
) -> None:
    double = {'dtype': torch.float64, 'requires_grad': True}
    x = torch.randn(1, 2, 2, 2, **double)
    f = torch.randn(1, *(4,) * phased, 2, 1, 3, **double)
    s = torch.randn(1, 3, *size, **double)
    arguments = ((1, 3), 2, 1, kernel_combine)
    assert torch.autograd.gradcheck(
        lambda *t: implementation.ddf_upsample(*t, *arguments), (x, f, s)
    )


@both
@combines
@pytest.mark.parametrize('mask', list(itertools.product([True, False], repeat=3)), ids=str)
def test_output_mask(
    kernels: Implementation, name: str, kernel_combine: str, mask: tuple[bool, ...]
) -> None:
    """The gradients asked for, as without a mask; the others are empty, of shape (0,)."""
    make, arguments, _, _ = BY_NAME[name]
    tensors = make()
    backward = getattr(kernels, f'{name}_backward')
    upstream = torch.randn_like(getattr(OPS, name)(*tensors, *arguments, kernel_combine))
    every = backward(upstream, *tensors, *arguments, kernel_combine, [True] * 3)
    asked = backward(upstream, *tensors, *arguments, kernel_combine, list(mask))
    for gradient, full, needed in zip(asked, every, mask, strict=True):
        if needed:
            torch.testing.assert_close(gradient, full)
        else:
            assert gradient.shape == (0,)
            assert gradient.dtype == full.dtype


class Recorder(TorchDispatchMode):
    """Keeps the calls of our operators: (name, arguments)."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.namespace == 'ddf_seg':
            self.calls.append((func.__name__, args))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_gradient_of_a_sum_is_not_left_expanded(layout: torch.memory_format) -> None:
    """The kernels for maps of any strides are far slower."""
    x, f, s = ddf_tensors()
    tensors = [x.contiguous(memory_format=layout), f, s.contiguous(memory_format=layout)]
    for tensor in tensors:
        tensor.requires_grad_()
    with Recorder() as recorder:
        output = ddf(*tensors, stride=2)
        found = torch.autograd.grad(output.sum(), tensors)
    ((_, (upstream, *_)),) = [call for call in recorder.calls if 'backward' in call[0]]
    assert upstream.is_contiguous(memory_format=layout)
    want = torch.autograd.grad(ddf(*tensors, stride=2), tensors, torch.ones_like(output))
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a, b)


@both
@pytest.mark.parametrize(
    'mask', [m for m in itertools.product([True, False], repeat=3) if any(m)], ids=str
)
def test_only_the_gradients_needed_are_asked_for(name: str, mask: tuple[bool, ...]) -> None:
    make, _, function, keywords = BY_NAME[name]
    tensors = make()
    for tensor, needed in zip(tensors, mask, strict=True):
        tensor.requires_grad_(needed)
    with Recorder() as recorder:
        function(*tensors, **keywords).sum().backward()
    names = [call for call, _ in recorder.calls]
    assert names == [f'{name}.default', f'{name}_backward.default']
    assert list(recorder.calls[1][1][-1]) == list(mask)
    assert [t.grad is not None for t in tensors] == list(mask)


@both
def test_inference_keeps_nothing(name: str) -> None:
    make, _, function, keywords = BY_NAME[name]
    assert function(*make(), **keywords).grad_fn is None
    with torch.no_grad():
        assert function(*make(requires_grad=True), **keywords).grad_fn is None
    with torch.inference_mode():
        assert function(*make(requires_grad=True), **keywords).is_inference()


@both
@combines
def test_reference_has_second_derivatives(name: str, kernel_combine: str) -> None:
    double = {'dtype': torch.float64, 'requires_grad': True}
    x, f = torch.randn(1, 1, 2, 2, **double), torch.randn(1, 1, 1, 3, **double)
    s = torch.randn(1, 3, *((2, 2) if name == 'ddf' else (3, 4)), **double)
    function = getattr(reference, name)
    assert torch.autograd.gradgradcheck(
        lambda *t: function(*t, (1, 3), kernel_combine=kernel_combine), (x, f, s)
    )


@both
@pytest.mark.parametrize('missing', [1, 2], ids=['channel_filter', 'spatial_filter'])
def test_nothing_is_kept_or_asked_for_of_a_filter_that_is_missing(name: str, missing: int) -> None:
    make, _, function, keywords = BY_NAME[name]
    tensors: list[Tensor | None] = list(make(requires_grad=True))
    tensors[missing] = None
    with Recorder() as recorder:
        output = function(*tensors, **keywords)
        output.sum().backward()
    for _, arguments in recorder.calls:
        assert sum(isinstance(a, Tensor) for a in arguments) <= 3
        assert None in arguments
    mask = list(recorder.calls[1][1][-1])
    assert mask == [t is not None for t in tensors]
    gradients = getattr(OPS, f'{name}_backward')(*recorder.calls[1][1][:-1], [True] * 3)
    assert gradients[missing].shape == (0,)


OLD_TENSORS = 'Tensor features, Tensor channel_filter, Tensor spatial_filter'
OLD_SCHEMAS = {
    'ddf': f'({OLD_TENSORS}, int[2] kernel_size, int[2] dilation, int[2] stride, '
    'str kernel_combine) -> Tensor',
    'ddf_upsample': f'({OLD_TENSORS}, int[2] kernel_size, int scale_factor, int[2] dilation, '
    'str kernel_combine) -> Tensor',
}


@both
def test_programs_of_the_first_schema_still_run(name: str) -> None:
    """Which exported files hold: neither filter could be None."""
    old = torch._C.parse_schema(f'ddf_seg::{name}{OLD_SCHEMAS[name]}')
    new = getattr(OPS, name).default._schema
    assert new.is_backward_compatible_with(old)
    assert not old.is_backward_compatible_with(new)


# --- opcheck, compile, export --------------------------------------------------------------------


@pytest.mark.filterwarnings('ignore:.*functorch')
@both
@combines
@pytest.mark.parametrize(
    'variant',
    ['plain', 'channels_last', 'bfloat16', 'empty', 'one_gradient', 'spatial', 'channel'],
)
def test_opcheck(name: str, kernel_combine: str, variant: str) -> None:
    make, arguments, _, _ = BY_NAME[name]
    kwargs: dict[str, Any] = {'requires_grad': variant != 'one_gradient'}
    if variant == 'bfloat16':
        kwargs['dtype'] = torch.bfloat16
    if variant == 'empty':
        kwargs['batch'] = 0
    tensors = make(**kwargs)
    if variant == 'one_gradient':
        tensors[1].requires_grad_()
    if variant == 'channels_last':
        tensors = tuple(
            t.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
            if t.dim() == 4
            else t
            for t in tensors
        )
    if variant in ('spatial', 'channel'):
        x, f, s = tensors
        tensors = (x, None, s) if variant == 'spatial' else (x, f, None)
    torch.library.opcheck(getattr(OPS, name).default, (*tensors, *arguments, kernel_combine))


@both
@combines
@pytest.mark.parametrize('mask', [[True] * 3, [False, True, False]], ids=str)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=str)
def test_opcheck_backward(
    name: str, kernel_combine: str, mask: list[bool], layout: torch.memory_format
) -> None:
    make, arguments, _, _ = BY_NAME[name]
    tensors = [t.contiguous(memory_format=layout) if t.dim() == 4 else t for t in make()]
    upstream = torch.randn_like(getattr(OPS, name)(*tensors, *arguments, kernel_combine))
    torch.library.opcheck(
        getattr(OPS, f'{name}_backward').default,
        (upstream, *tensors, *arguments, kernel_combine, mask),
    )


def run_compiled(name: str, backend: str, sizes: list[tuple[int, int]]) -> None:
    """Compiles once for all sizes, forward and backward, and compares with the eager op.

    No size of the first call may equal another dimension: torch takes equal ones for the same.
    """
    make, _, function, keywords = BY_NAME[name]

    def run(x: Tensor, f: Tensor, s: Tensor) -> Tensor:
        return function(x * 2, f, s, **keywords) + 1

    torch._dynamo.reset()
    compiled = torch.compile(run, backend=backend, fullgraph=True, dynamic=True)
    for i, size in enumerate(sizes):
        tensors = make(batch=5 + i, size=size, requires_grad=True)
        with torch.compiler.set_stance('fail_on_recompile' if i else 'default'):
            output = compiled(*tensors)
        expected = run(*tensors)
        torch.testing.assert_close(output, expected)
        upstream = torch.randn_like(output)
        torch.testing.assert_close(
            torch.autograd.grad(output, tensors, upstream),
            torch.autograd.grad(expected, tensors, upstream),
        )


@both
def test_compiles_whole_for_dynamic_shapes(name: str) -> None:
    run_compiled(name, 'aot_eager', [(13, 15), (7, 12), (16, 9)])


@pytest.mark.parametrize('missing', ['channel_filter', 'spatial_filter'])
@both
def test_compiles_with_one_filter(name: str, missing: str) -> None:
    make, _, function, keywords = BY_NAME[name]
    x, f, s = make(requires_grad=True)
    filters = {'channel_filter': f, 'spatial_filter': s}
    del filters[missing]

    def run(x: Tensor, filters: dict[str, Tensor]) -> Tensor:
        return function(x * 2, **filters, **keywords) + 1

    torch._dynamo.reset()
    compiled = torch.compile(run, backend='aot_eager', fullgraph=True, dynamic=True)
    results = []
    for form in (compiled, run):
        output = form(x, filters)
        upstream = torch.linspace(-1, 1, output.numel()).view(output.shape)
        results.append((output, *torch.autograd.grad(output, (x, *filters.values()), upstream)))
    torch.testing.assert_close(results[0], results[1])


def test_compiles_with_inductor() -> None:
    run_compiled('ddf', 'inductor', [(5, 4)])


class Filtered(nn.Module):
    """Both operators, with filters predicted from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(4, 18, 1, stride=2)
        self.up = nn.Conv2d(4, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        channel_filter = x.mean((2, 3))[:, :, None, None].expand(-1, -1, 3, 3)
        low = ddf(x, channel_filter, self.down(x), stride=2)
        return ddf_upsample(low, channel_filter, self.up(x))


def test_exports_with_dynamic_shapes() -> None:
    module = Filtered().eval()
    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        module, (torch.randn(2, 4, 10, 12),), dynamic_shapes={'x': {0: auto, 2: auto, 3: auto}}
    )
    targets = [str(node.target) for node in program.graph.nodes]
    assert 'ddf_seg.ddf.default' in targets
    assert 'ddf_seg.ddf_upsample.default' in targets
    for shape in ((2, 4, 10, 12), (3, 4, 17, 9)):
        x = torch.randn(shape)
        torch.testing.assert_close(program.module()(x), module(x))


# --- autocast ------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('mixed', [True, False])
def test_autocast_casts_all_to_its_dtype(name: str, dtype: torch.dtype, mixed: bool) -> None:
    make, _, function, keywords = BY_NAME[name]
    x, f, s = (t.requires_grad_() for t in make())
    if mixed:
        s = s.detach().to(torch.float64).requires_grad_()
        f = f.detach().to(dtype).requires_grad_()
    with torch.autocast('cpu', dtype):
        output = function(x, f, s, **keywords)
    assert output.dtype == dtype
    assert torch.equal(output, function(x.to(dtype), f.to(dtype), s.to(dtype), **keywords))
    output.float().sum().backward()
    for tensor in (x, f, s):
        assert tensor.grad is not None
        assert tensor.grad.dtype == tensor.dtype
        assert tensor.grad.isfinite().all()


@both
def test_autocast_follows_the_innermost_context(name: str) -> None:
    make, _, function, keywords = BY_NAME[name]
    x, f, s = make()
    with torch.autocast('cpu', torch.bfloat16):
        with torch.autocast('cpu', torch.float16):
            assert function(x, f, s, **keywords).dtype == torch.float16
        with torch.autocast('cpu', enabled=False):
            assert function(x, f, s, **keywords).dtype == torch.float32
            with pytest.raises(TypeError, match='channel_filter'):
                function(x, f.half(), s, **keywords)
        assert function(x, f, s, **keywords).dtype == torch.bfloat16


@both
def test_autocast_survives_compilation(name: str) -> None:
    make, _, function, keywords = BY_NAME[name]
    x, f, s = make()

    def run(x: Tensor, f: Tensor, s: Tensor) -> Tensor:
        with torch.autocast('cpu', torch.bfloat16):
            return function(x, f, s, **keywords)

    torch._dynamo.reset()
    compiled = torch.compile(run, backend='aot_eager', fullgraph=True)
    output = compiled(x, f.bfloat16(), s)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, run(x, f.bfloat16(), s))


# --- shapes without values, FLOPs ----------------------------------------------------------------


@both
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=str)
def test_meta_tensors_give_shape_dtype_and_layout(name: str, layout: torch.memory_format) -> None:
    make, _, function, keywords = BY_NAME[name]
    x, f, s = make(dtype=torch.float16)
    x = x.contiguous(memory_format=layout)
    real = function(x, f, s, **keywords)
    fake = function(x.to('meta'), f.to('meta'), s.to('meta'), **keywords)
    assert (fake.shape, fake.dtype) == (real.shape, real.dtype)
    assert fake.stride() == real.stride()


def test_more_than_2_to_the_31_elements_have_a_shape() -> None:
    def meta(*shape: int) -> Tensor:
        return torch.empty(shape, device='meta', dtype=torch.float16)

    output = ddf(meta(1, 3, 30000, 40000), meta(1, 3, 3, 3), meta(1, 9, 30000, 40000))
    assert output.numel() == 3_600_000_000


@both
@combines
def test_flops_forward(name: str, kernel_combine: str) -> None:
    """Per tap and output element: F ∘ S, · X, and the sum: 3, where a multiply-add counts 2."""
    make, _, function, keywords = BY_NAME[name]
    with FlopCounterMode(display=False) as counter:
        output = function(*make(), kernel_combine=kernel_combine, **keywords)
    assert counter.get_total_flops() == 3 * 9 * output.numel()


@both
@pytest.mark.parametrize('missing', [1, 2], ids=['channel_filter', 'spatial_filter'])
def test_flops_of_one_filter(name: str, missing: int) -> None:
    """As a convolution's: a product and a sum, for the output and for each of two gradients."""
    make, _, function, keywords = BY_NAME[name]
    tensors: list[Tensor | None] = list(make(requires_grad=True))
    tensors[missing] = None
    with FlopCounterMode(display=False) as counter:
        output = function(*tensors, **keywords)
        assert counter.get_total_flops() == 2 * 9 * output.numel()
        output.sum().backward()
    assert counter.get_total_flops() == 3 * 2 * 9 * output.numel()


@both
@pytest.mark.parametrize(
    ('mask', 'per_tap'),
    [((1, 1, 1), 8), ((1, 0, 0), 4), ((0, 1, 0), 4), ((0, 1, 1), 6)],
    ids=str,
)
def test_flops_backward(name: str, mask: tuple[int, ...], per_tap: int) -> None:
    """Per tap: F ∘ S and gO · X, then a product and a sum for each gradient."""
    make, _, function, keywords = BY_NAME[name]
    tensors = make()
    for tensor, needed in zip(tensors, mask, strict=True):
        tensor.requires_grad_(bool(needed))
    output = function(*tensors, **keywords)
    with FlopCounterMode(display=False) as counter:
        output.backward(torch.ones_like(output))
    assert counter.get_total_flops() == per_tap * 9 * output.numel()


def test_flops_by_hand() -> None:
    """2×4×5×4 with stride 2: 2·4·3·2 = 48 outputs of 9 taps of 3 operations."""
    with FlopCounterMode(display=False) as counter:
        ddf(*ddf_tensors(), stride=2)
    assert counter.get_total_flops() == 1296
