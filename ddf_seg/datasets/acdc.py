"""ACDC: Cityscapes' classes in fog, at night, in rain and in snow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS

CONDITIONS = ('fog', 'night', 'rain', 'snow')


@DATASETS.register_module()
class ACDCDataset(CityscapesDataset):
    """One split of ACDC in some of its four conditions, labels as they come.

    Expects `rgb_anon/{condition}/{split}/…_rgb_anon.png` and
    `gt/{condition}/{split}/…_gt_labelTrainIds.png`, `data_prefix` being `rgb_anon` and `gt`. The
    reference images (`{split}_ref`, clear daylight) are left out.

    Args:
        split: 'train' or 'val'; the labels of 'test' are not public.
        conditions: some of 'fog', 'night', 'rain', 'snow'.
        kwargs: as for mmseg's BaseSegDataset.

    Raises:
        ValueError: a condition has another name.
    """

    def __init__(
        self,
        split: str,
        conditions: Sequence[str] = CONDITIONS,
        img_suffix: str = '_rgb_anon.png',
        seg_map_suffix: str = '_gt_labelTrainIds.png',
        **kwargs: Any,
    ) -> None:
        if unknown := set(conditions) - set(CONDITIONS):
            raise ValueError(f'conditions: expected some of {CONDITIONS}, got {sorted(unknown)}')
        self.folders = {(condition, split) for condition in conditions}
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """mmseg's list, reduced to the images of the split and the conditions."""
        root = self.data_prefix['img_path']
        infos = super().load_data_list()
        parts = [os.path.relpath(info['img_path'], root).split(os.sep) for info in infos]
        wanted = [tuple(folders[:2]) in self.folders for folders in parts]
        return [info for info, keep in zip(infos, wanted, strict=True) if keep]
