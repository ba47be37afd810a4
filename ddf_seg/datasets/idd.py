"""India Driving Dataset, level 3."""

from __future__ import annotations

from typing import Any, ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..annotations import metainfo


@DATASETS.register_module()
class IDDDataset(BaseSegDataset):
    """IDD with the 26 classes of level 3, as its evaluation counts them.

    Expects `leftImg8bit/{split}/{drive}/*_leftImg8bit.png` and
    `gtFine/{split}/{drive}/*_gtFine_labellevel3Ids.png`; the labels come from
    tools/dataset_converters/idd.py. UNVERIFIED: that images of part II end in `.jpg` (it would then
    be a dataset of its own with `img_suffix='_leftImg8bit.jpg'`, joined by ConcatDataset); image
    sizes; licence.

    Args:
        kwargs: as for mmseg's BaseSegDataset.
    """

    METAINFO: ClassVar[dict[str, Any]] = metainfo('idd')

    def __init__(
        self,
        img_suffix: str = '_leftImg8bit.png',
        seg_map_suffix: str = '_gtFine_labellevel3Ids.png',
        **kwargs: Any,
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
