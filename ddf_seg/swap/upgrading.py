"""A trained network's weights in its DDF counterpart, and a schedule to train the new parts."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..engine.weights.checkpoints import check_checkpoint, check_fit, open_checkpoint, weights_of
from ..errors import UsageError, in_a_line
from .probe import SIDES, build, without_pretrained

# Of the largest class score: what float32 makes of the same sum in another order.
TOLERANCE = 1e-5
# The rate of the new parts, and what the others' is of it.
_RATE, _SHARE = 1e-3, 0.1


@dataclass(frozen=True)
class Upgrade:
    """What became of a trained network.

    Attributes:
        checkpoint: of the swapped network, for `torch.save`.
        taken: names of the original's entries in it.
        new: names of the parameters that DDF brought.
        lost: entries of the original's weights that have no place any more.
        difference: the largest difference of class scores for one image, in parts of the largest.
        agreement: the share of that image's pixels that get the same class.
    """

    checkpoint: dict[str, Any]
    taken: list[str]
    new: list[str]
    lost: list[str]
    difference: float
    agreement: float

    def schedule(self, iterations: int) -> dict[str, Any]:
        """The entries of a config for a short training that starts from the upgraded weights."""
        return _schedule(self.new, self.taken, iterations)

    @property
    def exact(self) -> bool:
        """Whether the swapped network computes what the original does."""
        return self.difference <= TOLERANCE

    def notes(self) -> list[str]:
        """What happened, in words, one line each."""
        weights = f'weights: {len(self.taken)} entries taken, {len(self.new)} parameters are new'
        if self.lost:
            weights += f', {len(self.lost)} of the original have no place ({self.lost[0]}, …)'
        if self.exact:
            return [
                weights,
                'predictions: those of the original, up to rounding (class scores differ by '
                f'{self.difference:.0e} of the largest), for images whose sides are multiples of '
                'the coarsest stride',
            ]
        return [
            weights,
            f'predictions: {self.agreement:.1%} of the pixels of a random image get the class that '
            'the original gives them; train before use',
        ]


def upgrade(original: Config, swapped: Config, path: Path) -> Upgrade:
    """Puts a trained network's weights into its DDF counterpart, and compares what both compute.

    Args:
        original: config of the trained network.
        swapped: its counterpart, see `swap_heads`.
        path: the trained network's checkpoint.

    Raises:
        UsageError: the checkpoint is missing, damaged, refused or of another model, or one of the
            networks does not run.
    """
    check_checkpoint(path, '--checkpoint')
    trained = open_checkpoint(path).content
    before = build(without_pretrained(original.model.to_dict()))
    check_fit(before, trained, str(path))
    weights = weights_of(trained)
    before.load_state_dict(weights, strict=False)
    weights = before.state_dict()
    after = build(without_pretrained(swapped.model.to_dict()))
    state = after.state_dict()
    fits = {
        key: value
        for key, value in weights.items()
        if key not in state or state[key].shape == value.shape
    }
    missing, lost = after.load_state_dict(fits, strict=False)
    parameters = {name for name, _ in after.named_parameters()}
    then, now = scores_of_both(before, after, original.model.backbone.get('in_channels', 3))
    difference, agreement = compare_scores(then, now)
    meta = trained.get('meta') or {}
    kept = {'dataset_meta': meta['dataset_meta']} if 'dataset_meta' in meta else {}
    return Upgrade(
        checkpoint={'meta': kept, 'state_dict': after.state_dict()},
        taken=[key for key in fits if key not in lost],
        new=[key for key in missing if key in parameters],
        lost=[*lost, *(key for key in weights if key not in fits)],
        difference=difference,
        agreement=agreement,
    )


def scores_of_both(before: nn.Module, after: nn.Module, channels: int) -> tuple[Tensor, Tensor]:
    """Two segmentors' class scores, (1, classes, H, W), for an image drawn at random.

    Args:
        before, after: the segmentors, in eval mode.
        channels: of the image.

    Raises:
        UsageError: one of them does not run.
    """
    generator = torch.Generator().manual_seed(0)
    *smaller, largest = SIDES
    for side in smaller:
        x = torch.randn(1, channels, side, side, generator=generator)
        # A window larger than a map, patches that do not fit.
        with suppress(RuntimeError, ValueError, AssertionError):
            return class_scores(before, x), class_scores(after, x)
    x = torch.randn(1, channels, largest, largest, generator=generator)
    try:
        return class_scores(before, x), class_scores(after, x)
    except Exception as error:
        raise UsageError(f'the networks cannot be compared: {in_a_line(error)}') from error


@torch.no_grad()
def class_scores(model: Any, x: Tensor) -> Tensor:
    """A segmentor's scores (B, classes, H, W) for preprocessed images (B, C, H, W)."""
    size = tuple(x.shape[2:])
    metas = [dict(img_shape=size, ori_shape=size, pad_shape=size) for _ in x]
    scores: Tensor = model.encode_decode(x, metas)
    return scores


def compare_scores(then: Tensor, now: Tensor) -> tuple[float, float]:
    """How two networks' class scores, (B, classes, H, W), differ.

    Returns:
        The largest difference, in parts of the largest score, and the share of the pixels that get
        the same class.
    """
    difference = (now - then).abs().max() / then.abs().max().clamp(min=1e-30)
    return float(difference), float((now.argmax(1) == then.argmax(1)).float().mean())


def _schedule(new: Iterable[str], kept: Iterable[str], iterations: int) -> dict[str, Any]:
    """A short training: the new parts at a full rate, all else at a tenth of it.

    Args:
        new: names of the parameters at the full rate.
        kept: names of the others.
        iterations: how many.

    Returns:
        Entries of a config.
    """
    fast = dict(lr_mult=1 / _SHARE)
    interval = max(1, iterations // 4)
    return dict(
        train_cfg=dict(
            _delete_=True, type='IterBasedTrainLoop', max_iters=iterations, val_interval=interval
        ),
        optim_wrapper=dict(
            _delete_=True,
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=_RATE * _SHARE, weight_decay=0.01),
            clip_grad=dict(max_norm=1.0),
            paramwise_cfg=dict(custom_keys=dict.fromkeys(prefixes(new, kept), fast)),
        ),
        param_scheduler=[
            dict(
                type='LinearLR',
                start_factor=0.01,
                begin=0,
                end=max(1, iterations // 20),
                by_epoch=False,
            ),
            dict(
                type='PolyLR',
                eta_min=0.0,
                power=0.9,
                begin=max(1, iterations // 20),
                end=iterations,
                by_epoch=False,
            ),
        ],
        default_hooks=dict(checkpoint=dict(by_epoch=False, interval=interval)),
        log_processor=dict(by_epoch=False),
    )


def prefixes(new: Iterable[str], kept: Iterable[str]) -> list[str]:
    """The shortest beginnings of names that stand for all new ones and in none of the kept."""
    kept = list(kept)
    found: dict[str, None] = {}
    for name in new:
        parts = name.split('.')
        begins = ('.'.join(parts[:count]) for count in range(1, len(parts) + 1))
        # mmengine looks for them anywhere in a name.
        found[next((b for b in begins if not any(b in other for other in kept)), name)] = None
    return list(found)
