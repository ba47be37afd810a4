"""Filters that start as interpolation, against torch's own interpolation and plain loops."""

from __future__ import annotations

import copy
import itertools
import pickle
import shutil
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddf_seg.layers import DDFUpPack, InterpolationSoftmax, interpolation
from ddf_seg.layers.guided_branch import GuidedBranch
from ddf_seg.ops import ddf_upsample

SIZES = [
    ((4, 5), (8, 10)),
    ((4, 5), (7, 9)),
    ((4, 5), (9, 11)),
    ((1, 2), (2, 4)),
    ((3, 1), (5, 1)),
]


def apply(x: Tensor, filters: Tensor, kernel_size: int, scale_factor: int) -> Tensor:
    one = x.new_ones(*x.shape[:2], kernel_size, kernel_size)
    return ddf_upsample(x, one, filters, kernel_size, scale_factor)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('kernel_size', [3, 5])
@pytest.mark.parametrize(('low', 'high'), SIZES)
def test_zero_logits_are_bilinear_interpolation(
    low: tuple[int, int], high: tuple[int, int], kernel_size: int, align_corners: bool
) -> None:
    norm = InterpolationSoftmax(2, kernel_size, 2, align_corners=align_corners)
    x = torch.randn(2, 6, *low)
    filters = norm(torch.zeros(2, 2 * kernel_size**2, *high), low)
    expected = F.interpolate(x, size=high, mode='bilinear', align_corners=align_corners)
    torch.testing.assert_close(apply(x, filters, kernel_size, 2), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize(('low', 'high'), SIZES)
def test_zero_logits_are_nearest_interpolation(low: tuple[int, int], high: tuple[int, int]) -> None:
    norm = InterpolationSoftmax(1, 3, 2, mode='nearest')
    x = torch.randn(2, 6, *low)
    expected = F.interpolate(x, size=high, mode='nearest')
    filters = norm(torch.zeros(2, 9, *high), low)
    torch.testing.assert_close(apply(x, filters, 3, 2), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize('scale_factor', [3, 4, 8])
@pytest.mark.parametrize('align_corners', [False, True])
def test_five_taps_reach_far_enough_for_every_size_of_a_step(
    scale_factor: int, align_corners: bool
) -> None:
    norm = InterpolationSoftmax(1, 5, scale_factor, align_corners=align_corners)
    low = 6
    x = torch.randn(1, 2, low, 1)
    for high in range(scale_factor * (low - 1) + 1, scale_factor * (low + 1)):
        expected = F.interpolate(
            x, size=(high, scale_factor), mode='bilinear', align_corners=align_corners
        )
        filters = norm(torch.zeros(1, 25, high, scale_factor), (low, 1))
        torch.testing.assert_close(apply(x, filters, 5, scale_factor), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize('kernel_size', [3, 5])
@pytest.mark.parametrize('align_corners', [False, True])
def test_steps_continue_one_interpolation(kernel_size: int, align_corners: bool) -> None:
    if align_corners and kernel_size == 3:
        sizes = [(4, 7), (7, 13), (13, 25)]  # whose samples all lie on those of the next
    else:
        sizes = [(4, 7), (8, 14), (16, 28), (32, 56)]
    norm = InterpolationSoftmax(1, kernel_size, 2, align_corners=align_corners)
    x = y = torch.randn(2, 3, *sizes[0])
    for low, high in itertools.pairwise(sizes):
        logits = torch.zeros(2, kernel_size**2, *high)
        (filters,) = norm.filters(logits, low, [sizes[0]])
        y = apply(y, filters, kernel_size, 2)
    at_once = F.interpolate(x, size=sizes[-1], mode='bilinear', align_corners=align_corners)
    torch.testing.assert_close(y, at_once, rtol=0, atol=5e-6)
    # Which steps by themselves do not give.
    by_steps = x
    for size in sizes[1:]:
        by_steps = F.interpolate(by_steps, size=size, mode='bilinear', align_corners=align_corners)
    assert align_corners or (by_steps - at_once).abs().max() > 0.01


def test_filters_sum_to_one_and_reach_any_tap_inside() -> None:
    norm = InterpolationSoftmax(1, 5, 2)
    low, high = (3, 4), (6, 8)
    filters = norm(3 * torch.randn(2, 25, *high), low)
    torch.testing.assert_close(filters.sum(1), torch.ones(2, *high))
    constant = apply(torch.full((2, 1, *low), 7.0), filters, 5, 2)
    torch.testing.assert_close(constant, torch.full((2, 1, *high), 7.0))

    x = torch.randn(1, 1, *low)
    logits = torch.zeros(1, 25, *high)
    tap = 4 * 5 + 1  # two rows below the parent, one column to the left
    logits[:, tap] = 100.0
    changed = norm(logits, low) - norm(torch.zeros_like(logits), low)
    # Fine pixel (1, 3) has the parent (0, 1), so the tap is pixel (2, 0).
    assert changed[0, tap, 1, 3] > 0.9
    # At pixel (5, 3) the tap lies below the map: no logit can give it weight.
    assert norm(logits, low)[0, tap, 5, 3].abs() < 1e-6
    assert apply(x, norm(logits, low), 5, 2).isfinite().all()


def test_deviation_is_the_formula() -> None:
    """At an inner pixel, tap by tap, in plain Python."""
    norm = InterpolationSoftmax(1, 3, 2)
    logits = torch.randn(1, 9, 8, 8, dtype=torch.float64)
    filters = norm(logits, (4, 4))
    axis = [0.25, 0.75, 0.0]  # of fine pixel 2, a quarter before its parent 1
    prior = [(a + 0.05) * (b + 0.05) for a in axis for b in axis]
    weights = [a * b for a in axis for b in axis]
    raised = [p * float(v.exp()) for p, v in zip(prior, logits[0, :, 2, 2], strict=True)]
    expected = [
        w + r / sum(raised) - p / sum(prior) for w, r, p in zip(weights, raised, prior, strict=True)
    ]
    torch.testing.assert_close(
        filters[0, :, 2, 2], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((1, 4, 2), 'kernel_size'),
        ((1, 3, 4), 'at least 5'),
        ((1, 3, 2, 'bicubic'), 'mode'),
    ],
)
def test_arguments_are_checked(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InterpolationSoftmax(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    'joint',
    [
        {},
        dict(joint_channels=6, affinity_channels=4),
        dict(joint_channels=6, affinity_channels=4, context=True),
        dict(joint_channels=6, context=True),
    ],
)
@pytest.mark.parametrize('groups', [1, 4])
def test_ddf_up_starts_as_interpolation_and_learns(joint: dict[str, Any], groups: int) -> None:
    guide = bool(joint)
    layer = DDFUpPack(
        8, kernel_size=5, head=groups, branches='spatial', normalization='interpolation', **joint
    )
    # What a network's own initialisation would do to its convolutions.
    layer.init_weights()
    x = torch.randn(2, 8, 5, 6)
    joint_x = torch.randn(2, 6, 9, 12) if guide else None
    size = (9, 12) if guide else (10, 12)
    out = layer(x, joint_x)
    expected = F.interpolate(x, size=size, mode='bilinear')
    torch.testing.assert_close(out, expected, rtol=0, atol=5e-6)

    out.square().sum().backward()
    moved = {name for name, p in layer.named_parameters() if p.grad is not None and p.grad.any()}
    of_guide = {'spatial_branch.guide.weight', 'spatial_branch.guide.bias'}
    pointwise = 'spatial_branch.coarse.pointwise' if guide else 'spatial_branch.pointwise'
    of_features = {f'{pointwise}.weight', f'{pointwise}.bias'}
    if guide:
        assert moved == (of_guide | of_features if 'context' in joint else of_guide)
    else:
        assert moved == of_features


@pytest.mark.parametrize('size', [(10, 12), (9, 13)])
def test_context_adds_the_unguided_filters_and_the_guides_neighbours(size: tuple[int, int]) -> None:
    """Against the layer without context, given what the parts say."""
    branch, plain = (GuidedBranch(6, 8, 3, 2, 2, 4, context) for context in (True, False))
    for parameter in branch.parameters():
        torch.nn.init.normal_(parameter)
    plain.load_state_dict(branch.state_dict(), strict=False)
    guide, x = torch.randn(2, 6, *size), torch.randn(2, 8, 5, 6)
    weight, bias = branch.around.weight, branch.around.bias
    seen = sum(
        weight[:, :, dy, dx, None]
        * F.pad(guide, (1, 1, 1, 1))[:, :, dy:, dx:][:, :, : size[0], : size[1]]
        for dy, dx in itertools.product(range(3), range(3))
    )
    logits, query, key = plain(seen + bias[:, None, None], x)
    unguided = DDFUpPack(8, 3, 2, head=2, branches='spatial', normalization='interpolation')
    unguided.spatial_branch.load_state_dict(branch.coarse.state_dict())
    of_features = unguided.spatial_branch(x)
    for y, x_ in itertools.product(range(size[0]), range(size[1])):
        # Past the multiple: the last pixel's phases.
        y_from, x_from = y - 2 * (y >= 10), x_ - 2 * (x_ >= 12)
        logits[:, :, y, x_] += of_features[:, :, y_from, x_from]
    for found, expected in zip(branch(guide, x), (logits, query, key), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_weights_from_before_context_give_what_they_gave() -> None:
    """Also in a layer that has been trained since; nothing is missing from them."""
    layers = [
        DDFUpPack(
            8, 5, joint_channels=6, branches='spatial', normalization='interpolation',
            affinity_channels=4, context=context,
        )
        for context in (False, True)
    ]  # fmt: skip
    for parameter in (p for layer in layers for p in layer.parameters()):
        torch.nn.init.normal_(parameter)
    before, now = layers
    now.load_state_dict(before.state_dict())
    x, guide = torch.randn(2, 8, 5, 6), torch.randn(2, 6, 10, 12)
    torch.testing.assert_close(now(x, guide), before(x, guide), rtol=1e-5, atol=1e-5)
    # Its own weights, or a part of the new ones, are no such weights.
    own = now.state_dict()
    now.load_state_dict(own)
    assert all(torch.equal(own[key], value) for key, value in now.state_dict().items())
    del own['spatial_branch.coarse.pointwise.bias']
    with pytest.raises(RuntimeError, match=r'Missing.*coarse\.pointwise\.bias'):
        now.load_state_dict(own)
    # A part of the old ones leaves what is there; on meta, nothing could be filled in.
    trained = now.spatial_branch.around.weight.clone()
    part = {'spatial_branch.guide.weight': before.spatial_branch.guide.weight}
    now.load_state_dict(part, strict=False)
    assert torch.equal(now.spatial_branch.around.weight, trained)
    with pytest.raises(RuntimeError, match=r'Missing.*around\.weight'):
        now.to('meta').load_state_dict(before.state_dict(), assign=True)


def test_filters_compare_guide_and_features() -> None:
    """Logits against sums over shifted, padded maps."""
    branch, norm = GuidedBranch(6, 8, 3, 2, 2, 4), InterpolationSoftmax(2, 3, 2)
    for parameter in branch.parameters():
        torch.nn.init.normal_(parameter)
    guide, x = torch.randn(2, 6, 10, 12), torch.randn(2, 8, 5, 6)
    own, query = branch.guide(guide).split([18, 8], dim=1)
    key = F.interpolate(F.pad(branch.key(x), (1, 1, 1, 1)), scale_factor=2, mode='nearest')
    expected = own.unflatten(1, (2, 9)).clone()
    for tap, (dy, dx) in enumerate(itertools.product(range(3), range(3))):
        shifted = key[:, :, 2 * dy : 2 * dy + 10, 2 * dx : 2 * dx + 12]
        alike = (query * shifted).unflatten(1, (2, 4)).sum(2)
        expected[:, :, tap] += alike / 2
    logits, query, key = branch(guide, x)
    found = norm.filters(logits, (5, 6), [(5, 6), (3, 3)], query, key)
    for filters, source in zip(found, [(5, 6), (3, 3)], strict=True):
        (of_logits,) = norm.filters(expected.flatten(1, 2), (5, 6), [source])
        torch.testing.assert_close(filters, of_logits, rtol=1e-4, atol=1e-4)
    assert (found[0] - found[1]).abs().max() > 0.1


class _Counted:
    """How often `axis_weights` has run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs = 0
        made = interpolation.axis_weights

        def count(*arguments: Any) -> Any:
            self.runs += 1
            return made(*arguments)

        monkeypatch.setattr(interpolation, 'axis_weights', count)


def test_tables_are_made_once_for_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = _Counted(monkeypatch)
    logits = torch.zeros(1, 9, 22, 26)
    layer = InterpolationSoftmax(1, 3, 2)
    first = layer(logits, (11, 13))
    runs = counted.runs
    assert runs
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    for again in (layer, *copies):
        assert torch.equal(again(logits, (11, 13)), first)
        with torch.no_grad():
            assert torch.equal(again(logits, (11, 13)), first)
    assert counted.runs == runs
    # What another size, mode, dtype or kernel needs is another table.
    nearest = InterpolationSoftmax(1, 3, 2, mode='nearest')(logits, (11, 13))
    assert (nearest - first).abs().max() > 0.1
    assert layer(logits[:, :, :21], (11, 13)).shape[2] == 21
    assert counted.runs > runs
    torch.testing.assert_close(layer(logits.double(), (11, 13)).float(), first)


def test_tables_of_another_default_type_serve_all() -> None:
    interpolation._cached_table.cache_clear()
    layer, logits = InterpolationSoftmax(1, 3, 2), torch.randn(1, 9, 14, 18)
    torch.set_default_dtype(torch.bfloat16)
    try:
        first = layer(logits, (7, 9))
    finally:
        torch.set_default_dtype(torch.float32)
    interpolation._cached_table.cache_clear()
    assert torch.equal(layer(logits, (7, 9)), first)


def test_tables_of_inference_mode_serve_training() -> None:
    layer = InterpolationSoftmax(1, 3, 2)
    with torch.inference_mode():
        layer(torch.zeros(1, 9, 14, 18), (7, 9))
    logits = torch.zeros(1, 9, 14, 18, requires_grad=True)
    layer(logits, (7, 9)).square().sum().backward()
    assert logits.grad is not None
    assert logits.grad.any()


def test_tables_of_an_exported_program_have_values() -> None:
    """The first call of a size is the exporter's, with tensors that have none."""
    layer = InterpolationSoftmax(1, 3, 2)

    class Network(torch.nn.Module):
        def forward(self, logits: Tensor) -> Tensor:
            return layer(logits, (8, 9))

    logits = torch.randn(1, 9, 16, 18)
    program = torch.export.export(Network(), (logits,))
    torch.testing.assert_close(program.module()(logits), layer(logits, (8, 9)))
    expected = torch.nn.functional.interpolate(
        x := torch.randn(1, 2, 8, 9), scale_factor=2, mode='bilinear'
    )
    filters = layer(torch.zeros(1, 9, 16, 18), (8, 9))
    torch.testing.assert_close(apply(x, filters, 3, 2), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize('context', [False, True])
def test_compiled_layer_follows_the_size(context: bool) -> None:
    layer = DDFUpPack(
        4, branches='spatial', normalization='interpolation', joint_channels=3, affinity_channels=2,
        context=context,
    )  # fmt: skip
    torch.nn.init.normal_(layer.spatial_branch.guide.weight)
    if context:
        torch.nn.init.normal_(layer.spatial_branch.coarse.pointwise.weight)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend='aot_eager')
    for size in ((4, 5), (6, 7)):
        x, guide = torch.randn(1, 4, *size), torch.randn(1, 3, 2 * size[0], 2 * size[1])
        torch.testing.assert_close(compiled(x, guide), layer(x, guide))


@pytest.mark.skipif(shutil.which('g++') is None, reason='Inductor needs g++, which is not here')
def test_inductor_compiles_filters_of_maps_of_several_sizes() -> None:
    norm = InterpolationSoftmax(1, 5, 2)
    sources = [(12, 15), (6, 8), (3, 4)]
    logits = torch.randn(1, 25, 24, 30)
    compiled = torch.compile(
        lambda logits: norm.filters(logits, (12, 15), sources), fullgraph=True, dynamic=False
    )
    torch.testing.assert_close(compiled(logits), norm.filters(logits, (12, 15), sources))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(normalization='interpolation'), "branches 'spatial'"),
        (dict(affinity_channels=4), 'interpolation'),
        (dict(context=True), 'interpolation'),
        (
            dict(normalization='interpolation', branches='spatial', affinity_channels=4),
            'without a guide',
        ),
        (
            dict(normalization='interpolation', branches='spatial', context=True),
            'without a guide',
        ),
    ],
)
def test_ddf_up_checks_what_goes_together(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DDFUpPack(8, **arguments)  # type: ignore[arg-type]
