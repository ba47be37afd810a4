"""Datasets with Cityscapes' 19 classes and file names of their own."""

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


@DATASETS.register_module()
class SYNTHIADataset(GTA5Dataset):
    """SYNTHIA-RAND-CITYSCAPES: `RGB/*.png` and `GT/LABELS/*_labelTrainIds.png`.

    The labels come from tools/dataset_converters/synthia.py. Terrain, truck and train do not occur:
    over Cityscapes' 19 classes, the mIoU of the usual 16-class protocol is mIoU·19/16 (DAFormer).
    The 13-class protocol (without wall, fence, pole) is UNVERIFIED.

    Args:
        kwargs: as for mmseg's BaseSegDataset.
    """
