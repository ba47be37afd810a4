"""SYNTHIA: most of Cityscapes' classes, rendered."""

from __future__ import annotations

from mmseg.registry import DATASETS

from .gta5 import GTA5Dataset


@DATASETS.register_module()
class SYNTHIADataset(GTA5Dataset):
    """SYNTHIA-RAND-CITYSCAPES: `RGB/*.png` and `GT/LABELS/*_labelTrainIds.png`.

    The labels come from tools/dataset_converters/synthia.py. Terrain, truck and train do not occur:
    over Cityscapes' 19 classes, the mIoU of the usual 16-class protocol is mIoU·19/16 (DAFormer).
    The 13-class protocol (without wall, fence, pole) is UNVERIFIED.

    Args:
        kwargs: as for mmseg's BaseSegDataset.
    """
