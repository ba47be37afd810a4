"""MUSES: Cityscapes' classes in rain, snow, fog and clear weather, by day and by night."""

from __future__ import annotations

from typing import Any

from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class MUSESDataset(CityscapesDataset):
    """MUSES: `frame_camera/{split}/{weather}/{day,night}` and `gt_semantic/…`.

    UNVERIFIED: the sizes of its splits (1500, 250, 750), and whether the test labels are public.

    Args:
        kwargs: as for mmseg's BaseSegDataset.
    """

    def __init__(
        self,
        img_suffix: str = '_frame_camera.png',
        seg_map_suffix: str = '_gt_labelTrainIds.png',
        **kwargs: Any,
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
