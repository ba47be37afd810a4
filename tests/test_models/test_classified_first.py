"""Heads that classify a map before its last upsampling give what they would give after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
from mmengine.analysis import FlopAnalyzer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ddf_seg.layers import DDFUpPack

CHANNELS = [6, 8, 10, 12]
SIZES = [(45, 61), (23, 31), (12, 16), (6, 8)]
SEVERAL: dict[str, Any] = dict(in_channels=CHANNELS, in_index=[0, 1, 2, 3])
LAST: dict[str, Any] = dict(in_channels=12, in_index=3)
GUIDED: dict[str, Any] = dict(
    type='DDFGuidedHead', guide_index=[0, 1, 2], guide_channels=CHANNELS[:3]
)
HEADS: list[dict[str, Any]] = [
    dict(type='DDFFPNHead', feature_strides=[4, 8, 16, 32], **SEVERAL),
    dict(GUIDED, head='FCNHead', **LAST),
    dict(GUIDED, head='PSPHead', pool_scales=(1, 2), **LAST),
]
PAPER: dict[str, Any] = dict(normalization='filter_norm')


def levels() -> list[Tensor]:
    return [torch.randn(2, c, *size) for c, size in zip(CHANNELS, SIZES, strict=True)]


def build(cfg: dict[str, Any], **kwargs: Any) -> Any:
    torch.manual_seed(0)
    head = MODELS.build({**cfg, 'channels': 16, 'dropout_ratio': 0.5, 'num_classes': 5, **kwargs})
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    return head


def width_upsampled_last(head: nn.Module, inputs: list[Tensor]) -> int:
    """Channels of the largest maps that DDF-Up gives."""
    widths: dict[int, set[int]] = {}

    def keep(maps: Sequence[Tensor]) -> None:
        for x in maps:
            widths.setdefault(x.shape[2:].numel(), set()).add(x.shape[1])

    def kept(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            made = method(*args)
            keep([made] if isinstance(made, Tensor) else made)
            return made

        return run

    for layer in head.modules():
        if isinstance(layer, DDFUpPack):
            layer.forward = kept(layer.forward)  # type: ignore[method-assign]
            layer.upsample_alike = kept(layer.upsample_alike)  # type: ignore[method-assign]
    head(inputs)
    (width,) = widths[max(widths)]
    return width


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('cfg', HEADS, ids=lambda cfg: cfg.get('head', cfg['type']))
def test_scores_are_those_of_the_upsampled_map(cfg: dict[str, Any], training: bool) -> None:
    """Dropout, too: of the same channels of all levels."""
    head = build(cfg).double().train(training)
    inputs = [x.double() for x in levels()]
    # With as many classes as channels the classifier comes last, as mmseg has it.
    last = build(cfg, num_classes=16).double().train(training)
    last.load_state_dict(
        {
            **head.state_dict(),
            **{
                key: torch.cat([value, value.new_zeros(11, *value.shape[1:])])
                for key, value in head.conv_seg.state_dict(prefix='conv_seg.').items()
            },
        }
    )
    torch.manual_seed(1)
    scores = head(inputs)
    torch.manual_seed(1)
    expected = last(inputs)[:, :5]
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)
    assert width_upsampled_last(head, inputs) == 5
    assert width_upsampled_last(last, inputs) == 16
    scores.square().sum().backward()
    expected.square().sum().backward()
    others = dict(last.named_parameters())
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None
        gradient = others[name].grad
        if name.startswith('conv_seg.'):
            gradient = gradient[:5]
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('ddf_cfg', [PAPER, dict(head=2)])
@pytest.mark.parametrize('cfg', HEADS, ids=lambda cfg: cfg.get('head', cfg['type']))
def test_filters_that_tell_channels_apart_come_first(
    cfg: dict[str, Any], ddf_cfg: dict[str, Any]
) -> None:
    head = build(cfg, ddf_cfg=ddf_cfg).eval()
    assert width_upsampled_last(head, levels()) == 16


def test_a_level_of_filters_of_groups_is_not_classified_at_the_finest_size() -> None:
    """That would be a classifier for each level, where the sum needs one."""
    head = build(HEADS[0], ddf_cfg=dict(head=2)).eval()

    def flops() -> int:
        with FlopCounterMode(display=False) as counter:
            head(levels())
        return counter.get_total_flops()

    found = flops()
    # Whoever hooks the classifier gets the sum of all levels.
    head.conv_seg.register_forward_hook(lambda *_: None)
    assert found == flops()


@pytest.mark.parametrize('cfg', HEADS, ids=lambda cfg: cfg.get('head', cfg['type']))
def test_dropout_that_is_on_while_the_head_is_not_in_training(cfg: dict[str, Any]) -> None:
    head = build(cfg).eval()
    inputs = levels()
    head.dropout.train()
    with torch.no_grad():
        assert not torch.allclose(head(inputs), head(inputs))


def test_hooks_of_the_classifier_and_of_the_fusion_run() -> None:
    segformer = build(dict(type='DDFSegformerHead', norm_cfg=dict(type='BN'), **SEVERAL)).eval()
    fpn = build(HEADS[0]).eval()
    for head, conv in ((segformer, segformer.fusion_conv.conv), (fpn, fpn.conv_seg)):
        expected = head(inputs := levels())
        called: list[nn.Module] = []
        handle = conv.register_forward_hook(
            lambda module, given, made, to=called: to.append(module)
        )
        torch.testing.assert_close(head(inputs), expected, rtol=1e-4, atol=1e-4)
        assert called == [conv]
        handle.remove()
        # A method of a built-in type, which has no module
        seen: dict[nn.Module, Any] = {}
        conv.register_forward_pre_hook(seen.setdefault)
        torch.testing.assert_close(head(inputs), expected, rtol=1e-4, atol=1e-4)
        assert list(seen) == [conv]


class _OwnClassifier(BaseDecodeHead):
    """Classifies after an activation, which nothing commutes with."""

    def forward(self, inputs: list[Tensor]) -> Tensor:
        return self.cls_seg(inputs[-1])

    def cls_seg(self, feat: Tensor) -> Tensor:
        return super().cls_seg(feat.relu())


def test_a_head_with_a_classifier_of_its_own_keeps_it_last() -> None:
    MODELS.register_module(module=_OwnClassifier, force=True)
    head = build(dict(GUIDED, head='_OwnClassifier', in_channels=12, in_index=3), channels=12)
    assert width_upsampled_last(head.eval(), levels()) == 12


class _Flat(nn.Module):
    """A head that takes each level as an argument, as a counter that traces wants it."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, *maps: Tensor) -> Tensor:
        scores: Tensor = self.head(list(maps))
        return scores


@pytest.mark.parametrize('head_type', ['DDFSegformerHead', 'DDFFPNHead'])
def test_mmengine_counts_what_runs(head_type: str) -> None:
    """Its hooks on every module do not make the head take another path."""
    strides = dict(feature_strides=[4, 8, 16, 32]) if head_type == 'DDFFPNHead' else {}
    head = build(dict(type=head_type, norm_cfg=dict(type='BN'), **strides, **SEVERAL)).eval()
    inputs = levels()
    with FlopCounterMode(display=False) as counter:
        head(inputs)
    counted = FlopAnalyzer(_Flat(head), tuple(inputs)).total()
    # mmengine counts norms and interpolations, too.
    assert counted == pytest.approx(counter.get_total_flops() / 2, rel=0.06)
