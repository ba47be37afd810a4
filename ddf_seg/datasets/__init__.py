"""Road-scene datasets that mmseg lacks, in mmseg's registry."""

from __future__ import annotations

from .acdc import ACDCDataset
from .camvid import CamVid32Dataset, CamVidDataset
from .cityscapes_classes import GTA5Dataset, KITTIDataset, MUSESDataset, SYNTHIADataset
from .idd import IDDDataset
from .nuimages import NuImagesDataset
from .railsem19 import RailSem19Dataset
from .wilddash2 import WildDash2Dataset

__all__ = [
    'ACDCDataset',
    'CamVid32Dataset',
    'CamVidDataset',
    'GTA5Dataset',
    'IDDDataset',
    'KITTIDataset',
    'MUSESDataset',
    'NuImagesDataset',
    'RailSem19Dataset',
    'SYNTHIADataset',
    'WildDash2Dataset',
]
