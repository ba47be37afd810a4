"""A backbone as a classifier of images, to be trained before it serves a segmentor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class MeanClassifier(BaseModel):
    """The mean of a backbone's last level over the pixels, and a linear layer.

    A segmentor takes the backbone's weights from a checkpoint of this:
    `init_cfg=dict(type='Pretrained', checkpoint=…, prefix='backbone.')`.

    Args:
        backbone: config of a backbone of mmseg's.
        in_channels: of its last level.
        num_classes: how many there are.
        label_smoothing: part of the labels that is spread over all classes.
        data_preprocessor, init_cfg: as for mmengine's BaseModel.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        in_channels: int,
        num_classes: int,
        label_smoothing: float = 0.1,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.fc = nn.Linear(in_channels, num_classes)
        self.label_smoothing = label_smoothing

    def forward(
        self, inputs: Tensor, data_samples: Sequence[Tensor] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Scores, a loss, or predictions.

        Args:
            inputs: (B, 3, H, W).
            data_samples: the B classes; for 'loss' and 'predict'.
            mode: 'tensor' for scores (B, num_classes), 'loss' for dict(loss=…), 'predict' for a
                dict(scores=…, label=…) of each image.
        """
        scores = self.fc(self.backbone(inputs)[-1].mean((2, 3)))
        if mode == 'tensor':
            return scores
        assert data_samples is not None
        if mode == 'predict':
            return [dict(scores=s, label=int(i)) for s, i in zip(scores, data_samples, strict=True)]
        target = torch.stack(list(data_samples)).to(scores.device)
        loss = F.cross_entropy(scores.float(), target, label_smoothing=self.label_smoothing)
        return dict(loss=loss)
