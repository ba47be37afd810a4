"""Road-scene datasets that mmseg lacks, a file each, and a transform, in mmseg's registries."""

from __future__ import annotations

from .acdc import ACDCDataset
from .camvid import CamVid32Dataset, CamVidDataset
from .class_transforms import ColourJitter, PackClass, RandomAreaCrop, ShiftCrop
from .classification import CIFAR10Dataset, ImageFolders
from .depth import LoadDepth, RGBDDataset
from .gta5 import GTA5Dataset
from .idd import IDDDataset
from .kitti import KITTIDataset
from .muses import MUSESDataset
from .nuimages import NuImagesDataset
from .railsem19 import RailSem19Dataset
from .random_appearance import RandomAppearance
from .synthia import SYNTHIADataset
from .wilddash2 import WildDash2Dataset

__all__ = [
    'ACDCDataset',
    'CIFAR10Dataset',
    'CamVid32Dataset',
    'CamVidDataset',
    'ColourJitter',
    'GTA5Dataset',
    'IDDDataset',
    'ImageFolders',
    'KITTIDataset',
    'LoadDepth',
    'MUSESDataset',
    'NuImagesDataset',
    'PackClass',
    'RGBDDataset',
    'RailSem19Dataset',
    'RandomAppearance',
    'RandomAreaCrop',
    'SYNTHIADataset',
    'ShiftCrop',
    'WildDash2Dataset',
]
