"""Captured calls against the layers' outputs by way of the reference operator."""

from __future__ import annotations

import pytest
import torch
from mmseg.registry import MODELS
from networks import EXACT, HEAD, PAPER, build_segmentor, forget_the_start
from processes import run_loaded
from torch import nn

from ddf_seg import visualization
from ddf_seg.layers import DDFConv2d, DDFPack, DDFUpPack, GatedDDF, GatedDDFConv2d
from ddf_seg.ops import ddf, reference
from ddf_seg.visualization import capture_filters

UPER = dict(type='DDFUPerHead', channels=8, pool_scales=(1, 2))
HEADS = {
    'ddf': EXACT,
    'ddf-paper': HEAD,
    'uper': UPER,
    'uper-paper': {**UPER, 'ddf_cfg': PAPER},
    'fpn': dict(type='DDFFPNHead', channels=8, feature_strides=[4, 8, 16, 32]),
    'segformer': dict(type='DDFSegformerHead', channels=8),
}
# How often each of these is called
SEVERAL = {
    'uper': {
        'decode_head.fusion.upsamples.0.ddf_up': 3,
        'decode_head.fusion.upsamples.1.ddf_up': 2,
    },
    'uper-paper': {'decode_head.fusion.upsamples.0.ddf_up': 3},
    'segformer': {'decode_head.fusion.upsamples.0.ddf_up': 3},
}


def reproduce(call):
    inputs = (call.features, call.channel_filter, call.spatial_filter)
    if call.operator == 'ddf':
        return reference.ddf(
            *inputs, call.kernel_size, call.dilation, call.stride, call.kernel_combine
        )
    return reference.ddf_upsample(
        *inputs, call.kernel_size, call.scale_factor, call.dilation, call.kernel_combine
    )


def outputs_of(model):
    """What each layer with a DDF call gives, by name; filled as the model runs."""
    outputs = {}
    for name, module in model.named_modules():
        depthwise = isinstance(module, GatedDDFConv2d) and module.groups > 1
        if depthwise or isinstance(module, (DDFPack, DDFUpPack, GatedDDF)):
            outputs[name] = []
            module.register_forward_hook(lambda m, i, o, name=name: outputs[name].append(o.clone()))
        if isinstance(module, DDFUpPack):
            upsample = module.upsample_alike

            def kept(*args, name=name, upsample=upsample):
                # A sum of maps would hide what each call gave.
                *given, summed = args
                made = upsample(*given)
                outputs[name] += [o.clone() for o in made]
                return [sum(made)] if summed else made

            module.upsample_alike = kept
    return outputs


@pytest.mark.parametrize('head', HEADS)
def test_every_call_reproduces_the_output_of_its_layer(head):
    torch.manual_seed(0)
    model = forget_the_start(build_segmentor(HEADS[head]))
    outputs = outputs_of(model)
    modules = dict(model.named_modules())
    with torch.no_grad(), capture_filters(model) as calls:
        model(torch.randn(2, 3, 45, 61))
    expected = {}
    for name, found in outputs.items():
        for number, output in enumerate(found):
            expected[name if len(found) == 1 else f'{name}#{number + 1}'] = output
    assert {call.layer for call in calls} == set(expected)
    assert any(call.layer.startswith('backbone.') for call in calls)
    assert any(call.operator == 'ddf_upsample' for call in calls)
    for call in calls:
        output = reproduce(call)
        layer = modules[call.layer.partition('#')[0]]
        if isinstance(layer, DDFConv2d) and layer.pointwise is not None:
            output = layer.pointwise(output)
        if isinstance(layer, GatedDDFConv2d):
            output = output + layer.bias[:, None, None]
        torch.testing.assert_close(output, expected[call.layer], rtol=1e-4, atol=1e-5)
    for layer, number in SEVERAL.get(head, {}).items():
        assert len(outputs[layer]) == number
        assert f'{layer}#{number}' in expected


@pytest.mark.parametrize(
    ('head', 'layers'),
    [
        ('ddf', ['refinements.0.depthwise', 'upsamples.0.ddf_up']),
        ('uper', ['fpn_convs.0.conv.gated', 'fusion.upsamples.0.ddf_up#3']),
        ('fpn', ['scale_heads.1.0.conv.gated', 'scale_heads.1.1.ddf_up']),
        ('segformer', ['fusion.upsamples.2.ddf_up']),
    ],
)
def test_the_names_of_what_starts_as_what_it_replaces(head, layers):
    model = build_segmentor(HEADS[head])
    with torch.no_grad(), capture_filters(model) as calls:
        model(torch.randn(1, 3, 33, 65))
    found = [call.layer for call in calls]
    assert {f'decode_head.{layer}' for layer in layers} <= set(found)


def test_effective_filters_make_the_output():
    torch.manual_seed(0)
    model = nn.Sequential(DDFPack(6, 5, stride=2, dilation=2, head=3, kernel_combine='add'))
    with torch.no_grad(), capture_filters(model) as calls:
        output = model(torch.randn(2, 6, 13, 11))
    (call,) = calls
    assert call.layer == '0'
    features = nn.functional.pad(call.features, (4, 4, 4, 4))
    for image, channel, y, x in [(0, 0, 0, 0), (1, 5, 6, 5), (1, 2, 3, 4)]:
        effective = call.effective_filter(y, x, channel, image)
        row, column = call.centre(y, x)
        assert (row, column) == (2 * y, 2 * x)
        patch = features[image, channel, row : row + 9 : 2, column : column + 9 : 2]
        torch.testing.assert_close((effective * patch).sum(), output[image, channel, y, x])


def test_effective_filters_make_the_output_of_an_upsampling():
    torch.manual_seed(0)
    model = DDFUpPack(4, scale_factor=3, head=2, joint_channels=2).eval()
    with torch.no_grad(), capture_filters(model) as calls:
        output = model(torch.randn(1, 4, 5, 6), torch.randn(1, 2, 14, 19))
    (call,) = calls
    # The network itself has no path.
    assert call.layer == 'DDFUpPack'
    features = nn.functional.pad(call.features, (1, 1, 1, 1))
    for channel, y, x in [(0, 0, 0), (3, 13, 18), (1, 7, 5)]:
        effective = call.effective_filter(y, x, channel)
        row, column = call.centre(y, x)
        patch = features[0, channel, row : row + 3, column : column + 3]
        torch.testing.assert_close((effective * patch).sum(), output[0, channel, y, x])


class InPlace(nn.Module):
    """Calls the operator itself, twice, and works in place on what it gave."""

    def forward(self, x):
        filters = x.new_ones(1, 2, 3, 3), x.new_ones(1, 9, *x.shape[2:])
        ddf(x, *filters)
        y = ddf(x, *filters, 3, 1, 1)
        x.zero_()
        filters[0].zero_()
        filters[1].zero_()
        return y


def test_calls_keep_what_the_operator_saw():
    model = nn.ModuleDict({'odd': InPlace()})
    x = torch.arange(24.0).view(1, 2, 3, 4)
    original = x.clone()
    with capture_filters(model) as calls:
        model['odd'](x)
    assert [call.layer for call in calls] == ['odd#1', 'odd#2']
    for call in calls:
        assert torch.equal(call.features, original)
        assert call.channel_filter.eq(1).all()
        assert call.spatial_filter.eq(1).all()


def test_the_operators_dtype_under_autocast():
    model = nn.Sequential(DDFPack(4))
    with torch.no_grad(), capture_filters(model) as calls, torch.autocast('cpu', torch.bfloat16):
        model(torch.randn(1, 4, 5, 5))
    assert calls[0].spatial_filter.dtype == torch.bfloat16
    assert calls[0].features.dtype == torch.bfloat16
    assert calls[0].spatial_filters().dtype == torch.float32


def test_training_goes_on_below_the_capture():
    torch.manual_seed(0)
    model = nn.Sequential(DDFPack(4))
    x = torch.randn(1, 4, 5, 5)
    model(x).sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    with capture_filters(model) as calls:
        model(x).sum().backward()
    assert len(calls) == 1
    assert not calls[0].features.requires_grad
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_layers_are_chosen_by_call_and_by_module():
    torch.manual_seed(0)
    model = build_segmentor(HEADS['uper'])
    x = torch.randn(1, 3, 33, 65)

    def names(layers):
        with torch.no_grad(), capture_filters(model, layers) as calls:
            model(x)
        return [call.layer for call in calls]

    everything = names(None)
    fusion = 'decode_head.fusion.upsamples.0.ddf_up'
    assert names([f'{fusion}#2']) == [f'{fusion}#2']
    assert names([fusion]) == [f'{fusion}#{n}' for n in (1, 2, 3)]
    within = names(['decode_head.upsamples', 'backbone'])
    assert within == [n for n in everything if n.startswith(('decode_head.upsamples', 'backbone'))]
    assert within
    with pytest.raises(ValueError, match=r"'decode_head.fpn_conv' makes no DDF call.*fpn_convs\.0"):
        names(['decode_head.fpn_conv'])
    with pytest.raises(ValueError, match="'decode' makes no DDF call"):
        names(['decode'])


def test_a_network_without_ddf():
    model = nn.Sequential(nn.Conv2d(1, 1, 1))
    with (
        pytest.raises(ValueError, match='Sequential has no DDF layer'),
        capture_filters(model),
    ):
        model(torch.zeros(1, 1, 2, 2))


def test_nothing_stays_behind():
    model = nn.Sequential(DDFPack(4), nn.ReLU())
    x = torch.randn(1, 4, 5, 5)

    def fail(*_):
        raise RuntimeError('from within')

    handle = model[1].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match='from within'), capture_filters(model):
        model(x)
    handle.remove()
    with capture_filters(model) as calls:
        model(x)
    model(x)
    assert [call.layer for call in calls] == ['0']


def test_swapped_and_third_party_networks():
    """mmcv's builders put the layers anywhere: in mmseg's own head, by conv_cfg."""
    head = MODELS.build(
        dict(type='mmseg.FCNHead', in_channels=4, channels=4, num_convs=2, num_classes=3,
             conv_cfg=dict(type='DDF'), norm_cfg=dict(type='BN'))
    ).eval()  # fmt: skip
    with torch.no_grad(), capture_filters(head) as calls:
        head([torch.randn(1, 4, 9, 9)])
    assert [call.layer for call in calls] == ['convs.0.conv', 'convs.1.conv', 'conv_cat.conv']


def test_it_needs_no_openmmlab():
    done = run_loaded("""
        import ddf_seg.visualization
        from ddf_seg.visualization import FilterCall, capture_filters
        print([n for n in ('mmcv', 'mmengine', 'mmseg') if n in sys.modules])
        print(hasattr(ddf_seg.visualization, 'nothing'))
    """)
    assert done.stdout.splitlines()[-2:] == ['[]', 'False'], done.stderr


def test_all_names_are_there():
    for name in visualization.__all__:
        assert getattr(visualization, name).__name__ == name
