"""The architecture 'ddf' of segmentation_models.pytorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

smp = pytest.importorskip(
    'segmentation_models_pytorch',
    reason='segmentation_models_pytorch is not installed, or its torchvision does not fit torch',
    exc_type=ImportError,
)

from ddf_seg.decoders import Projection, SeparableRefinement, TopDownDecoder  # noqa: E402
from ddf_seg.integrations.efficientnet_lite import timm_weights  # noqa: E402
from ddf_seg.integrations.smp import DDF  # noqa: E402

ROOT = Path(__file__).parents[2]
LITE0 = 'tu-tf_efficientnet_lite0'
ENCODERS = ['resnet18', 'mobilenet_v2', 'mit_b0', LITE0, 'tu-convnext_atto']


def create(encoder_name: str = 'resnet18', **kwargs: Any) -> Any:
    defaults: dict[str, Any] = dict(encoder_weights=None, classes=5, decoder_channels=16)
    return smp.create_model('ddf', encoder_name, **{**defaults, **kwargs})


class Bilinear(nn.Module):
    """What guided upsampling starts as, by torch's own interpolation."""

    def __init__(self, coarse: int, fine: int, factor: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(coarse, fine, 1, bias=False) if coarse != fine else nn.Identity()

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        return F.interpolate(self.project(x), guide.shape[2:], mode='bilinear')


@pytest.mark.parametrize('encoder', ENCODERS)
def test_it_starts_as_a_static_decoder_and_learns(encoder: str) -> None:
    torch.manual_seed(0)
    widths = [8, 16, 16, 24]
    model = create(encoder, decoder_channels=widths).eval()
    x = torch.randn(2, 3, 64, 96)
    scores = model(x)
    assert scores.shape == (2, 5, 64, 96)
    static = TopDownDecoder(
        model.encoder.out_channels[2:],
        8,
        widths=widths,
        upsample=Bilinear,
        refine=lambda width: SeparableRefinement(width, Projection),
    ).eval()
    static.load_state_dict(model.decoder.state_dict(), strict=False)
    features = model.encoder(x)
    expected = model.segmentation_head(static(features[2:]))
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-4)
    # Keys and filters learn once the queries and factors that multiply them have left 0.
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    learning = {n.partition('.')[0] for n, p in model.named_parameters() if p.grad is not None}
    assert learning == {'encoder', 'decoder', 'segmentation_head'}
    assert not [n for n, p in model.decoder.named_parameters() if not p.grad.any()]


@pytest.mark.parametrize('load', [smp.from_pretrained, DDF.from_pretrained])
def test_a_saved_model_is_the_same(tmp_path: Path, load: Any) -> None:
    model = create(
        decoder_channels=[8, 8, 16, 16], decoder_stride=2, encoder_depth=4, in_channels=4,
        ddf_cfg=dict(normalization='filter_norm'), activation='sigmoid',
    )  # fmt: skip
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    model.eval().save_pretrained(tmp_path)
    assert (tmp_path / 'model.safetensors').is_file()
    loaded = load(tmp_path)
    assert type(loaded) is DDF
    x = torch.randn(1, 4, 32, 48)
    torch.testing.assert_close(loaded.eval()(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize('stride', [1, 2, 8])
def test_the_output_has_the_images_size_wherever_the_decoder_ends(stride: int) -> None:
    assert create(decoder_stride=stride)(torch.randn(2, 3, 64, 32)).shape == (2, 5, 64, 32)
    assert create(decoder_stride=stride, upsampling=1)(torch.randn(2, 3, 64, 64)).shape == (
        2, 5, 64 // stride, 64 // stride,
    )  # fmt: skip


def test_a_classification_head_and_a_single_class() -> None:
    model = create(classes=1, aux_params=dict(classes=7))
    masks, labels = model(torch.randn(2, 3, 32, 32))
    assert masks.shape == (2, 1, 32, 32)
    assert labels.shape == (2, 7)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RuntimeError, match='divisible by 32'):
        create().eval()(torch.randn(1, 3, 60, 96))
    with pytest.raises(ValueError, match=r'decoder_stride: .*\[1, 4, 8, 16, 32\], got 2'):
        create('mit_b0', decoder_stride=2)
    with pytest.raises(ValueError, match='got 3'):
        create(decoder_stride=3)
    with pytest.raises(ValueError, match=r'decoder_channels: .* 4 .*stride 4 on'):
        create(decoder_channels=[8, 8])
    with pytest.raises(ValueError, match='strides: expected each above the one before'):
        create(LITE0, output_stride=16)


def test_it_exports() -> None:
    model = create().eval()
    x = torch.randn(1, 3, 64, 64)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


def test_a_network_trained_by_mmseg_gives_the_same_scores() -> None:
    """The shipped network, in mmseg and in smp: backbone and decoder of two hosts each."""
    pytest.importorskip('mmseg', reason='mmseg is not installed')
    pytest.importorskip(
        'efficientnet_lite_pytorch', reason='efficientnet_lite_pytorch is not installed'
    )
    import ddf_seg.openmmlab  # noqa: F401, I001
    from mmengine.config import Config
    from mmseg.registry import MODELS

    cfg = Config.fromfile(ROOT / 'configs/ddf_camvid.py').model
    cfg.backbone.init_cfg = None
    cfg.decode_head.norm_cfg.type = 'BN'
    weights = torch.load(ROOT / 'checkpoints/ddf_camvid.pth', map_location='cpu')['state_dict']
    theirs = nn.ModuleDict(
        {part: MODELS.build(cfg[part]) for part in ('backbone', 'decode_head')}
    ).eval()
    assert not theirs.load_state_dict(weights, strict=False).missing_keys
    ours = create(LITE0, classes=11, decoder_stride=2, decoder_channels=[32, 64, 64, 64, 64])
    ours.load_state_dict(of_smp(weights))
    x = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        expected = theirs['decode_head'](theirs['backbone'](x))
        scores = ours.eval().segmentation_head[0](ours.decoder(ours.encoder(x)))
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-3)


def of_smp(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of mmseg under smp's keys."""

    def below(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}

    encoder = {f'encoder.model.{k}': v for k, v in timm_weights(below('backbone.')).items()}
    head = below('decode_head.')
    classifier = {f'segmentation_head.0.{k}': head.pop(f'conv_seg.{k}') for k in ('weight', 'bias')}
    return encoder | classifier | {f'decoder.{k}': v for k, v in head.items()}


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'layer1\.0\.weight' is not of an EfficientNet-Lite"):
        timm_weights({'layer1.0.weight': torch.ones(1)})


def test_every_weight_has_its_place_in_timm() -> None:
    package = pytest.importorskip(
        'efficientnet_lite_pytorch', reason='efficientnet_lite_pytorch is not installed'
    )
    import timm

    for number in range(5):
        theirs = package.EfficientNet.from_name(f'efficientnet-lite{number}', image_size=None)
        renamed = timm_weights(theirs.state_dict())
        network = timm.create_model(f'tf_efficientnet_lite{number}', features_only=True)
        network.load_state_dict(renamed)
