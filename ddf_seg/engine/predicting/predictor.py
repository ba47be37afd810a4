"""Segments images and videos, and writes what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmseg.apis import inference_model
from rich.progress import Progress

from ...errors import UsageError
from ..images.reading import to_picture
from .classes import Classes
from .drawing import Drawing
from .image_size import TrainingSizes, warn_of_size
from .inputs import Inputs
from .network import Network
from .results import (
    CLASS_TABLE,
    FOLDERS,
    is_class_table,
    is_video,
    result_paths,
    write_results,
)
from .tally import Tally
from .videos import predict_video


@dataclass
class Predictor:
    """A segmentor that draws its prediction over the image.

    Attributes:
        network: the segmentor.
        classes: names and colours.
        drawing: how it is drawn.
        scale: factor by which images are resized in addition to the config's pipeline.
        sizes: of the images in training, if known.
        unusual: inputs in which the network sees things far larger or smaller than in training.
    """

    network: Network
    classes: Classes
    drawing: Drawing
    scale: float = 1.0
    sizes: TrainingSizes | None = None
    unusual: set[Path] = field(default_factory=set)

    def __call__(
        self, image: np.ndarray, file: Path, all_classes: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The class ids (H, W), uint8 or for many classes uint16, and the overlay (H', W, 3), BGR.

        Args:
            image: as the network's reader reads it.
            file: where it is from, for a warning.
            all_classes: see `Drawing`.
        """
        result = inference_model(self.network.model, image)
        warn_of_size(
            self.sizes, result.metainfo['img_shape'][:2], file, self.unusual,
            lambda factor: f'try --scale {self.scale * factor:.2g}',
        )  # fmt: skip
        ids = result.pred_sem_seg.data[0].cpu().numpy()
        ids = ids.astype(np.uint8 if len(self.classes.names) <= 256 else np.uint16)
        return ids, self.drawing(to_picture(image), ids, result.seg_logits.data, all_classes)

    def segment_frame(self, frame: np.ndarray, file: Path) -> tuple[np.ndarray, np.ndarray]:
        """As for an image, of a video's frame, (H, W, 3) uint8, BGR."""
        return self(self.network.read.convert(frame), file, all_classes=True)


def check_targets(inputs: Inputs, out_dir: Path) -> None:
    """Makes sure that no result would be written over an input, or over what is no result.

    Raises:
        UsageError: names the file or folder.
    """
    if not is_class_table(out_dir / CLASS_TABLE):
        for path in (out_dir / name for name in (CLASS_TABLE, *FOLDERS)):
            if path.exists():
                raise UsageError(
                    f'--out-dir {out_dir}: {path} exists, but not from an earlier run, and results '
                    'would be written over it. Give another folder'
                )
    taken = {path for file, name in inputs.names.items() for path in result_paths(file, name)}
    targets = [(out_dir / kind).resolve() for kind in FOLDERS]
    folders = {folder: folder.resolve() for folder in {file.parent for file in inputs.names}}
    for file in inputs.names:
        folder = folders[file.parent]
        for target in targets:
            if not folder.is_relative_to(target):
                continue
            path = folder.relative_to(target) / file.name
            if path in taken or taken.intersection(path.parents):
                raise UsageError(
                    f'--out-dir {out_dir}: {file} is an input, and a result would be written over '
                    'it. Give another folder'
                )


def predict(predictor: Predictor, inputs: Inputs, out_dir: Path, progress: Progress) -> Tally:
    """Segments all inputs, see `Tally`."""
    tally = Tally(len(inputs.names), inputs.unreadable, 'segmented', out_dir)
    with tally.interruptible():
        for file, name in progress.track(inputs.names.items(), description='Segmenting'):
            with tally.counting(file):
                if is_video(file):
                    predict_video(predictor.segment_frame, file, name, out_dir, progress)
                else:
                    results = predictor(predictor.network.read(file), file)
                    write_results(out_dir, name, *results)
    return tally
