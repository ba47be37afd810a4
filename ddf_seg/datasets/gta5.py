"""GTA5: Cityscapes' classes, rendered by a game."""

from __future__ import annotations

from typing import Any

from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class GTA5Dataset(CityscapesDataset):
    """GTA5 (Playing for Data): `images/*.png`, `labels/*_labelTrainIds.png`, `splits/train.txt`.

    Labels and list come from tools/dataset_converters/gta5.py. UNVERIFIED: the splits of the
    published split.mat, which are not used; a label id 34 (license plate), which would be ignored.

    Args:
        kwargs: as for mmseg's BaseSegDataset.
    """

    def __init__(
        self,
        img_suffix: str = '.png',
        seg_map_suffix: str = '_labelTrainIds.png',
        **kwargs: Any,
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
