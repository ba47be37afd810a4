"""Other people's upsampling against their papers' formulas, written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddf_benchmarks.upsamplers import UPSAMPLERS, Carafe, DySample, Sapa, Upsampler

C, GUIDE, H, W = 8, 5, 5, 6


def drawn(layer: Upsampler) -> Upsampler:
    """With weights that make filters and places differ from pixel to pixel."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.3)
    return layer


def taps(x: Tensor, scale_factor: int, kernel_size: int = 5) -> Tensor:
    """The neighbourhood of each fine pixel's parent, (B, C, k², r·H, r·W), zeros outside."""
    unfolded = F.unfold(x, kernel_size, padding=kernel_size // 2)
    around = unfolded.view(x.shape[0], -1, *x.shape[2:])
    fine = around.repeat_interleave(scale_factor, 2).repeat_interleave(scale_factor, 3)
    return fine.unflatten(1, (x.shape[1], -1))


@pytest.mark.parametrize('scale_factor', [2, 3])
@torch.no_grad()
def test_carafe(scale_factor: int) -> None:
    """As mmcv's CARAFEPack: compress, encode, pixel shuffle, softmax, reassemble."""
    layer = drawn(Carafe(C, scale_factor=scale_factor, compressed=7))
    x = torch.randn(2, C, H, W)
    compressed = F.conv2d(x, layer.compress.weight, layer.compress.bias)
    logits = F.conv2d(compressed, layer.encode.weight, layer.encode.bias, padding=1)
    masks = F.pixel_shuffle(logits, scale_factor).softmax(1)
    expected = (taps(x, scale_factor) * masks[:, None]).sum(2)
    out = layer(x)
    assert out.shape == (2, C, scale_factor * H, scale_factor * W)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    constant = layer(torch.ones(1, C, H, W))[:, :, 2 * scale_factor : -2 * scale_factor]
    inner = constant[..., 2 * scale_factor : -2 * scale_factor]
    torch.testing.assert_close(inner, torch.ones_like(inner))


@torch.no_grad()
def test_sapa() -> None:
    """Softmax of ⟨query of the guide, key at the tap⟩, pixel by pixel, for a guide of odd size."""
    layer = drawn(Sapa(C, GUIDE, embedded=4))
    x, guide = torch.randn(1, C, H, W), torch.randn(1, GUIDE, 2 * H - 1, 2 * W)
    out = layer(x, guide)
    assert out.shape == (1, C, 2 * H - 1, 2 * W)

    def embedded(parts: torch.nn.Sequential, y: Tensor) -> Tensor:
        norm, linear = parts
        normed = (y - y.mean(1)) / (y.var(1, correction=0) + norm.eps).sqrt()
        normed = normed * norm.weight[:, None, None] + norm.bias[:, None, None]
        return torch.einsum('oc,chw->ohw', linear.weight, normed[0]) + linear.bias[:, None, None]

    query = embedded(layer.embed_guide, guide)
    key = F.pad(embedded(layer.embed, x), (2, 2, 2, 2))
    padded = F.pad(x[0], (2, 2, 2, 2))
    for row in range(2 * H - 1):
        for column in range(2 * W):
            window = (
                slice(None),
                slice(row // 2, row // 2 + 5),
                slice(column // 2, column // 2 + 5),
            )
            logits = (query[:, row, column, None, None] * key[window]).sum(0)
            weights = logits.flatten().softmax(0).view(5, 5)
            expected = (padded[window] * weights).sum((1, 2))
            torch.testing.assert_close(out[0, :, row, column], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('scale_factor', [2, 3])
@torch.no_grad()
def test_dysample_without_offsets_is_bilinear(scale_factor: int) -> None:
    layer = DySample(C, scale_factor=scale_factor)
    torch.nn.init.zeros_(layer.offset.weight)
    x = torch.randn(2, C, H, W)
    expected = F.interpolate(x, scale_factor=scale_factor, mode='bilinear')
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_dysample_samples_where_offsets_lead() -> None:
    """Each group of channels at its own places, bilinearly, clamped at the border."""
    layer = drawn(DySample(C, groups=2))
    x = torch.randn(1, C, H, W)
    out = layer(x)
    raw = F.conv2d(x, layer.offset.weight, layer.offset.bias)[0]
    moved = 0.0
    for group in range(2):
        for row in range(2 * H):
            for column in range(2 * W):
                # Pixel shuffle: channel (group, axis) of phase (row % 2, column % 2).
                phase = 2 * (row % 2) + column % 2
                across, down = (
                    0.25 * float(raw[4 * (2 * group + axis) + phase, row // 2, column // 2])
                    for axis in (0, 1)
                )
                moved = max(moved, abs(across), abs(down))
                y = min(max((row + 0.5) / 2 - 0.5 + down, 0), H - 1)
                z = min(max((column + 0.5) / 2 - 0.5 + across, 0), W - 1)
                top, left = min(int(y), H - 2), min(int(z), W - 2)
                a, b = y - top, z - left
                own = x[0, 4 * group : 4 * group + 4]
                expected = (1 - a) * ((1 - b) * own[:, top, left] + b * own[:, top, left + 1])
                expected += a * ((1 - b) * own[:, top + 1, left] + b * own[:, top + 1, left + 1])
                found = out[0, 4 * group : 4 * group + 4, row, column]
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert moved > 0.1


@pytest.mark.parametrize('name', UPSAMPLERS)
@torch.no_grad()
def test_several_maps_by_what_the_first_says(name: str) -> None:
    layer = drawn(UPSAMPLERS[name](C, GUIDE))
    first, other = torch.randn(2, 1, C, H, W)
    guide = torch.randn(1, GUIDE, 2 * H - 1, 2 * W - 1)
    a, b = layer.shared([first, other], guide)
    assert a.shape == b.shape == (1, C, 2 * H - 1, 2 * W - 1)
    torch.testing.assert_close(a, layer(first, guide))
    # The samplers are linear in the map that they are applied to.
    c = layer.shared([first, first + other], guide)[1]
    torch.testing.assert_close(c, a + b, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(b, layer(other, guide), atol=1e-3)
