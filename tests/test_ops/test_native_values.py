"""The compiled operators against plain torch: any strides, NaN and Inf, and a fuzz test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from assertions import assert_rounded_once
from cases import LAYOUTS, laid_out
from guarded import guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import ddf_seg.ops
from ddf_seg.ops import reference

pytestmark = pytest.mark.skipif(
    not ddf_seg.ops.is_native_available(), reason='the operators are not compiled here'
)
# More of them: DDF_SEG_FUZZ_EXAMPLES=5000
EXAMPLES = int(os.environ.get('DDF_SEG_FUZZ_EXAMPLES', '200'))
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


# --- layouts that a view can have ----------------------------------------------------------------


def _offset(x: Tensor) -> Tensor:
    """One element after the start of its storage, where no vector is aligned."""
    storage = x.new_full((x.numel() + 1,), torch.nan)
    storage[1:] = x.flatten()
    return storage[1:].view(x.shape)


def _padded_rows(x: Tensor) -> Tensor:
    """Rows with a gap after each, of no multiple of anything."""
    wide = x.new_full((*x.shape[:-1], x.shape[-1] + 3), torch.nan)
    wide[..., : x.shape[-1]] = x
    return wide[..., : x.shape[-1]]


def _every_other_channel(x: Tensor) -> Tensor:
    """Channels between others', channels_last."""
    wide = x.new_full((x.shape[0], 2 * x.shape[1], *x.shape[2:]), torch.nan)
    if x.dim() == 4:
        wide = wide.contiguous(memory_format=torch.channels_last)
    wide[:, ::2] = x
    return wide[:, ::2]


def _batch_last(x: Tensor) -> Tensor:
    """Neighbours in memory are of different images."""
    return x.movedim(0, -1).contiguous().movedim(-1, 0)


def _spread(dim: int) -> Callable[[Tensor], Tensor]:
    """Stride 0 along a dimension: its first slice, again and again."""
    return lambda x: x.narrow(dim, 0, 1).expand(x.shape) if x.shape[dim] else x


def _constant(x: Tensor) -> Tensor:
    """Stride 0 everywhere, as the gradient of a sum has it."""
    return x.flatten()[:1].view([1] * x.dim()).expand(x.shape) if x.numel() else x


def _overlapping(x: Tensor) -> Tensor:
    """Rows that share all but one element, as in a Hankel matrix."""
    if not x.numel():
        return x
    *outer, rows, columns = x.shape
    lead = int(torch.Size(outer).numel())
    span = rows + columns - 1
    source = x.flatten()[: lead * span] if x.numel() >= lead * span else x.new_ones(lead * span)
    strides = [span * int(torch.Size(outer[i + 1 :]).numel()) for i in range(len(outer))]
    return source.as_strided(x.shape, [*strides, 1, 1])


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    **{how: lambda x, how=how: laid_out(x, how) for how in LAYOUTS},
    'offset': _offset,
    'padded_rows': _padded_rows,
    'every_other_channel': _every_other_channel,
    'batch_last': _batch_last,
    'spread_channels': _spread(1),
    'spread_rows': _spread(-2),
    'spread_columns': _spread(-1),
    'constant': _constant,
    'overlapping': _overlapping,
}


# --- a call, compared ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """The tensors of a call of `ddf_seg::ddf` or `ddf_seg::ddf_upsample`, and the rest of it."""

    name: str
    upstream: Tensor
    tensors: tuple[Tensor, Tensor | None, Tensor | None]
    arguments: tuple[Any, ...]

    def run(self, owner: Any, forward: str, backward: str, mask: list[bool]) -> list[Tensor]:
        output = getattr(owner, forward)(*self.tensors, *self.arguments)
        gradients = getattr(owner, backward)(self.upstream, *self.tensors, *self.arguments, mask)
        return [output, *gradients]

    def compiled(self, mask: list[bool]) -> list[Tensor]:
        return self.run(torch.ops.ddf_seg, self.name, f'{self.name}_backward', mask)

    def plain(self, mask: list[bool]) -> list[Tensor]:
        return self.run(reference, f'{self.name}_forward', f'{self.name}_backward', mask)

    def map(self, change: Callable[[Tensor], Tensor]) -> Call:
        x, f, s = (None if tensor is None else change(tensor) for tensor in self.tensors)
        assert x is not None
        return Call(self.name, change(self.upstream), (x, f, s), self.arguments)


def make_call(
    name: str = 'ddf',
    *,
    batch: int = 2,
    groups: int = 2,
    per_group: int = 3,
    size: tuple[int, int] = (7, 21),
    kernel: tuple[int, int] = (3, 3),
    dilation: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    scale: int = 2,
    off: tuple[int, int] = (0, 0),
    phased: bool = True,
    combine: str = 'mul',
    dtype: torch.dtype = torch.float32,
    views: tuple[str, str, str, str] = ('contiguous',) * 4,
    filters: str = 'FS',
    seed: int = 0,
) -> Call:
    """A call on random numbers; `views` are of X, F, S and the gradient from above.

    `filters` names those there are; without 'S' there are no groups, and `off` is 0.
    """
    if filters == 'F':
        groups, per_group, off = 1, groups * per_group, (0, 0)
    generator = torch.Generator().manual_seed(seed)
    if name == 'ddf':
        out = tuple(-(-n // step) for n, step in zip(size, stride, strict=True))
        phases: tuple[int, ...] = ()
        arguments: tuple[Any, ...] = (list(kernel), list(dilation), list(stride), combine)
    else:
        out = tuple(scale * n + o for n, o in zip(size, off, strict=True))
        phases = (scale**2,) if phased else ()
        arguments = (list(kernel), scale, list(dilation), combine)
    channels, taps = groups * per_group, kernel[0] * kernel[1]
    shapes = (
        (batch, channels, *size),
        (batch, *phases, channels, *kernel),
        (batch, groups * taps, *out),
        (batch, channels, *out),
    )
    x, f, s, upstream = (
        VIEWS[view](torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))
        for shape, view in zip(shapes, views, strict=True)
    )
    there = (x, f if 'F' in filters else None, s if 'S' in filters else None)
    return Call(name, upstream, there, arguments)


def assert_agrees(call: Call, mask: tuple[bool, bool, bool] = (True, True, True)) -> None:
    """The formula, rounded once; a gradient that is not asked for is empty."""
    results = call.compiled(list(mask))
    exact = call.map(torch.Tensor.double).plain([True] * 3)
    terms = call.map(lambda x: x.double().abs()).plain([True] * 3)
    like = (call.upstream, *call.tensors)
    wanted = (True, *mask)
    for name, got, want, scale, needed, x in zip(
        'OXFS', results, exact, terms, wanted, like, strict=True
    ):
        assert got.dtype == call.upstream.dtype
        if not needed or x is None:
            assert got.shape == (0,)
            continue
        assert got.shape == x.shape
        if not got.numel():
            continue
        if got.dtype == torch.float64:
            assert ((got - want).abs() <= 1e-13 * scale + 1e-300).all(), name
        else:
            assert_rounded_once(name, got, want, scale)


@pytest.mark.parametrize('view', VIEWS)
@pytest.mark.parametrize('where', ['X', 'F', 'S', 'gO', 'all'])
@pytest.mark.parametrize('name', ['ddf', 'ddf_upsample'])
def test_any_strides(name: str, where: str, view: str) -> None:
    views = tuple(view if where in (tensor, 'all') else 'contiguous' for tensor in VIEWED)
    for filters in ('FS', 'F', 'S'):
        assert_agrees(make_call(name, views=views, filters=filters))


VIEWED = ('X', 'F', 'S', 'gO')


@pytest.mark.parametrize('view', ['contiguous', 'channels_last', 'padded_rows', 'offset'])
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('combine', ['mul', 'add'])
@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf], ids=str)
@pytest.mark.parametrize('name', ['ddf', 'ddf_upsample'])
def test_nan_and_inf_pass_as_in_the_formula(
    name: str, value: float, combine: str, dtype: torch.dtype, view: str
) -> None:
    """Which results are finite, NaN or ±Inf: exactly as in plain torch, padding included."""
    # Of one filter alone, both ways of combining are the same.
    one_filter = [] if combine == 'add' else [(w, f) for w in (0, 1, 2, 3) for f in 'FS']
    for where, filters in [*((w, 'FS') for w in range(4)), *one_filter]:
        call = make_call(
            name, combine=combine, dtype=dtype, views=(view,) * 4, per_group=9, filters=filters
        )
        tensor = (*call.tensors, call.upstream)[where]
        if tensor is None:
            continue
        # The far corner, beside gaps and the padding, and one somewhere inside
        tensor[(-1,) * tensor.dim()] = value
        tensor[(0,) * (tensor.dim() - 1)][1] = value
        for got, want in zip(call.compiled([True] * 3), call.plain([True] * 3), strict=True):
            close = {'rtol': 1e-2, 'atol': 1e-1} if dtype.itemsize == 2 else {}
            torch.testing.assert_close(got, want, equal_nan=True, **close)


@pytest.mark.parametrize('view', ['contiguous', 'channels_last', 'padded_rows'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('dilation', [(1, 1), (2, 3), (1, 20)], ids=str)
@pytest.mark.parametrize(
    ('name', 'filters'),
    [('ddf', 'FS'), ('ddf_upsample', 'FS'), ('ddf', 'S'), ('ddf', 'F'), ('ddf_upsample', 'S')],
)
def test_rows_do_not_see_their_neighbours_in_memory(
    name: str, filters: str, dilation: tuple[int, int], dtype: torch.dtype, view: str
) -> None:
    """NaN in a row's last column reaches that column's kernels alone, not the next row's first."""
    call = make_call(
        name,
        size=(9, 37),
        per_group=20,
        dilation=dilation,
        dtype=dtype,
        views=(view,) * 4,
        filters=filters,
    )
    x, f, s = call.tensors
    x[..., -1] = torch.nan
    forward = getattr(reference, f'{name}_forward')
    output = getattr(torch.ops.ddf_seg, name)(x, f, s, *call.arguments)
    close = {'rtol': 1e-2, 'atol': 1e-1} if dtype.itemsize == 2 else {}
    want = forward(x, f, s, *call.arguments)
    torch.testing.assert_close(output, want, equal_nan=True, **close)


# Where a phase has one column or row less than the tile, its weights may need more room: rows are
# dealt out in groups, of as many as there is room for. For contiguous maps a row counts in vectors,
# of 4, 8 or 16.
@pytest.mark.parametrize('scale', [2, 3])
@pytest.mark.parametrize(
    ('view', 'batch', 'per_group', 'widths'),
    [
        ('channels_last', 1, 16, (11, 13, 17, 22, 33)),
        ('channels_last', 1, 16, (86, 118)),
        ('contiguous', 16, 4, (85, 169, 337)),
    ],
    ids=['channels_last', 'channels_last, wide', 'contiguous'],
)
def test_phases_that_are_smaller_than_the_tile(
    view: str, batch: int, per_group: int, widths: Sequence[int], scale: int
) -> None:
    heights = (4, 7, 8, 24) if view == 'channels_last' else (4, 8)
    offs = [(0, -1), (-1, -1), (1, 1 - scale), (-1, 0)]
    for height, width, off in itertools.product(heights, widths, offs):
        call = make_call(
            'ddf_upsample', batch=batch, groups=1, per_group=per_group, size=(height, width),
            scale=scale, off=off, phased=False, views=(view,) * 4,
        )  # fmt: skip
        for got, want in zip(call.compiled([True] * 3), call.plain([True] * 3), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('payload', [0x7FFFFFFF, 0x7FC00000, 0x7F800001, -1])
def test_bfloat16_keeps_every_nan(payload: int) -> None:
    """A GPU's own is all ones, which rounding would carry into the sign: −0."""
    nan = torch.tensor(payload, dtype=torch.int64).to(torch.int32).view(torch.float32)
    assert nan.isnan()
    filters = torch.randn(1, 9, 5, 40).bfloat16()
    std, mean = torch.ones(9), torch.zeros(9)
    mean[4] = nan
    found = torch.ops.ddf_seg.filter_norm(filters, 9, 1.0, 1e-5, None, std, mean)
    assert found[:, 4].isnan().all()
    assert not found[:, :4].isnan().any()


# The first is a multiple of every vector, the second of none.
@pytest.mark.parametrize(
    ('view', 'width'),
    [
        pytest.param('contiguous', 512, marks=pytest.mark.slow),
        ('contiguous', 515),
        ('channels_last', 515),
    ],
)
def test_results_larger_than_the_caches(view: str, width: int) -> None:
    """From 32 MiB on, they are streamed to memory."""
    channels = 16
    height = 2**23 // (channels * width) + 1
    shared = {'batch': 1, 'groups': 1, 'per_group': channels, 'views': (view,) * 4}
    call = make_call('ddf', size=(height, width), **shared)
    for got, want in zip(call.compiled([True] * 3), call.plain([True] * 3), strict=True):
        # The channel filter's gradient sums half a million numbers.
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))


@pytest.mark.parametrize(
    ('view', 'width'),
    [
        pytest.param('contiguous', 256, marks=pytest.mark.slow),
        ('contiguous', 257),
        pytest.param('channels_last', 257, marks=pytest.mark.slow),
    ],
)
def test_upsampled_results_larger_than_the_caches(view: str, width: int) -> None:
    """The four phases of the spatial filter alone; the last tile has others, too."""
    channels = 17
    height = 2**22 // (channels * width) + 1
    shared = {'batch': 1, 'groups': 1, 'per_group': channels, 'views': (view,) * 4}
    call = make_call('ddf_upsample', size=(height, width), filters='S', off=(1, 0), **shared)
    for got, want in zip(call.compiled([True] * 3), call.plain([True] * 3), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


# --- fuzz ----------------------------------------------------------------------------------------


@st.composite
def calls(draw: st.DrawFn) -> Call:
    def pair(*values: int) -> tuple[int, int]:
        return draw(st.tuples(st.sampled_from(values), st.sampled_from(values)))

    scale = draw(st.integers(1, 4))
    beyond = st.integers(1 - scale, scale - 1)
    view = st.sampled_from(list(VIEWS))
    sizes = st.integers(1, 20) | st.integers(1, 70)
    return make_call(
        draw(st.sampled_from(('ddf', 'ddf_upsample'))),
        batch=draw(st.integers(0, 3)),
        groups=draw(st.integers(1, 3)),
        per_group=draw(st.integers(1, 5) | st.integers(1, 70)),
        size=(draw(st.integers(1, 12)), draw(sizes)),
        kernel=pair(1, 3, 3, 5, 7),
        dilation=pair(1, 1, 2, 3, 9),
        stride=pair(1, 1, 2, 3, 5),
        scale=scale,
        off=(draw(beyond), draw(beyond)),
        phased=draw(st.booleans()) if scale > 1 else False,
        combine=draw(st.sampled_from(('mul', 'add'))),
        dtype=draw(st.sampled_from(DTYPES)),
        views=(draw(view), draw(view), draw(view), draw(view)),
        filters=draw(st.sampled_from(('FS', 'F', 'S'))),
        seed=draw(st.integers(0, 99)),
    )


@given(
    call=calls(),
    mask=st.tuples(*[st.booleans()] * 3),
    threads=st.integers(1, 3),
    at_end=st.booleans(),
)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 200, print_blob=True)
def test_fuzz(call: Call, mask: tuple[bool, bool, bool], threads: int, at_end: bool) -> None:
    """Between pages that must not be touched: an element too far ends the process."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_agrees(call.map(lambda x: guarded(x, at_end)), mask)
    finally:
        torch.set_num_threads(before)
