"""DDFPack and DDFUpPack against the authors' layers, in low precision, guided, and under decay."""

from __future__ import annotations

from typing import Any

import authors
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddf_seg.layers import DDFPack, DDFUpPack, FilterNorm
from ddf_seg.ops import reference

# eps of 1e-5 where the authors have 1e-10, and statistics in float32.
AS_THE_AUTHORS = {'rtol': 1e-3, 'atol': 1e-4}


def features(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(
        dtype
    )


def assert_same_outputs_and_gradients(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    x = x.clone().requires_grad_()
    output, expected = ours(x), theirs(x)
    torch.testing.assert_close(output, expected, **AS_THE_AUTHORS)
    upstream = torch.randn_like(output)
    (gradient,) = torch.autograd.grad(output, x, upstream)
    (wanted,) = torch.autograd.grad(expected, x, upstream)
    torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max().item())


# --- DDFPack -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'arguments',
    [
        {},
        {'kernel_size': 5, 'dilation': 2},
        {'head': 4, 'kernel_combine': 'add'},
        {'kernel_size': 7, 'head': 2, 'se_ratio': 0.5, 'nonlinearity': 'linear'},
    ],
    ids=str,
)
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('size', [(8, 6), (9, 7), (1, 5)], ids=str)
def test_ddf_pack_is_the_authors(
    arguments: dict[str, Any], stride: int, size: tuple[int, int]
) -> None:
    """Also at odd sizes with stride 2, where their h // s fails."""
    theirs = authors.DDFPack(8, stride=stride, **arguments).double()
    ours = DDFPack(8, stride=stride, **arguments).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_same_outputs_and_gradients(ours, theirs, features(2, 8, *size))
    assert ours(features(2, 8, *size)).shape == (2, 8, -(-size[0] // stride), -(-size[1] // stride))


def test_ddf_pack_takes_the_authors_arguments_in_their_order() -> None:
    arguments = (8, 5, 2, 3, 4, 0.5, 'linear', 'add')
    theirs, ours = authors.DDFPack(*arguments).double(), DDFPack(*arguments).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = features(1, 8, 9, 9)
    torch.testing.assert_close(ours(x), theirs(x), **AS_THE_AUTHORS)


def test_ddf_pack_keys() -> None:
    shapes = {key: tuple(value.shape) for key, value in DDFPack(10, head=2).state_dict().items()}
    assert shapes == {
        'spatial_branch.0.weight': (18, 10, 1, 1),
        'spatial_branch.0.bias': (18,),
        'channel_branch.1.weight': (2, 10, 1, 1),
        'channel_branch.1.bias': (2,),
        'channel_branch.3.weight': (90, 2, 1, 1),
        'channel_branch.3.bias': (90,),
        'channel_branch.4.std': (90,),
    }


@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
@pytest.mark.parametrize('normalization', ['batch_norm', 'sigmoid', 'softmax', 'none'])
def test_ddf_pack_with_other_normalizations(normalization: str, kernel_combine: str) -> None:
    pack = DDFPack(6, head=2, kernel_combine=kernel_combine, normalization=normalization).double()
    pack.eval()
    if normalization == 'batch_norm':
        for norm in (pack.spatial_branch[1], pack.channel_branch[4]):
            assert isinstance(norm, nn.BatchNorm2d)
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(1, 2)

    def normalized(values: Tensor, norm: nn.Module, count: int) -> Tensor:
        if normalization == 'softmax':
            return values.reshape(2, count, 9, -1).softmax(2).view_as(values)
        if normalization == 'sigmoid':
            return 1 / (1 + (-values).exp())
        if normalization == 'batch_norm':
            assert isinstance(norm, nn.BatchNorm2d)
            mean, var = norm.running_mean, norm.running_var
            return (values - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        return values

    x = features(2, 6, 5, 7)
    s = normalized(pack.spatial_branch[0](x), pack.spatial_branch[1], 2)
    pool, squeeze, relu, excite, norm = pack.channel_branch
    f = normalized(excite(relu(squeeze(pool(x)))), norm, 6)
    expected = authors.ddf(x, f, s, 3, 1, 1, kernel_combine)
    torch.testing.assert_close(pack(x), expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_channel_branch_pools_the_mean(dtype: torch.dtype) -> None:
    """As nn.AdaptiveAvgPool2d, also where float16 could not hold the sum."""
    pool = DDFPack(4).channel_branch[0]
    x = torch.full((2, 4, 50, 60), 30.0, dtype=dtype)
    x[:, 1] = torch.linspace(-3, 5, 60)
    x.requires_grad_()
    want = nn.functional.adaptive_avg_pool2d(x.detach().double(), 1)
    torch.testing.assert_close(
        pool(x), want.to(dtype), rtol=1e-2 if dtype.itemsize == 2 else 1e-5, atol=1e-3
    )
    upstream = torch.randn(2, 4, 1, 1).to(dtype)
    (gradient,) = torch.autograd.grad(pool(x), x, upstream)
    torch.testing.assert_close(gradient, (upstream / 3000).expand_as(x), rtol=1e-2, atol=1e-6)


def test_branches_make_the_filters_they_promise() -> None:
    x = features(2, 6, 5, 7)
    for combine, neutral in (('mul', 1.0), ('add', 0.0)):
        spatial = DDFPack(6, stride=2, head=2, branches='spatial', kernel_combine=combine).double()
        channel = DDFPack(6, stride=2, branches='channel', kernel_combine=combine).double()
        assert {key.split('.')[0] for key in spatial.state_dict()} == {'spatial_branch'}
        assert {key.split('.')[0] for key in channel.state_dict()} == {'channel_branch'}
        f, s = torch.full((2, 6, 3, 3), neutral), torch.full((2, 9, 3, 4), neutral)
        expected = authors.ddf(x, f, spatial.spatial_branch(x), 3, 1, 2, combine)
        torch.testing.assert_close(spatial(x), expected)
        expected = authors.ddf(x, channel.channel_branch(x), s, 3, 1, 2, combine)
        torch.testing.assert_close(channel(x), expected)


# --- DDFUpPack -----------------------------------------------------------------------------------

UP_ARGUMENTS: list[dict[str, Any]] = [
    {},
    {'scale_factor': 3, 'head': 2, 'kernel_combine': 'add'},
    # their padding of kernel_size // 2 is wrong where the two kernels differ
    {'kernel_size': 5, 'dw_kernel_size': 3, 'nonlinearity': 'relu'},
    {'kernel_size': 3, 'dw_kernel_size': 5, 'dilation': 2, 'se_ratio': 0.5},
]


@pytest.mark.parametrize('arguments', UP_ARGUMENTS, ids=str)
@pytest.mark.parametrize('size', [(4, 6), (5, 3), (1, 1)], ids=str)
def test_ddf_up_pack_is_the_authors(arguments: dict[str, Any], size: tuple[int, int]) -> None:
    """Parameters come in through their per-phase keys."""
    theirs = authors.DDFUpPack(8, **arguments).double()
    ours = DDFUpPack(8, **arguments).double()
    assert 'spatial_branch.3.1.0.weight' in theirs.state_dict()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_same_outputs_and_gradients(ours, theirs, features(2, 8, *size))


def test_ddf_up_pack_takes_the_authors_arguments_in_their_order() -> None:
    arguments = (8, 5, 3, 2, 4, 0.5, 'relu', 3)
    theirs = authors.DDFUpPack(*arguments, kernel_combine='add').double()
    ours = DDFUpPack(*arguments, -1, 'add').double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = features(1, 8, 4, 4)
    torch.testing.assert_close(ours(x), theirs(x), **AS_THE_AUTHORS)


def test_authors_keys_load_inside_a_network() -> None:
    theirs = nn.Sequential(nn.Conv2d(3, 8, 1), authors.DDFUpPack(8)).double()
    ours = nn.Sequential(nn.Conv2d(3, 8, 1), DDFUpPack(8)).double()
    state = theirs.state_dict()
    keys = set(state)
    ours.load_state_dict(state, strict=True)
    assert set(state) == keys, "the caller's state dict was changed"
    x = features(1, 3, 4, 4)
    torch.testing.assert_close(ours(x), theirs(x), **AS_THE_AUTHORS)


@pytest.mark.parametrize('joint_channels', [-1, 5])
def test_own_keys_load_strictly(joint_channels: int) -> None:
    first = DDFUpPack(8, scale_factor=3, joint_channels=joint_channels)
    second = DDFUpPack(8, scale_factor=3, joint_channels=joint_channels)
    second.load_state_dict(first.state_dict(), strict=True)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ('key', 'action'),
    [
        ('spatial_branch.1.0.weight', 'missing'),
        ('spatial_branch.1.0.weight', 'wrong shape'),
        ('spatial_branch.0.1.0.bias', 'missing'),
        ('spatial_branch.0.1.0.bias', 'wrong shape'),
        ('channel_branch.3.4.std', 'missing'),
        ('channel_branch.3.4.std', 'wrong shape'),
        ('spatial_branch.4.0.weight', 'extra'),
        ('channel_branch.0.2.weight', 'extra'),
    ],
)
def test_authors_keys_load_strictly(key: str, action: str) -> None:
    state = authors.DDFUpPack(8).state_dict()
    if action == 'missing':
        del state[key]
    elif action == 'extra':
        state[key] = torch.zeros(8, 1, 3, 3)
    else:
        state[key] = state[key][:-1]
    complaint = {
        'missing': 'Missing key',
        'extra': 'Unexpected key',
        'wrong shape': 'size mismatch',
    }
    with pytest.raises(RuntimeError, match=complaint[action]):
        DDFUpPack(8).load_state_dict(state, strict=True)


def test_authors_guided_keys_do_not_load() -> None:
    """They have r² spatial branches on the guide, ours has one: nothing is guessed."""
    state = DDFUpPack(8, joint_channels=5).state_dict()
    for name in ('weight', 'bias'):
        value = state.pop(f'spatial_branch.0.{name}')
        state |= {f'spatial_branch.{phase}.0.{name}': value for phase in range(4)}
    with pytest.raises(RuntimeError, match='spatial_branch'):
        DDFUpPack(8, joint_channels=5).load_state_dict(state, strict=True)


GUIDED = {'in_channels': 6, 'joint_channels': 4}


@pytest.mark.parametrize('size', [(6, 8), (5, 7), (7, 9), (5, 9)], ids=str)
def test_guided_upsampling(size: tuple[int, int]) -> None:
    """A guide of another width and of any size near twice the input's."""
    pack = DDFUpPack(**GUIDED).double()
    x, guide = features(2, 6, 3, 4), features(2, 4, *size)
    conv, norm = pack.spatial_branch
    s = authors.FilterNorm(1, 3, 'linear')(F.conv2d(guide, conv.weight, conv.bias))
    pool, squeeze, relu, excite, norm = pack.channel_branch
    filters = excite(relu(squeeze(pool(x))))
    theirs = authors.FilterNorm(24, 3, 'linear', running_std=True)
    theirs.load_state_dict(norm.state_dict())
    # phase first, then channel, then tap
    f = theirs(filters.double()).view(2, 4, 6, 9)
    output = pack(x, guide)
    assert output.shape == (2, 6, *size)
    torch.testing.assert_close(output, authors.guided_upsample(x, f, s, 3, 2), **AS_THE_AUTHORS)


def test_guided_keys() -> None:
    keys = DDFUpPack(**GUIDED, head=2).state_dict()
    assert tuple(keys['spatial_branch.0.weight'].shape) == (18, 4, 1, 1)
    assert sum(key.startswith('spatial_branch') for key in keys) == 2


@pytest.mark.parametrize(
    ('guide', 'name'),
    [
        (None, 'joint_x'),
        ((1, 6, 6, 8), 'joint_x'),
        ((1, 4, 3, 4), 'spatial_filter'),
        ((1, 4, 8, 8), 'spatial_filter'),
        ((2, 4, 6, 8), 'spatial_filter'),
    ],
)
def test_bad_guide(guide: tuple[int, ...] | None, name: str) -> None:
    joint = None if guide is None else torch.zeros(guide)
    with pytest.raises(ValueError, match=f'{name}: expected .*got'):
        DDFUpPack(**GUIDED)(torch.zeros(1, 6, 3, 4), joint)


def test_guide_that_is_not_expected() -> None:
    with pytest.raises(ValueError, match='joint_x: expected none'):
        DDFUpPack(6)(torch.zeros(1, 6, 3, 4), torch.zeros(1, 6, 6, 8))


def test_up_branches_make_the_filters_they_promise() -> None:
    x = features(2, 6, 3, 4)
    spatial, channel = DDFUpPack(6, branches='spatial'), DDFUpPack(6, branches='channel')
    assert {key.split('.')[0] for key in spatial.state_dict()} == {'spatial_branch'}
    assert {key.split('.')[0] for key in channel.state_dict()} == {'channel_branch'}
    f = torch.ones(2, 4, 6, 9)
    s = spatial.double().spatial_branch(x)
    torch.testing.assert_close(spatial(x), authors.guided_upsample(x, f.double(), s, 3, 2))
    f = channel.double().channel_branch(x).view(2, 4, 6, 9)
    s = torch.ones(2, 9, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(channel(x), authors.guided_upsample(x, f, s, 3, 2))


@pytest.mark.parametrize('size', [(7, 9), (8, 10), (9, 11), (8, 11)], ids=str)
def test_the_channel_branch_alone_fills_the_guides_size(size: tuple[int, int]) -> None:
    pack = DDFUpPack(6, branches='channel', joint_channels=3).double()
    x, guide = features(2, 6, 4, 5), features(2, 3, *size)
    f = pack.channel_branch(x).view(2, 4, 6, 3, 3)
    want = reference.ddf_upsample(x, f, x.new_ones(2, 9, *size))
    torch.testing.assert_close(pack(x, guide), want)
    with pytest.raises(ValueError, match='joint_x: expected a width from 9 to 11'):
        pack(x, features(2, 3, 8, 12))


@pytest.mark.parametrize('layer', [DDFPack, DDFUpPack])
@pytest.mark.parametrize('combine', ['mul', 'add'])
def test_a_neutral_start_is_the_spatial_branch_alone(
    layer: type[DDFPack] | type[DDFUpPack], combine: str
) -> None:
    x = features(2, 6, 5, 7)
    both = layer(6, kernel_combine=combine, neutral_start=True).double()
    alone = layer(6, kernel_combine=combine, branches='spatial').double()
    alone.spatial_branch.load_state_dict(both.spatial_branch.state_dict())
    torch.testing.assert_close(both(x), alone(x), rtol=1e-12, atol=1e-12)
    # From there it learns to tell channels and taps apart, and to look at the image's mean.
    optimizer = torch.optim.SGD(both.parameters(), lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        both(x).square().mean().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in both.channel_branch.parameters())
    both.init_weights()
    alone.spatial_branch.load_state_dict(both.spatial_branch.state_dict())
    torch.testing.assert_close(both(x), alone(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('layer', [DDFPack, DDFUpPack])
def test_a_neutral_start_needs_both_filters_and_their_norm(
    layer: type[DDFPack] | type[DDFUpPack],
) -> None:
    with pytest.raises(ValueError, match="branches: expected 'both' for a neutral start"):
        layer(6, branches='channel', neutral_start=True)
    with pytest.raises(ValueError, match="normalization: expected 'filter_norm' for a start"):
        layer(6, normalization='softmax', neutral_start=True)
    with pytest.raises(ValueError, match='start: expected running_std and running_mean with it'):
        FilterNorm(6, 3, 'channel', running_std=True, start=1.0)


def test_softmax_over_the_spatial_branch_alone_is_carafe() -> None:
    """A convex combination of the taps: the interior of a constant map stays as it is."""
    pack = DDFUpPack(4, branches='spatial', normalization='softmax', scale_factor=3)
    output = pack(torch.full((1, 4, 5, 5), 2.5))
    torch.testing.assert_close(output[..., 3:-3, 3:-3], torch.full((1, 4, 9, 9), 2.5))


# --- both ----------------------------------------------------------------------------------------

LAYERS: dict[str, Any] = {
    'pack': lambda **k: DDFPack(8, **k),
    'up': lambda **k: DDFUpPack(8, **k),
    'guided': lambda **k: Guided(DDFUpPack(8, joint_channels=8, **k)),
}
every_layer = pytest.mark.parametrize('layer', LAYERS)


class Guided(nn.Module):
    """A guided layer whose guide is made from its input."""

    def __init__(self, pack: DDFUpPack) -> None:
        super().__init__()
        self.pack = pack

    def forward(self, x: Tensor) -> Tensor:
        return self.pack(x, F.interpolate(x, scale_factor=2))


@every_layer
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('autocast', [True, False])
@pytest.mark.parametrize('values', ['random', 'zeros', 'constant', 'large'])
def test_low_precision_is_finite(
    layer: str, dtype: torch.dtype, autocast: bool, values: str
) -> None:
    """Forward and backward; close to float32 where the input has something to say.

    Gradients of large inputs are beyond float16 without a loss scale: the output alone is checked.
    """
    module = LAYERS[layer]()
    x = {
        'random': features(2, 8, 5, 6, dtype=torch.float32),
        'zeros': torch.zeros(2, 8, 5, 6),
        'constant': torch.full((2, 8, 5, 6), 3.7),
        'large': features(2, 8, 5, 6, dtype=torch.float32) * 1000,
    }[values].requires_grad_()
    expected = module(x).detach()
    if autocast:
        with torch.autocast('cpu', dtype):
            output = module(x)
    else:
        output = module.to(dtype)(x.to(dtype))
    assert output.dtype == dtype
    assert output.isfinite().all()
    if values == 'large':
        return
    output.float().sum().backward()
    for tensor in (x.grad, *(p.grad for p in module.parameters())):
        assert tensor.isfinite().all()
    if values == 'random':
        error = (output.float() - expected).abs().mean() / expected.abs().mean()
        assert error < 20 * torch.finfo(dtype).eps


@every_layer
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_constant_filters_do_not_explode(layer: str, dtype: torch.dtype) -> None:
    """All weights 0 and all biases alike: every filter is constant, its deviation rounding."""
    module = LAYERS[layer]()
    for module_ in module.modules():
        if isinstance(module_, nn.Conv2d):
            nn.init.zeros_(module_.weight)
            nn.init.constant_(module_.bias, 0.1)
    module.to(dtype)
    x = features(2, 8, 5, 6, dtype=dtype).requires_grad_()
    output = module(x)
    output.float().sum().backward()
    assert output.abs().max() < 0.1
    for tensor in (x.grad, *(p.grad for p in module.parameters())):
        assert tensor.isfinite().all()


@every_layer
@pytest.mark.parametrize('shrink', [1e-2, 1e-4, 1e-5])
def test_decayed_weights_do_not_drown_in_eps(layer: str, shrink: float) -> None:
    """FilterNorm takes the scale of its input away, so nothing holds weights against decay.

    All convolutions shrunk alike (biases 0, as decay would have them): the output must not change.
    With a fixed eps of 1e-5 the filters would fade away.
    """
    # As many squeezed channels as channels: a single one that ReLU silences would say nothing.
    module = LAYERS[layer](se_ratio=1.0)
    convs = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) >= 3
    for conv in convs:
        nn.init.zeros_(conv.bias)
    x = features(2, 8, 5, 6, dtype=torch.float32)
    expected = module(x)
    with torch.no_grad():
        for conv in convs:
            conv.weight *= shrink
    torch.testing.assert_close(module(x), expected, rtol=1e-2, atol=1e-3)


@every_layer
def test_training_with_decay_alone_leaves_the_output(layer: str) -> None:
    """10 e-foldings of decoupled decay on every weight and bias of the convolutions."""
    module = LAYERS[layer](se_ratio=1.0)
    x = features(2, 8, 5, 6, dtype=torch.float32)
    for conv in (m for m in module.modules() if isinstance(m, nn.Conv2d)):
        nn.init.zeros_(conv.bias)
    expected = module(x).detach()
    decayed = [p for m in module.modules() if isinstance(m, nn.Conv2d) for p in m.parameters()]
    optimizer = torch.optim.SGD(decayed, lr=0.1, weight_decay=1.0)
    for _ in range(100):
        for parameter in decayed:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    assert decayed[0].abs().max() < 1e-3
    torch.testing.assert_close(module(x), expected, rtol=1e-2, atol=1e-3)


# torch says so of any variance over an empty tensor.
@pytest.mark.filterwarnings('ignore:var_mean')
@every_layer
@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
def test_empty_batch(layer: str, kernel_combine: str) -> None:
    scale = 1 if layer == 'pack' else 2
    output = LAYERS[layer](kernel_combine=kernel_combine)(torch.zeros(0, 8, 5, 6))
    assert output.shape == (0, 8, 5 * scale, 6 * scale)


@every_layer
def test_channels_last_in_channels_last_out(layer: str) -> None:
    module = LAYERS[layer]()
    x = features(2, 8, 5, 6, dtype=torch.float32)
    output = module(x.contiguous(memory_format=torch.channels_last))
    assert output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output, module(x))


def test_compiles_whole() -> None:
    torch._dynamo.reset()
    module = DDFUpPack(8)
    compiled = torch.compile(module, backend='aot_eager', fullgraph=True, dynamic=True)
    x = features(2, 8, 5, 7, dtype=torch.float32).requires_grad_()
    output = compiled(x)
    torch.testing.assert_close(output, module(x))
    output.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


BAD_IN_BOTH: list[tuple[str, object, type[Exception]]] = [
    ('in_channels', 0, ValueError),
    ('in_channels', 8.0, TypeError),
    ('kernel_size', 1, ValueError),
    ('kernel_size', 4, ValueError),
    ('kernel_size', 3.0, TypeError),
    ('kernel_size', (3, 3), TypeError),
    ('dilation', 0, ValueError),
    ('dilation', True, TypeError),
    ('head', 3, ValueError),
    ('head', 0, ValueError),
    ('head', None, TypeError),
    ('se_ratio', 0, ValueError),
    ('se_ratio', float('nan'), ValueError),
    ('se_ratio', '0.2', TypeError),
    ('nonlinearity', 'gelu', ValueError),
    ('kernel_combine', 'mult', ValueError),
    ('normalization', 'layer_norm', ValueError),
    ('branches', 'none', ValueError),
    ('neutral_start', 1, TypeError),
]
BAD_IN_PACK: list[tuple[str, object, type[Exception]]] = [
    ('stride', 0, ValueError),
    ('stride', -1, ValueError),
    ('stride', (2, 2), TypeError),
]
BAD_IN_UP: list[tuple[str, object, type[Exception]]] = [
    ('scale_factor', 0, ValueError),
    ('scale_factor', 1.5, TypeError),
    ('scale_factor', True, TypeError),
    ('scale_factor', 2**20, ValueError),
    ('dw_kernel_size', 2, ValueError),
    ('dw_kernel_size', 3.0, TypeError),
    ('joint_channels', 4.0, TypeError),
    ('joint_channels', -2, ValueError),
]


@pytest.mark.parametrize(
    ('layer', 'name', 'value', 'error'),
    [
        *((DDFPack, *bad) for bad in (*BAD_IN_BOTH, *BAD_IN_PACK)),
        *((DDFUpPack, *bad) for bad in (*BAD_IN_BOTH, *BAD_IN_UP)),
    ],
)
@pytest.mark.parametrize('branches', ['both', 'channel'])
def test_bad_arguments(
    layer: type[nn.Module], name: str, value: object, error: type[Exception], branches: str
) -> None:
    """When the layer is built, also where the argument has nothing to do."""
    arguments = {'in_channels': 8, 'branches': branches, name: value}
    if name == 'neutral_start':
        arguments['branches'] = 'both'
    with pytest.raises(error, match=f'^{name}: expected .*got '):
        layer(**arguments)


@pytest.mark.parametrize('layer', [DDFPack, DDFUpPack])
@pytest.mark.parametrize('shape', [(1, 7, 4, 4), (8, 4, 4)])
def test_bad_input(layer: type[nn.Module], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'^x: expected shape \(batch, 8'):
        layer(8)(torch.zeros(shape))
