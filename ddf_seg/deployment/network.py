"""A segmentor with all that stands before and after it: image in, class ids out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.models import SegDataPreProcessor
from torch import Tensor, nn

from ..engine.predicting.network import Network, find_classes
from ..errors import UsageError


@dataclass(frozen=True)
class Interface:
    """What an exported network takes and gives.

    Attributes:
        layout: of the images: 'nhwc' (N, H, W, 3) or 'nchw' (N, 3, H, W); uint8.
        colours: their order, 'bgr' or 'rgb'.
        output: 'ids': (N, H, W), uint8, for more than 256 classes int32; 'scores' before softmax,
            or 'probabilities': (N, classes, H, W), float32.
    """

    layout: str = 'nhwc'
    colours: str = 'bgr'
    output: str = 'ids'

    @property
    def size_axes(self) -> tuple[int, int]:
        """Where the images' height and width are."""
        return (1, 2) if self.layout == 'nhwc' else (2, 3)

    def image_shape(self, count: int, size: tuple[int, int]) -> tuple[int, ...]:
        return (count, *size, 3) if self.layout == 'nhwc' else (count, 3, *size)


USUAL = Interface()


class ImageSegmentor(nn.Module):
    """Colour order, normalisation, padding, the segmentor of mmseg, and the choice of the class.

    What `mmseg.apis.inference_model` computes of an image that the test pipeline leaves at its
    size; a segmentor of mode 'slide' sees the image whole.

    Args:
        model: the segmentor.
        interface: what goes in and comes out.

    Raises:
        UsageError: its data_preprocessor is none of mmseg's.
    """

    def __init__(self, model: Any, interface: Interface = USUAL) -> None:
        super().__init__()
        self.model = model
        self.interface = interface
        self.preprocessor = model.data_preprocessor
        if not isinstance(self.preprocessor, SegDataPreProcessor):
            raise UsageError(
                'model.data_preprocessor: expected a SegDataPreProcessor, got '
                f'{type(self.preprocessor).__name__}'
            )

    def forward(self, image: Tensor) -> Tensor:
        """Segments images.

        Args:
            image: as `interface` says.

        Returns:
            As `interface` says, at the images' size.
        """
        height, width = (image.shape[axis] for axis in self.interface.size_axes)
        x = self._prepared(image)
        size = tuple(x.shape[2:])
        meta = dict(ori_shape=size, img_shape=size, pad_shape=size, padding_size=[0] * 4)
        # Heads read the first one alone, so a free number of images may share it.
        count = x.shape[0] if isinstance(x.shape[0], int) else 1
        scores: Tensor = self.model.encode_decode(x, [meta] * count)
        scores = scores[:, :, :height, :width]
        if self.interface.output == 'scores':
            return scores
        if scores.shape[1] == 1:
            foreground = scores.sigmoid()
            if self.interface.output == 'probabilities':
                return foreground
            return (foreground[:, 0] > self.model.decode_head.threshold).to(torch.uint8)
        if self.interface.output == 'probabilities':
            return scores.softmax(dim=1)
        # OpenVINO finds the largest along the last axis in half of the time.
        ids = scores.permute(0, 2, 3, 1).argmax(dim=3)
        return ids.to(torch.uint8 if scores.shape[1] <= 256 else torch.int32)

    def _prepared(self, image: Tensor) -> Tensor:
        """As mmseg's SegDataPreProcessor does in testing, (N, 3, H', W')."""
        known = self.preprocessor
        # First of all a cast: TensorRT has uint8 for inputs and outputs alone.
        x = image.float()
        if self.interface.layout == 'nhwc':
            x = x.permute(0, 3, 1, 2)
        # The preprocessor expects BGR, as OpenCV reads it.
        if _swaps_colours(known) != (self.interface.colours == 'rgb'):
            x = x.flip(1)
        if known._enable_normalize:
            x = (x - known.mean) / known.std
        to = known.test_cfg or {}
        size = tuple(x.shape[2:])
        if to.get('size') is not None:
            size = tuple(torch.sym_max(n, least) for n, least in zip(size, to['size'], strict=True))
        elif to.get('size_divisor') is not None:
            # Written so that torch.export sees that it is positive, and what divides it.
            divisor = to['size_divisor']
            size = tuple((n + divisor - 1) // divisor * divisor for n in size)
        below, right = (new - n for new, n in zip(size, x.shape[2:], strict=True))
        return F.pad(x, (0, right, 0, below), value=float(known.pad_val))


def _swaps_colours(preprocessor: SegDataPreProcessor) -> bool:
    """Whether it makes RGB of BGR."""
    # In the maintained fork, its base class says so.
    names = ('channel_conversion', '_channel_conversion')
    return any(getattr(preprocessor, name, False) for name in names)


@dataclass(frozen=True)
class Metadata:
    """What an exported file says of itself.

    Attributes:
        classes: names, in the order of the ids.
        palette: their colours, RGB.
        size_divisor: what height and width are padded to multiples of, within the graph.
        config: the name of the config.
        layout, colours, output: see `Interface`.
        least_size: the least height and width of images.
    """

    classes: list[str]
    palette: list[list[int]]
    size_divisor: int
    config: str
    layout: str = 'nhwc'
    colours: str = 'bgr'
    output: str = 'ids'
    least_size: int = 1

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def metadata_of(
    network: Network,
    cfg: Config,
    config: str,
    interface: Interface = USUAL,
    least_size: int = 1,
) -> tuple[Metadata, str]:
    """What an exported network says of itself, and what the user should know about it, or ''.

    Args:
        network: segmentor and checkpoint.
        cfg: its config.
        config: the config's name.
        interface: what goes in and comes out.
        least_size: the least height and width of images.
    """
    model = network.model
    classes = find_classes(network.meta, cfg, model.num_classes)
    notes = [classes.note] if classes.note else []
    if model.test_cfg.mode == 'slide':
        notes.append(
            "the config's test_cfg slides a window over the image; the exported network sees it "
            'whole, and its result differs'
        )
    divisor = (model.data_preprocessor.test_cfg or {}).get('size_divisor') or 1
    about = Metadata(
        classes.names,
        classes.palette.tolist(),
        divisor,
        config,
        least_size=least_size,
        **asdict(interface),
    )
    return about, '; '.join(notes)
