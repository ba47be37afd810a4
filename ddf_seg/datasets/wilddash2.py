"""WildDash 2."""

from __future__ import annotations

from typing import Any, ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..annotations import metainfo


@DATASETS.register_module()
class WildDash2Dataset(BaseSegDataset):
    """WildDash 2 with the 26 classes of its evaluation.

    Expects `images/*.jpg`, and `semantic_train_ids/*.png` and `splits/{train,val}.txt` as written
    by tools/dataset_converters/wilddash2.py. UNVERIFIED: the images' size (1920×1080).

    Args:
        kwargs: as for mmseg's BaseSegDataset.
    """

    METAINFO: ClassVar[dict[str, Any]] = metainfo('wilddash2')
