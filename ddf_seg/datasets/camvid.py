"""CamVid: 11 classes as published with SegNet, and the 31 of Cambridge's original."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..annotations import IGNORE, metainfo

_VOID = 11


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid with 11 classes; its void label, 11, becomes 255.

    Expects `{train,val,test}/*.png` and `{train,val,test}annot/*.png` of the same names, labels
    with ids 0 to 11 (the SegNet tutorial's version of the data, 360×480); or the original images
    with the `labels_grouped` or `labels_strict` that tools/dataset_converters/camvid.py writes.

    Args:
        drives: keep the images of these drives, which file names begin with (0001TP, 0006R0 or
            0016E5; the Seq05VD of the test split); default: all. The usual splits cut through a
            drive: all of val is of 0016E5, as is more than half of train.
        kwargs: as for mmseg's BaseSegDataset.

    Raises:
        ValueError: no image is of these drives.
    """

    METAINFO: ClassVar[dict[str, Any]] = metainfo('camvid')

    def __init__(
        self,
        img_suffix: str = '.png',
        seg_map_suffix: str = '.png',
        drives: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.drives = drives
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """mmseg's list of the images, without those of other drives."""
        images: list[dict[str, Any]] = super().load_data_list()
        if self.drives is None:
            return images
        drives = [Path(image['img_path']).name.partition('_')[0] for image in images]
        if not set(drives) & set(self.drives):
            raise ValueError(f'drives: expected some of {sorted(set(drives))}, got {self.drives}')
        return [image for image, drive in zip(images, drives, strict=True) if drive in self.drives]

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """mmseg's map for a subset of the classes, and void to ignore in any case."""
        return {**(super().get_label_map(new_classes) or {}), _VOID: IGNORE}


@DATASETS.register_module()
class CamVid32Dataset(BaseSegDataset):
    """The original CamVid, 720×960, with 31 classes; the 32nd, Void, is ignored.

    Expects `701_StillsRaw_full/*.png`, and `labels_all/*.png` as written by
    tools/dataset_converters/camvid.py. The licence of the original data is UNVERIFIED.

    Args:
        kwargs: as for mmseg's BaseSegDataset.
    """

    METAINFO: ClassVar[dict[str, Any]] = metainfo('camvid_colours', column='all')

    def __init__(
        self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs: Any
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
