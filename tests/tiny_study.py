"""Images for the study of upsampling, tiny and random, of two drives."""

from __future__ import annotations

import torch

from ddf_benchmarks.study.data import VOID, Image
from ddf_benchmarks.study.hosts import CHANNELS, CLASSES

H, W = 64, 96
# Frames of two drives, far apart and close, as CamVid's are
NAMES = [f'0001TP_{frame:06d}' for frame in (30, 60, 90, 120, 1200, 1230, 1260)]
NAMES += [f'Seq05VD_f{frame:05d}' for frame in (0, 30, 60, 300, 330, 360, 390, 420)]


def make_image(name: str, seed: int = 0) -> Image:
    """Random features of a backbone with five levels, and labels in areas; 3 rows are padding."""
    generator = torch.Generator().manual_seed(seed)
    levels = tuple(
        torch.randn(channels, H // stride, W // stride, generator=generator).half()
        for channels, stride in zip(CHANNELS, (2, 4, 8, 16, 32), strict=True)
    )
    areas = torch.randint(0, CLASSES, (H // 8, W // 8), generator=generator, dtype=torch.uint8)
    labels = areas.repeat_interleave(8, 0).repeat_interleave(8, 1)
    labels[:2] = VOID
    labels[H - 3 :] = VOID
    return Image(name, levels, labels, H - 3)


def pairs_of(names: list[str]) -> list[tuple[Image, Image]]:
    return [(make_image(n, i), make_image(n, 100 + i)) for i, n in enumerate(names)]
