"""Images with a depth map each, in folders, for mmengine's runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS, TRANSFORMS

from ..errors import UsageError, counted, listed
from ..files import files_below


@DATASETS.register_module()
class RGBDDataset(BaseDataset):
    """An image and a depth map for each name: {img_path}/NAME{img_suffix} and so on.

    Args:
        img_suffix: what the names of images end in.
        depth_map_suffix: what those of depth maps end in.
        kwargs: as for mmengine's BaseDataset (data_root, pipeline, …); data_prefix has the folders
            `img_path` and `depth_map_path`, as for mmseg's NYUDataset.

    Raises:
        UsageError: a folder is missing or empty, or an image or a depth map has no counterpart.
    """

    def __init__(
        self, img_suffix: str = '.png', depth_map_suffix: str = '.png', **kwargs: Any
    ) -> None:
        self.suffixes = {'img_path': img_suffix, 'depth_map_path': depth_map_suffix}
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """The pairs' paths, as mmseg's transforms take them."""
        images, depths = (self._names(kind) for kind in self.suffixes)
        for found, others, kind, missing in (
            (images, depths, 'depth_map_path', 'a depth map for each image'),
            (depths, images, 'img_path', 'an image for each depth map'),
        ):
            if lonely := sorted(found.keys() - others.keys()):
                raise UsageError(
                    f'{self.data_prefix[kind]}: expected {missing}, got none that ends in '
                    f'{self.suffixes[kind]!r} for {listed([found[name] for name in lonely], 3)}'
                )
        return [
            dict(img_path=images[name], depth_map_path=depths[name], seg_fields=[])
            for name in sorted(images)
        ]

    def _names(self, kind: str) -> dict[str, str]:
        folder, suffix = Path(self.data_prefix[kind]), self.suffixes[kind]
        if not folder.is_dir():
            raise UsageError(f'{folder}: expected the folder of {kind}; there is none')
        found = [path for path in files_below(folder) if path.name.endswith(suffix)]
        if not found:
            raise UsageError(f'{folder}: expected files that end in {suffix!r}, got none')
        return {str(path.relative_to(folder))[: -len(suffix)]: str(path) for path in found}


@TRANSFORMS.register_module()
class LoadDepth(BaseTransform):
    """Reads a depth map: results['gt_depth_map'], metres, (H, W), float32.

    Args:
        unit: metres in a step of the file: 1 / 256 for KITTI and the drawn scenes, 1 / 1000 for
            files in millimetres.

    Raises:
        UsageError: the file is no image of one channel and 16 bits, has another size than the
            image, or pixels without depth, which are 0.
    """

    def __init__(self, unit: float = 1 / 256) -> None:
        self.unit = unit

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        path = results['depth_map_path']
        try:
            content = np.fromfile(path, np.uint8)
        except OSError as error:
            raise UsageError(f'{path}: {error}') from error
        steps = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
        if steps is None or steps.ndim != 2 or steps.dtype != np.uint16:
            got = 'no image'
            if steps is not None:
                channels = 1 if steps.ndim == 2 else steps.shape[2]
                got = f'{counted(channels, "channel")} of {8 * steps.itemsize} bits'
            raise UsageError(f'{path}: expected a depth map of one channel and 16 bits, got {got}')
        if steps.shape != results['img_shape'][:2]:
            expected, got = ('{1}×{0}'.format(*s) for s in (results['img_shape'][:2], steps.shape))
            raise UsageError(
                f'{path}: expected the size of its image, {expected} pixels, got {got}'
            )
        if empty := int((steps == 0).sum()):
            raise UsageError(
                f'{path}: expected a depth in each pixel, got 0, which is none, in '
                f'{counted(empty, "pixel")}; fill them first'
            )
        results['gt_depth_map'] = steps.astype(np.float32) * np.float32(self.unit)
        results['seg_fields'].append('gt_depth_map')
        return results
