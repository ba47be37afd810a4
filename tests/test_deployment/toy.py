"""A segmentor without weights, for tests of what stands around a network."""

from __future__ import annotations

from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
from mmseg.models import SegDataPreProcessor
from torch import Tensor, nn

from ddf_seg.deployment.network import Metadata

ABOUT = Metadata(['a', 'b', 'c'], [[0, 0, 0]] * 3, 1, 'toy')
NORMALISED = dict(mean=[10.0, 20.0, 30.0], std=[2.0, 3.0, 4.0])


class Toy(nn.Module):
    """A segmentor whose scores are its three input channels."""

    def __init__(self, **preprocessing: Any) -> None:
        super().__init__()
        self.data_preprocessor = SegDataPreProcessor(**preprocessing)

    def encode_decode(self, x: Tensor, metas: list[dict[str, Any]]) -> Tensor:
        return x
