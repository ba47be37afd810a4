"""A segmentor of mmseg, run by PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose

from ..lookup.configs import kind_of
from .backend import Prediction, Tiles, View, doubt_of, highest, make_tiles
from .classes import Classes
from .image_size import TrainingSizes, warn_of_size
from .memory import available_memory, check_scaled, needed_memory
from .network import Network
from .optimizing import compile_network, fold_normalization


class PyTorchBackend:
    """A network of config and checkpoint, see `Backend`.

    Args:
        network: segmentor and reader.
        classes: names and colours.
        scale: factor by which images are resized in addition to the config's pipeline.
        sizes: of the images in training, if known.
        optimize: compile it.
    """

    def __init__(
        self,
        network: Network,
        classes: Classes,
        scale: float = 1.0,
        sizes: TrainingSizes | None = None,
        optimize: bool = False,
    ) -> None:
        self.classes = classes
        self.unusual: set[Path] = set()
        self.read = network.read
        self.convert = network.read.convert
        self.model = fold_normalization(network.model)
        if optimize:
            compile_network(self.model)
        self._scale = scale
        self._sizes = sizes
        steps = self.model.cfg.test_pipeline
        *steps, pack = [step for step in steps if kind_of(step) != 'LoadAnnotations']
        # Packing copies: of a large image, only windows are packed.
        self._prepare, self._pack = Compose(steps), Compose([pack])
        self._dtype = np.uint8 if len(classes.names) <= 256 else np.uint16

    def view(self, image: np.ndarray) -> View:
        check_scaled(image.shape[0], image.shape[1], self._scale)
        prepared = self._prepare(dict(img=image))
        seen = prepared['img']

        def scores(rows: slice, columns: slice) -> np.ndarray:
            window = seen[rows, columns]
            height, width = size = window.shape[:2]
            shapes = dict(ori_shape=size, img_shape=size, pad_shape=size)
            packed = self._pack(dict(img=window, **shapes))
            with torch.no_grad():
                data = self.model.data_preprocessor(_batch([packed]), False)
                metas = [sample.metainfo for sample in data['data_samples']]
                found = self.model.encode_decode(data['inputs'], metas)
            cropped: np.ndarray = found[0, :, :height, :width].float().cpu().numpy()
            return cropped

        divisor = (self.model.data_preprocessor.test_cfg or {}).get('size_divisor') or 32
        size, seen_size = image.shape[:2], seen.shape[:2]
        return View(size, seen_size, divisor, scores, self._choose, prepared)

    def segment(self, views: Sequence[View], doubt: bool) -> Sequence[Prediction]:
        packed = [self._pack(dict(view.prepared)) for view in views]
        with torch.no_grad():
            results = self.model.test_step(_batch(packed))
        return [
            Prediction(
                result.pred_sem_seg.data[0].cpu().numpy().astype(self._dtype),
                doubt_of(result.seg_logits.data.float().cpu().numpy()) if doubt else None,
            )
            for result in results
        ]

    def check_doubt(self) -> None:
        """It always does."""

    def check_size(self, view: View, file: Path) -> None:
        warn_of_size(
            self._sizes, view.size, file, self.unusual,
            lambda factor: f'try --scale {self._scale * factor:.2g}',
        )  # fmt: skip

    def _choose(self, scores: np.ndarray) -> np.ndarray:
        if len(scores) > 1:
            return highest(scores)
        # Of two classes, with one score
        chosen = torch.from_numpy(scores[0]).sigmoid() > self.model.decode_head.threshold
        return chosen.numpy().astype(np.uint8)

    def tiles(self, size: Sequence[int] | None, overlap: int | None) -> Tiles:
        config: Any = self.model.test_cfg
        if size or config.get('mode') != 'slide':
            return make_tiles(size or (), overlap)
        # The config's own windows; mmseg would hold their scores for the whole image.
        tiles = make_tiles(config.crop_size, overlap)
        if overlap is None:
            steps = zip(tiles.size, config.stride, strict=True)
            rows, columns = (min(side - step, side // 2) for side, step in steps)
            tiles = Tiles(tiles.size, (rows, columns))
        return tiles

    def memory(self, view: View, number: int) -> tuple[int, int]:
        needed = number * needed_memory(*view.size, self.model.num_classes)
        device = next(self.model.parameters()).device
        if device.type == 'cuda':
            cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            return needed, torch.cuda.mem_get_info(device)[0] + cached
        return needed, available_memory()


def _batch(packed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {key: [each[key] for each in packed] for key in ('inputs', 'data_samples')}
