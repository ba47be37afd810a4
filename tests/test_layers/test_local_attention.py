"""Local-attention upsamplers: against the published definitions, pixel by pixel or by unfold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddf_seg.layers import JointBilateralUpsample, LocalAttender, NeighborhoodCrossAttention

# UPLiFT's offsets, drawn: row-major is their order.
DRAWN = {
    5: '.x. xxx .x.',
    9: 'xxx xxx xxx',
    13: '..x.. .xxx. xxxxx .xxx. ..x..',
    17: 'x.x.x .xxx. xxxxx .xxx. x.x.x',
    25: 'xxxxx xxxxx xxxxx xxxxx xxxxx',
}


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def attender(layer: LocalAttender, guide: Tensor, value: Tensor) -> Tensor:
    rows = DRAWN[layer.num_connected].split()
    middle = len(rows) // 2
    offsets = [
        (y - middle, x - middle)
        for y, row in enumerate(rows)
        for x, c in enumerate(row)
        if c == 'x'
    ]
    logits = torch.einsum('dc,bchw->bdhw', layer.conv1.weight[:, :, 0, 0], guide)
    logits = logits + layer.conv1.bias[:, None, None]
    if layer.conv_res:
        shared = min(guide.shape[1], len(offsets))
        logits = torch.cat([logits[:, :shared] + guide[:, :shared], logits[:, shared:]], dim=1)
    weights = logits.exp() / logits.exp().sum(1, keepdim=True)
    height, width = value.shape[2:]
    r = guide.shape[2] // height
    out = value.new_zeros(*value.shape[:2], *guide.shape[2:])
    for y in range(guide.shape[2]):
        for x in range(guide.shape[3]):
            for d, (dy, dx) in enumerate(offsets):
                row = min(max(y // r + dy, 0), height - 1)
                column = min(max(x // r + dx, 0), width - 1)
                out[:, :, y, x] += weights[:, d, y, x, None] * value[:, :, row, column]
    return out


@pytest.mark.parametrize('num_connected', DRAWN)
@pytest.mark.parametrize(('r', 'size'), [(1, (5, 4)), (2, (4, 6)), (2, (2, 1)), (4, (3, 5))])
@pytest.mark.parametrize(('guide_channels', 'conv_res'), [(7, True), (20, True), (7, False)])
def test_local_attender(
    num_connected: int, r: int, size: tuple[int, int], guide_channels: int, conv_res: bool
) -> None:
    layer = LocalAttender(guide_channels, num_connected, conv_res)
    guide = torch.randn(2, guide_channels, r * size[0], r * size[1])
    value = torch.randn(2, 6, *size)
    close(layer(guide, value), attender(layer, guide, value))


def neighborhood(query: Tensor, key: Tensor, value: Tensor, heads: int, k: int) -> Tensor:
    """NATTEN's definition, as NAF calls it: dilated by r, on keys and values repeated r × r times.

    A pixel attends within those whose coordinates leave its own remainders, to the k × k nearest
    that have it in the middle where the map allows it.
    """
    r = query.shape[2] // key.shape[2]
    key, value = (x.repeat_interleave(r, 2).repeat_interleave(r, 3) for x in (key, value))
    q, key, value = (x.unflatten(1, (heads, -1)) for x in (query, key, value))
    out = torch.zeros_like(value)

    def window(at: int, length: int) -> list[int]:
        like = list(range(at % r, length, r))
        start = min(max(like.index(at) - k // 2, 0), len(like) - k)
        return like[start : start + k]

    for y in range(query.shape[2]):
        for x in range(query.shape[3]):
            rows, columns = window(y, query.shape[2]), window(x, query.shape[3])
            keys, values = (m[..., rows, :][..., columns].flatten(3) for m in (key, value))
            logits = (q[..., y, x, None] * keys).sum(2) / q.shape[2] ** 0.5
            out[..., y, x] = (logits.softmax(-1)[:, :, None] * values).sum(-1)
    return out.flatten(1, 2)


@pytest.mark.parametrize('r', [1, 2, 4])
@pytest.mark.parametrize('extra', [(0, 0), (0, 3), (4, 1)])
@pytest.mark.parametrize('k', [3, 5, 9])
def test_neighborhood_cross_attention(r: int, extra: tuple[int, int], k: int) -> None:
    height, width = k + extra[0], k + extra[1]
    query = torch.randn(2, 8, r * height, r * width)
    key, value = torch.randn(2, 8, height, width), torch.randn(2, 12, height, width)
    layer = NeighborhoodCrossAttention(num_heads=4, kernel_size=k)
    assert not layer.state_dict()
    close(layer(query, key, value), neighborhood(query, key, value, 4, k))


def joint_bilateral(layer: JointBilateralUpsample, source: Tensor, guidance: Tensor) -> Tensor:
    """FeatUp's JBULearnedRange without dropout, in its words."""
    radius = layer.radius
    side, (height, width) = 2 * radius + 1, guidance.shape[2:]

    def taps(x: Tensor) -> Tensor:
        padded = F.pad(x, [radius] * 4, mode='reflect')
        return F.unfold(padded, side).unflatten(1, (x.shape[1], -1)).unflatten(3, (height, width))

    def network(net: nn.Sequential, x: Tensor) -> Tensor:
        return F.conv2d(F.gelu(F.conv2d(x, net[0].weight, net[0].bias)), net[3].weight, net[3].bias)

    projected = network(layer.range_proj, guidance)
    alike = torch.einsum('bcphw,bchw->bphw', taps(projected), projected)
    kernel = (layer.range_temp.exp().clamp(1e-4, 1e4) * alike).softmax(1)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side, dtype=source.dtype)] * 2, indexing='ij')
    kernel = kernel * torch.exp(-(y**2 + x**2) / (2 * layer.sigma_spatial**2)).view(1, -1, 1, 1)
    kernel = kernel / kernel.sum(1, keepdim=True).clamp_min(1e-7)
    kernel = kernel + 0.1 * network(layer.fixup_proj, torch.cat([kernel, guidance], 1))
    fine = nn.Upsample((height, width), mode='bicubic', align_corners=False)(source)
    return torch.einsum('bcphw,bphw->bchw', taps(fine), kernel)


def drawn(layer: JointBilateralUpsample) -> JointBilateralUpsample:
    """With parameters that are not those of the start."""
    with torch.no_grad():
        layer.range_temp.fill_(0.7)
        layer.sigma_spatial.fill_(0.8)
    return layer.eval()


@pytest.mark.parametrize(
    ('radius', 'source', 'size'),
    [(3, (6, 5), (12, 10)), (3, (4, 4), (4, 5)), (1, (3, 4), (7, 2)), (2, (5, 2), (20, 8))],
)
def test_joint_bilateral_upsample(
    radius: int, source: tuple[int, int], size: tuple[int, int]
) -> None:
    layer = drawn(JointBilateralUpsample(3, key_dim=8, radius=radius))
    x, guidance = torch.randn(2, 6, *source), torch.randn(2, 3, *size)
    close(layer(x, guidance), joint_bilateral(layer, x, guidance))


@pytest.mark.parametrize(
    ('temperature', 'sigma', 'size_of_keys'), [(10, 1, 0.01), (-20, 1, 1), (10, 0.05, 1)]
)
def test_limits_of_joint_bilateral_upsample(
    temperature: float, sigma: float, size_of_keys: float
) -> None:
    """Temperatures beyond the limits 1e4 and 1e-4, and kernels whose sum is below its own."""
    layer = JointBilateralUpsample(3, key_dim=8).double().eval()
    with torch.no_grad():
        layer.range_temp.fill_(temperature)
        layer.sigma_spatial.fill_(sigma)
        for parameter in layer.range_proj[3].parameters():
            parameter.mul_(size_of_keys)
    x, guidance = torch.randn(1, 2, 5, 5).double(), torch.randn(1, 3, 10, 10).double()
    torch.testing.assert_close(layer(x, guidance), joint_bilateral(layer, x, guidance))


def test_joint_bilateral_upsample_drops_channels_in_training() -> None:
    layer = drawn(JointBilateralUpsample()).train()
    x, guidance = torch.randn(1, 2, 5, 5), torch.randn(1, 3, 10, 10)
    assert not torch.equal(layer(x, guidance), layer(x, guidance))


def test_published_weights_fit() -> None:
    """Names and shapes of the published checkpoints."""
    shapes = {name: tuple(x.shape) for name, x in LocalAttender(64, 17).state_dict().items()}
    assert shapes == {'conv1.weight': (17, 64, 1, 1), 'conv1.bias': (17,)}
    layer = JointBilateralUpsample(3, 32, radius=3)
    assert {name: tuple(x.shape) for name, x in layer.state_dict().items()} == {
        'range_temp': (),
        'sigma_spatial': (),
        'range_proj.0.weight': (32, 3, 1, 1),
        'range_proj.0.bias': (32,),
        'range_proj.3.weight': (32, 32, 1, 1),
        'range_proj.3.bias': (32,),
        'fixup_proj.0.weight': (49, 52, 1, 1),
        'fixup_proj.0.bias': (49,),
        'fixup_proj.3.weight': (49, 49, 1, 1),
        'fixup_proj.3.bias': (49,),
    }
    assert layer.range_temp.item() == 0
    assert layer.sigma_spatial.item() == 1


# Each layer, its definition, and the shapes of its inputs
SMALL: dict[str, tuple[Callable[[], nn.Module], Callable[..., Tensor], list[tuple[int, ...]]]] = {
    'LocalAttender': (
        lambda: LocalAttender(3, 13),
        attender,
        [(1, 3, 4, 6), (1, 2, 2, 3)],
    ),
    'NeighborhoodCrossAttention': (
        lambda: NeighborhoodCrossAttention(2, 3),
        lambda layer, *x: neighborhood(*x, layer.num_heads, layer.kernel_size),
        [(1, 2, 6, 8), (1, 2, 3, 4), (1, 2, 3, 4)],
    ),
    'JointBilateralUpsample': (
        lambda: drawn(JointBilateralUpsample(2, 3, radius=1)),
        joint_bilateral,
        [(1, 2, 2, 3), (1, 2, 4, 5)],
    ),
}
small = pytest.mark.parametrize(('build', 'definition', 'shapes'), SMALL.values(), ids=SMALL)


@small
def test_gradients(build: Any, definition: Any, shapes: Any) -> None:
    """Of inputs and parameters: by differences, and those of the definition."""
    layer = build().double()
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(layer, tensors, check_forward_ad=True)
    leaves = [*tensors, *layer.parameters()]
    outputs = layer(*tensors), definition(layer, *tensors)
    upstream = torch.randn_like(outputs[0])
    for a, b in zip(*(torch.autograd.grad(o, leaves, upstream) for o in outputs), strict=True):
        close(a, b)


@small
def test_channels_last_and_autocast(build: Any, definition: Any, shapes: Any) -> None:
    layer = build()
    tensors = [torch.randn(shape) for shape in shapes]
    expected = definition(layer, *tensors)
    close(layer(*(x.to(memory_format=torch.channels_last) for x in tensors)), expected)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        out = layer(*tensors)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, rtol=0.05, atol=0.05)


@small
def test_compiles(build: Any, definition: Any, shapes: Any) -> None:
    """Whole, without a break of the graph."""
    layer = build()
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend='aot_eager', fullgraph=True)
    tensors = [torch.randn(shape) for shape in shapes]
    close(compiled(*tensors), definition(layer, *tensors))


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: LocalAttender(0), 'in_channels: expected a value of at least 1, got 0'),
        (lambda: LocalAttender(4, 7), 'num_connected: expected one of 5, 9, 13, 17, 25, got 7'),
        (lambda: NeighborhoodCrossAttention(0), 'num_heads: expected a value of at least 1, got 0'),
        (
            lambda: NeighborhoodCrossAttention(4, 4),
            'kernel_size: expected an odd value, got 4',
        ),
        (
            lambda: NeighborhoodCrossAttention(4, 1),
            'kernel_size: expected a value of at least 3, got 1',
        ),
        (lambda: JointBilateralUpsample(radius=0), 'radius: expected a value of at least 1, got 0'),
        (lambda: JointBilateralUpsample(0), 'guidance_dim: expected a value of at least 1, got 0'),
        (lambda: JointBilateralUpsample(3, 0), 'key_dim: expected a value of at least 1, got 0'),
    ],
)
def test_bad_arguments(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=f'^{message}$'):
        build()


def test_arguments_of_another_type() -> None:
    with pytest.raises(TypeError, match='conv_res: expected True or False, got 1'):
        LocalAttender(4, 5, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r'num_connected: expected an int, got 5\.0'):
        LocalAttender(4, 5.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ('layer', 'shapes', 'message'),
    [
        (
            LocalAttender(4),
            [(1, 3, 8, 8), (1, 2, 4, 4)],
            r'guide: expected shape \(batch, 4, height, width\), got \(1, 3, 8, 8\)',
        ),
        (
            LocalAttender(4),
            [(1, 4, 8, 9), (1, 2, 4, 4)],
            r'guide: expected a height and width that are the same multiple of those of value, '
            r'\(4, 4\), got \(8, 9\)',
        ),
        (LocalAttender(4), [(1, 4, 8, 12), (1, 2, 4, 4)], r'guide: .* got \(8, 12\)'),
        (LocalAttender(4), [(1, 4, 2, 2), (1, 2, 4, 4)], r'guide: .* got \(2, 2\)'),
        (
            LocalAttender(4),
            [(2, 4, 8, 8), (1, 2, 4, 4)],
            r'value: expected batch size 2 \(that of guide\), got 1',
        ),
        (LocalAttender(4), [(1, 4, 8, 8), (1, 2, 0, 4)], r'value: expected shape .*\(1, 2, 0, 4\)'),
        (
            NeighborhoodCrossAttention(2, 3),
            [(1, 4, 8, 8), (1, 6, 4, 4), (1, 2, 4, 4)],
            r'key: expected 4 channels \(those of query\), got 6',
        ),
        (
            NeighborhoodCrossAttention(2, 3),
            [(1, 4, 8, 8), (1, 4, 4, 4), (1, 3, 4, 4)],
            'value: expected channels that 2 heads can share, got 3',
        ),
        (
            NeighborhoodCrossAttention(2, 3),
            [(1, 3, 8, 8), (1, 3, 4, 4), (1, 2, 4, 4)],
            'query: expected channels that 2 heads can share, got 3',
        ),
        (
            NeighborhoodCrossAttention(2, 3),
            [(1, 4, 8, 8), (1, 4, 4, 4), (1, 2, 4, 5)],
            r'key: expected height and width \(4, 5\) \(those of value\), got \(4, 4\)',
        ),
        (
            NeighborhoodCrossAttention(2, 5),
            [(1, 4, 8, 10), (1, 4, 4, 5), (1, 2, 4, 5)],
            r'key: expected a height and width of at least 5 \(kernel_size\), got \(4, 5\)',
        ),
        (
            NeighborhoodCrossAttention(2, 3),
            [(1, 4, 9, 8), (1, 4, 4, 4), (1, 2, 4, 4)],
            r'query: expected a height and width that are the same multiple of those of key, '
            r'\(4, 4\), got \(9, 8\)',
        ),
        (
            NeighborhoodCrossAttention(2, 3),
            [(2, 4, 8, 8), (2, 4, 4, 4), (1, 2, 4, 4)],
            r'value: expected batch size 2 \(that of query\), got 1',
        ),
        (
            JointBilateralUpsample(),
            [(1, 2, 4, 4), (1, 4, 8, 8)],
            r'guidance: expected shape \(batch, 3, height, width\), got \(1, 4, 8, 8\)',
        ),
        (
            JointBilateralUpsample(),
            [(1, 2, 4, 4), (1, 3, 3, 8)],
            r'guidance: expected a height and width above the radius 3, got \(3, 8\)',
        ),
        (
            JointBilateralUpsample(),
            [(2, 2, 4, 4), (1, 3, 8, 8)],
            r'source: expected batch size 1 \(that of guidance\), got 2',
        ),
    ],
)
def test_bad_inputs(layer: nn.Module, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=f'^{message}$'):
        layer(*(torch.zeros(shape) for shape in shapes))


@small
def test_inputs_of_another_type(build: Any, definition: Any, shapes: Any) -> None:
    tensors = [torch.zeros(shape) for shape in shapes]
    with pytest.raises(TypeError, match=r': expected torch\.float32 .*, got torch\.float64'):
        build()(*tensors[:-1], tensors[-1].double())
    with pytest.raises(TypeError, match=r': expected a torch\.Tensor, got NoneType'):
        build()(*tensors[:-1], None)
