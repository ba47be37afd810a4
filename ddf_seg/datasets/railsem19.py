"""RailSem19."""

from __future__ import annotations

from typing import Any, ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..annotations import metainfo


@DATASETS.register_module()
class RailSem19Dataset(BaseSegDataset):
    """RailSem19: 19 classes seen from trains and trams, labels as they come.

    Expects `jpgs/rs19_val/*.jpg` and `uint8/rs19_val/*.png`. It has no split of its own: usual are
    the first 7650 and the last 850 images, `indices=7650` and `indices=-850`.
    UNVERIFIED: encoding (255 ignored) and colours, which two third parties agree on.

    Args:
        kwargs: as for mmseg's BaseSegDataset.
    """

    METAINFO: ClassVar[dict[str, Any]] = metainfo('railsem19')
