"""Derivatives in forward mode, of second order, and torch.func's transforms, of all operators.

What they are compared with is torch's own: the same transforms of the operators in plain torch,
whose derivatives are torch's autograd's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functionalize, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from ddf_seg.layers import DDFPack, DDFUpPack
from ddf_seg.ops import ddf, ddf_upsample, reference
from ddf_seg.ops.depthwise_pointwise import depthwise_pointwise
from ddf_seg.ops.filter_norm import filter_norm
from ddf_seg.ops.interpolation_softmax import interpolation_softmax


def formula_of_filter_norm(filters: Tensor) -> Tensor:
    split = filters.unflatten(1, (-1, 3))
    deviation, mean = torch.std_mean(split, dim=2, keepdim=True)
    return ((split - mean) / (deviation + 1e-2) * 0.7).flatten(1, 2)


def formula_with_what_is_learned(filters: Tensor, std: Tensor, mean: Tensor) -> Tensor:
    return formula_of_filter_norm(filters) * std[:, None, None] + mean[:, None, None]


def two_convolutions(x: Tensor, depthwise: Tensor, pointwise: Tensor, bias: Tensor) -> Tensor:
    phases, channels, side = depthwise.shape[:3]
    weight = depthwise.flatten(0, 1)[:, None]
    between = F.conv2d(
        x.repeat(1, phases, 1, 1), weight, padding=side // 2, groups=phases * channels
    )
    return F.conv2d(between, pointwise.flatten(0, 1)[..., None, None], bias, groups=phases)


def shuffled(by_phase: Tensor, r: int) -> Tensor:
    return F.pixel_shuffle(by_phase.unflatten(1, (r * r, -1)).transpose(1, 2).flatten(1, 2), r)


# Of 3×3 filters for two maps of 1×2 pixels, at 2×3
_ROWS, _COLUMNS = torch.linspace(-1, 1, 60, dtype=torch.float64).view(4, 3, 5).split((2, 3), 2)


def softmax_and_weights(logits: Tensor, query: Tensor, key: Tensor) -> Tensor:
    near = F.unfold(key, 3, padding=1).unflatten(1, (-1, 9)).unflatten(3, key.shape[2:])
    rows, columns = torch.arange(2) // 2, torch.arange(3) // 2
    products = (query[:, :, None] * near[..., rows[:, None], columns]).sum(1)
    combine: list[Any] = [torch.add, *[torch.mul] * 3]
    prior, start, *weights = (
        f(of_y[:, None, :, None], of_x[None, :, None]).flatten(0, 1)
        for f, of_y, of_x in zip(combine, _ROWS, _COLUMNS, strict=True)
    )
    deviation = (logits + products + prior).softmax(1) - start
    return torch.cat([deviation + w for w in weights], dim=1)


@dataclass(frozen=True)
class Case:
    """An operator of tensors alone, the same in plain torch, and the tensors' shapes."""

    ours: Callable[..., Tensor]
    theirs: Callable[..., Tensor]
    shapes: tuple[tuple[int, ...], ...]

    def tensors(self, seed: int = 0) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(n, generator=generator, dtype=torch.float64) for n in self.shapes)


def operator_case(ours: Any, theirs: Any, shapes: Any, **arguments: Any) -> Case:
    return Case(lambda *t: ours(*t, **arguments), lambda *t: theirs(*t, **arguments), shapes)


def one_filter(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """The operator of features and one filter, 'F' or 'S', which is added to the other's None."""

    def call(x: Tensor, only: Tensor, **arguments: Any) -> Tensor:
        filters = (only, None) if name == 'F' else (None, only)
        return function(x, *filters, (1, 3), kernel_combine='add', **arguments)

    return call


_DDF = ((2, 2, 3, 2), (2, 2, 1, 3), (2, 3, 2, 2))
_UP = ((2, 2, 2, 1), (2, 4, 2, 1, 3), (2, 3, 5, 2))
CASES = {
    **{
        f'ddf {combine}': operator_case(
            ddf, reference.ddf, _DDF, kernel_size=(1, 3), stride=(2, 1), kernel_combine=combine
        )
        for combine in ('mul', 'add')
    },
    **{
        f'ddf_upsample {combine}': operator_case(
            ddf_upsample, reference.ddf_upsample, _UP, kernel_size=(1, 3), kernel_combine=combine
        )
        for combine in ('mul', 'add')
    },
    **{
        f'{name} of one filter': operator_case(
            one_filter(ours, filters), one_filter(theirs, filters), shapes, **arguments
        )
        for name, ours, theirs, filters, shapes, arguments in (
            ('ddf', ddf, reference.ddf, 'S', (_DDF[0], _DDF[2]), {'stride': (2, 1)}),
            ('ddf_upsample', ddf_upsample, reference.ddf_upsample, 'F', _UP[:2], {}),
        )
    },
    'filter_norm': Case(
        lambda x: filter_norm(x, 3, 0.7, 1e-2), formula_of_filter_norm, ((2, 6, 2, 2),)
    ),
    'filter_norm, learned': Case(
        lambda x, std, mean: filter_norm(x, 3, 0.7, 1e-2, None, std, mean),
        formula_with_what_is_learned,
        ((2, 6, 2, 2), (6,), (6,)),
    ),
    'depthwise_pointwise': Case(
        depthwise_pointwise, two_convolutions, ((2, 2, 2, 3), (2, 2, 3, 3), (2, 2, 2), (4,))
    ),
    'depthwise_pointwise, 1x1 alone': Case(
        lambda x, pointwise, bias: depthwise_pointwise(x, None, pointwise, bias),
        lambda x, pointwise, bias: F.conv2d(x, pointwise.flatten(0, 1)[..., None, None], bias),
        ((2, 2, 2, 3), (2, 2, 2), (4,)),
    ),
    'depthwise_pointwise, fine map': Case(
        lambda *t: depthwise_pointwise(*t, 2),
        lambda *t: shuffled(two_convolutions(*t), 2),
        ((1, 2, 1, 3), (4, 2, 3, 3), (4, 2, 2), (8,)),
    ),
    'interpolation_softmax': Case(
        lambda *t: interpolation_softmax(*t, _ROWS, _COLUMNS, 2),
        softmax_and_weights,
        ((1, 9, 2, 3), (1, 2, 2, 3), (1, 2, 1, 2)),
    ),
}
cases = pytest.mark.parametrize('case', CASES.values(), ids=CASES)
close = torch.testing.assert_close


@pytest.fixture(autouse=True)
def _no_fallback(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """torch says so, past Python's warnings, where it has no batching rule for an operator."""
    yield
    assert 'batching rule' not in capfd.readouterr().err


def subsets(count: int) -> list[list[int]]:
    """All of the arguments, and each alone."""
    return [list(range(count)), *([i] for i in range(count))] if count > 1 else [[0]]


def on(function: Callable[..., Any], tensors: tuple[Tensor, ...], which: list[int]) -> Any:
    """`function` of the tensors named by `which`, the others held."""

    def inner(*values: Tensor) -> Any:
        every = list(tensors)
        for i, value in zip(which, values, strict=True):
            every[i] = value
        return function(*every)

    return inner


@cases
def test_tangent(case: Case) -> None:
    """torch.func.jvp, along all arguments and along each alone."""
    tensors, along = case.tensors(), case.tensors(seed=1)
    for which in subsets(len(tensors)):
        at, tangents = tuple(tensors[i] for i in which), tuple(along[i] for i in which)
        got = jvp(on(case.ours, tensors, which), at, tangents)
        want = jvp(on(case.theirs, tensors, which), at, tangents)
        close(got, want, check_stride=False)
        assert got[1].abs().sum() > 0


@cases
def test_tangent_of_dual_tensors(case: Case) -> None:
    """torch.autograd.forward_ad, also where a gradient is asked for."""
    tensors, along = case.tensors(), case.tensors(seed=1)
    for requires_grad in (False, True):
        with forward_ad.dual_level():
            duals = [
                forward_ad.make_dual(t.clone().requires_grad_(requires_grad), d)
                for t, d in zip(tensors, along, strict=True)
            ]
            got = forward_ad.unpack_dual(case.ours(*duals)).tangent
            want = forward_ad.unpack_dual(case.theirs(*duals)).tangent
        close(got, want, check_stride=False)


@cases
def test_second_derivatives(case: Case) -> None:
    tensors = [t.requires_grad_() for t in case.tensors()]
    assert torch.autograd.gradgradcheck(case.ours, tensors, check_fwd_over_rev=True)


@cases
def test_gradients_of_gradients_agree(case: Case) -> None:
    """Forward over reverse, reverse over forward, forward over forward and reverse over reverse."""
    tensors = case.tensors()

    def total(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *t: function(*t).pow(3).sum()

    every = tuple(range(len(tensors)))
    want = hessian(total(case.theirs), every)(*tensors)
    for outer in (jacfwd, jacrev):
        for inner in (jacfwd, jacrev):
            close(outer(inner(total(case.ours), every), every)(*tensors), want)


@cases
def test_third_derivative(case: Case) -> None:
    tensors = case.tensors()

    def along(function: Callable[..., Tensor]) -> Tensor:
        def once(scale: Tensor) -> Tensor:
            return function(*(t * scale for t in tensors)).pow(2).sum()

        return grad(grad(grad(once)))(torch.tensor(1.1, dtype=torch.float64))

    close(along(case.ours), along(case.theirs))


@cases
def test_vmap(case: Case) -> None:
    """Over all arguments and over each alone, at any dimension: as one call after the other."""
    tensors = case.tensors()
    for dim in (0, -1):
        for which in subsets(len(tensors)):
            mapped = tuple(
                torch.stack([tensors[i], tensors[i].flip(0) + 1, -tensors[i]], dim) for i in which
            )
            function = on(case.ours, tensors, which)
            got = vmap(function, in_dims=dim)(*mapped)
            want = torch.stack([function(*(m.select(dim, k) for m in mapped)) for k in range(3)])
            close(got, want, check_stride=False, rtol=1e-12, atol=1e-12)


@cases
def test_gradients_sample_by_sample(case: Case) -> None:
    """vmap(grad(...)): what one call of grad after the other gives."""
    tensors = case.tensors()
    for which in subsets(len(tensors)):
        mapped = tuple(torch.stack([tensors[i], tensors[i] - 2]) for i in which)

        def gradients(function: Callable[..., Tensor], which: list[int] = which) -> Any:
            inner = on(function, tensors, which)
            return grad(lambda *t: inner(*t).pow(2).sum(), tuple(range(len(which))))

        got = vmap(gradients(case.ours))(*mapped)
        singly = [gradients(case.theirs)(*(m[k] for m in mapped)) for k in range(2)]
        want = tuple(torch.stack(gs) for gs in zip(*singly, strict=True))
        close(got, want, check_stride=False)


@cases
def test_gradient_through_a_batch(case: Case) -> None:
    """grad(vmap(...)), where the arguments that are not mapped get the sum."""
    tensors = case.tensors()
    batch = torch.stack([tensors[0], tensors[0] * 2])

    def total(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        mapped = vmap(function, in_dims=(0, *[None] * (len(tensors) - 1)))
        return lambda *t: mapped(*t).pow(2).sum()

    every = tuple(range(len(tensors)))
    got = grad(total(case.ours), every)(batch, *tensors[1:])
    close(got, grad(total(case.theirs), every)(batch, *tensors[1:]))


@cases
def test_vjp_and_functionalize(case: Case) -> None:
    tensors = case.tensors()
    output, pull = vjp(case.ours, *tensors)
    want, their_pull = vjp(case.theirs, *tensors)
    close(pull(output), their_pull(want), check_stride=False)
    assert torch.equal(functionalize(case.ours)(*tensors), case.ours(*tensors))


@pytest.mark.parametrize('name', ['ddf', 'ddf_upsample'])
def test_transforms_of_the_raw_operators(name: str) -> None:
    case = CASES[f'{name} mul']
    x, f, s = case.tensors()
    arguments = ([1, 3], [1, 1], [2, 1], 'mul') if name == 'ddf' else ([1, 3], 2, [1, 1], 'mul')
    op = getattr(torch.ops.ddf_seg, name)
    got = grad(lambda x: op(x, f, s, *arguments).pow(2).sum())(x)
    close(got, grad(lambda x: case.theirs(x, f, s).pow(2).sum())(x))
    assert torch.equal(vmap(lambda x: op(x, f, s, *arguments))(x[None])[0], case.ours(x, f, s))


def test_autocast_under_a_transform() -> None:
    """The tensors are cast before anything is kept, as outside."""
    case = operator_case(ddf, reference.ddf, _DDF, kernel_size=(1, 3), stride=(2, 1))
    x, f, s = (t.float() for t in case.tensors())
    with torch.autocast('cpu', torch.bfloat16):
        got = grad(lambda x: case.ours(x, f, s).float().sum())(x)
        assert vmap(lambda x: case.ours(x, f, s))(x[None]).dtype == torch.bfloat16
    assert got.dtype == torch.float32
    low = x.bfloat16().requires_grad_()
    (want,) = torch.autograd.grad(case.ours(low, f.bfloat16(), s.bfloat16()).float().sum(), low)
    assert torch.equal(got, want.float())


def test_the_scale_of_filter_norm_has_no_derivative() -> None:
    """No silent 0."""
    x, scale = torch.randn(1, 9, 2, 2), torch.tensor(0.5)
    with pytest.raises(NotImplementedError, match='scale: expected a number without'):
        jvp(lambda s: filter_norm(x, 9, 1.0, 1e-5, s), (scale,), (scale,))
    with pytest.raises(NotImplementedError, match='scale: expected a number without'):
        filter_norm(x.requires_grad_(), 9, 1.0, 1e-5, scale.requires_grad_()).sum().backward()


# --- layers ----------------------------------------------------------------------------------


LAYERS: dict[str, Callable[[], torch.nn.Module]] = {
    'DDFPack': lambda: DDFPack(4, head=2),
    'DDFPack add': lambda: DDFPack(4, kernel_combine='add', neutral_start=True),
    'DDFPack softmax': lambda: DDFPack(4, stride=2, normalization='softmax'),
    'DDFUpPack': lambda: DDFUpPack(4),
}
layers = pytest.mark.parametrize('build', LAYERS.values(), ids=LAYERS)


@layers
def test_tangent_of_a_layer(build: Callable[[], torch.nn.Module]) -> None:
    """Along input and parameters: v · (tangent along t) is (gradient of v · output) · t."""
    layer = build().double()
    x = torch.randn(1, 4, 5, 6, dtype=torch.float64)
    parameters = {n: p.detach() for n, p in layer.named_parameters()}
    along = {n: torch.randn_like(p) for n, p in parameters.items()}, torch.randn_like(x)

    def run(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, parameters, x)

    output, tangent = jvp(run, (parameters, x), along)
    layer.zero_grad()
    leaf, v = x.clone().requires_grad_(), torch.randn_like(output)
    (layer(leaf) * v).sum().backward()
    assert leaf.grad is not None
    of_parameters = [(p.grad * along[0][n]).sum() for n, p in layer.named_parameters()]
    want = (leaf.grad * along[1]).sum() + sum(of_parameters)
    # Channel filters are normalised in float32.
    close((tangent * v).sum(), want, rtol=1e-5, atol=1e-5)


@layers
def test_gradients_of_a_layer_sample_by_sample(build: Callable[[], torch.nn.Module]) -> None:
    layer = build().double()
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    parameters = {n: p.detach() for n, p in layer.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, parameters, x[None]).pow(2).sum()

    got = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for k in range(3):
        want = grad(loss)(parameters, x[k])
        close({n: g[k] for n, g in got.items()}, want)
    close(
        {n: g.sum(0) for n, g in got.items()},
        dict(
            zip(
                parameters,
                torch.autograd.grad(layer(x).pow(2).sum(), list(layer.parameters())),
                strict=True,
            )
        ),
    )


@layers
def test_an_ensemble_of_layers(build: Callable[[], torch.nn.Module]) -> None:
    """vmap over the parameters of several layers (torch.func.stack_module_state)."""
    members = [build().double() for _ in range(3)]
    stacked, _ = torch.func.stack_module_state(members)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    got = vmap(lambda p: torch.func.functional_call(members[0], p, x))(stacked)
    close(got, torch.stack([member(x) for member in members]))


def test_sums_of_channels_last_maps() -> None:
    """Their gradients are expanded, and under vmap tell no memory format."""
    x, s = (
        torch.randn(n).contiguous(memory_format=torch.channels_last)
        for n in ((3, 4, 5, 6), (3, 9, 5, 6))
    )
    f = torch.randn(1, 4, 3, 3)
    own = torch.func.vmap(
        torch.func.grad(lambda a, b: ddf(a[None], f, b[None]).sum()), in_dims=(0, 0)
    )(x, s)
    whole = torch.func.grad(lambda a: ddf(a, f.expand(3, -1, -1, -1), s).sum())(x)
    torch.testing.assert_close(own, whole)
    leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
    total = ddf(leaf, f.expand(3, -1, -1, -1), s).sum()
    (batched,) = torch.autograd.grad(total, leaf, torch.arange(2.0), is_grads_batched=True)
    torch.testing.assert_close(batched, torch.stack([0 * whole, whole]))
    jacobian = torch.func.jacrev(lambda a: ddf(a, f.expand(3, -1, -1, -1), s).sum())(x)
    torch.testing.assert_close(jacobian, whole)
