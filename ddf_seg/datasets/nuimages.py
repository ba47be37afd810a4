"""nuImages."""

from __future__ import annotations

from typing import Any, ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..annotations import metainfo


@DATASETS.register_module()
class NuImagesDataset(BaseSegDataset):
    """nuImages with 25 classes: 23 kinds of object, the driveable surface, the ego vehicle.

    Most of an image is unlabelled and ignored: buildings, trees and sky have no class. Expects
    `samples/CAM_*/*.jpg`, and `semantic/CAM_*/*.png` and `splits/{train,val}.txt` as written by
    tools/dataset_converters/nuimages.py. UNVERIFIED: the sizes of the splits, and of the images
    (1600×900; the converter takes them from the metadata).

    Args:
        kwargs: as for mmseg's BaseSegDataset.
    """

    METAINFO: ClassVar[dict[str, Any]] = metainfo('nuimages')
