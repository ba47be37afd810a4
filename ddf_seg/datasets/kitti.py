"""KITTI 2015: Cityscapes' classes, seen in Karlsruhe."""

from __future__ import annotations

from typing import Any

from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class KITTIDataset(CityscapesDataset):
    """KITTI 2015 semantics: `training/image_2` and `training/semantic_train_ids`.

    The labels come as Cityscapes ids: tools/dataset_converters/kitti.py maps them and writes the
    lists of a split. Image sizes differ a little from drive to drive (the list is UNVERIFIED).

    Args:
        kwargs: as for mmseg's BaseSegDataset.
    """

    def __init__(
        self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs: Any
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
