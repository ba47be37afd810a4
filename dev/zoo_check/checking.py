"""What becomes of a model of the zoo."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ddf_seg.engine.config_file import load_config
from ddf_seg.engine.lookup.configs import walk
from ddf_seg.errors import UsageError
from ddf_seg.swap import config_text, plan_swap, swap_heads
from ddf_seg.swap.probe import for_size, without_pretrained
from ddf_seg.swap.upgrading import TOLERANCE, class_scores, compare_scores

# Height and width, the smallest first: LRASPPHead pools by windows of 49 pixels at stride 8.
SIZES = ((64, 96), (192, 256), (416, 448))
BATCH = 2
OUTCOMES = ('swapped', 'refused', 'failed', 'original does not run')


@dataclass
class Result:
    """What became of a model.

    Attributes:
        config: of the zoo, relative to its root.
        outcome: one of `OUTCOMES`.
        reason: why it was refused, failed, or does not run.
        notes: what the swap changed, in words.
        size: of the image, height and width.
        learning: parameters that DDF brought; each got a gradient, at the latest after a step.
        kept: entries of the original's state dict that the swapped model took.
        dropped: those it has no place for, all of the swapped head.
        exact: whether the swapped model has to compute, with them, what the original does. Not
            where entries were dropped, nor where guides make steps of one interpolation.
        difference: the largest difference of class scores, in parts of the largest score.
        agreement: the share of pixels that get the original's class.
        seconds: what it took.
    """

    config: str
    outcome: str
    reason: str = ''
    notes: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None
    learning: int = 0
    kept: int = 0
    dropped: int = 0
    exact: bool = False
    difference: float | None = None
    agreement: float | None = None
    seconds: float = 0.0


class SwapFailure(Exception):
    """A swapped model that does not do what its original does."""


def check_model(config: str, source: str) -> Result:
    """Everything that is asked of one model.

    Args:
        config: its name in the result.
        source: a file, or 'mmseg::…'.
    """
    started = time.monotonic()
    result = Result(config, 'swapped')
    try:
        _check(source, result)
    except UsageError as error:
        result.outcome, result.reason = 'refused', str(error)
    except SwapFailure as error:
        result.outcome, result.reason = 'failed', in_short(error.__cause__ or error)
    except Exception as error:
        result.outcome, result.reason = 'original does not run', in_short(error)
    result.seconds = round(time.monotonic() - started, 1)
    return result


def in_short(error: BaseException) -> str:
    return f'{type(error).__name__}: ' + ' '.join(str(error).split())[:300]


def _check(source: str, result: Result) -> None:
    torch.manual_seed(0)
    try:
        cfg = load_config(source)
    except UsageError as error:
        raise RuntimeError(str(error)) from error
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    try:
        swap = plan_swap(cfg)
    except Exception as error:
        if isinstance(error, UsageError) and error.__cause__ is None:
            raise  # refused for what it is
        # Because the original does not run? Then let it say so itself.
        run_original(cfg)
        raise SwapFailure from error
    original, result.size = run_original(cfg)
    result.notes = swap.notes
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'swapped.py'
            path.write_text(config_text(swap, source, path))
            written = load_config(str(path))
        if _without_scope(written) != _without_scope(swap_heads(cfg)):
            raise SwapFailure('the written config is another than swap_heads makes')
        model = build(written, result.size)
        _take_weights(model, original.state_dict(), result)
        _compare(original, model, result)
        for head in stages(model.decode_head):
            head.init_weights()
        _predict(model, result.size)
        _check_gradients(model, dict(original.named_parameters()), result)
    except SwapFailure:
        raise
    except Exception as error:
        raise SwapFailure from error


def _without_scope(cfg: Config) -> dict[str, Any]:
    """The model, without what mmengine adds to a base of another package."""
    model: dict[str, Any] = cfg.model.to_dict()
    for _, node in walk(model):
        node.pop('_scope_', None)
    return model


def run_original(cfg: Config) -> tuple[Any, tuple[int, int]]:
    """The original after a training step, and the smallest size of images that it runs on."""
    *smaller, largest = SIZES
    for size in smaller:
        # A window larger than a map, one value a channel to normalise, patches that do not fit.
        with suppress(RuntimeError, ValueError, AssertionError):
            return _original(cfg, size), size
    return _original(cfg, largest), largest


def _original(cfg: Config, size: tuple[int, int]) -> Any:
    model = build(cfg, size)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            # The statistics of the one batch that follows: without them, the scores of a deep
            # network without training are those of its last bias, whatever comes before.
            module.momentum = None
    _predict(model, size)
    _learn(model, size)
    return model


def build(cfg: Config, size: tuple[int, int]) -> Any:
    model = for_size(without_pretrained(cfg.model.to_dict()), size)
    # It would pad the images to the crops of the training.
    if model.get('data_preprocessor', {}).get('size') is not None:
        model['data_preprocessor']['size'] = size
    return revert_sync_batchnorm(MODELS.build(Config(dict(model=model)).model))


def stages(modules: Any) -> Sequence[Any]:
    return list(modules) if isinstance(modules, nn.ModuleList) else [modules]


def _batch(model: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Random images with all that the zoo's heads learn from."""
    classes = stages(model.decode_head)[-1]
    number = getattr(classes, 'num_classes', 1)
    samples = []
    for _ in range(BATCH):
        labels = torch.randint(0, number, (1, *size))
        labels[:, :4] = 255
        sample = SegDataSample(
            metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1.0, 1.0))
        )
        sample.gt_sem_seg = PixelData(data=labels)
        sample.gt_edge_map = PixelData(data=torch.randint(0, 2, (1, *size)))
        sample.gt_depth_map = PixelData(data=torch.rand(1, *size) + 0.1)
        samples.append(sample)
    # Change detection sees two pictures at once.
    channels = len(model.data_preprocessor.mean)
    images = [torch.randint(0, 256, (channels, *size), dtype=torch.uint8) for _ in range(BATCH)]
    return dict(inputs=images, data_samples=samples)


def _predict(model: Any, size: tuple[int, int]) -> None:
    model.eval()
    with torch.no_grad():
        predicted = model.test_step(_batch(model, size))
    kinds = ('pred_sem_seg', 'pred_depth_map')
    shapes = {tuple(x.get(kind).shape) for x in predicted for kind in kinds if kind in x}
    if shapes != {tuple(size)}:
        raise RuntimeError(f'predictions of shape {shapes}, expected {size}')


def _learn(model: Any, size: tuple[int, int]) -> None:
    """A training step's forward and backward."""
    model.train()
    batch = model.data_preprocessor(_batch(model, size), True)
    loss, logs = model.parse_losses(model(**batch, mode='loss'))
    for name, value in logs.items():
        if not torch.isfinite(torch.as_tensor(value)).all():
            raise RuntimeError(f'{name} is {value}')
    loss.backward()


def _compare(original: Any, model: Any, result: Result) -> None:
    """Makes sure that the swapped model computes what the original does, where it can."""
    assert result.size is not None
    x = torch.randn(1, len(model.data_preprocessor.mean), *result.size)
    then, now = (class_scores(network.eval(), x) for network in (original, model))
    result.difference, result.agreement = compare_scores(then, now)
    heads = [head for part in stages(model.decode_head) for head in part.modules()]
    guided = any(getattr(head, 'guide_index', ()) for head in heads)
    result.exact = not guided and not result.dropped
    if result.exact and not result.difference <= TOLERANCE:
        raise SwapFailure(
            f"with the original's weights, class scores differ by {result.difference:.0e} of the "
            f'largest, and {1 - result.agreement:.1%} of the pixels get another class'
        )


def _take_weights(model: Any, weights: dict[str, Tensor], result: Result) -> None:
    # Raises where an entry of the same name has another shape.
    left = model.load_state_dict(weights, strict=False).unexpected_keys
    if others := [key for key in left if not key.startswith('decode_head.')]:
        raise SwapFailure(f"weights outside the head that don't fit: {others[:3]}")
    guided = any('GuidedHead' in note for note in result.notes)
    if left and guided:
        raise SwapFailure(f"weights of a guided head that don't fit: {left[:3]}")
    result.kept, result.dropped = len(weights) - len(left), len(left)


def _check_gradients(model: Any, theirs: Collection[str], result: Result) -> None:
    """Makes sure that every parameter of DDF learns.

    Some only do after a step: what is multiplied by a factor, or a query, that starts at 0.
    """
    assert result.size is not None
    ours = {name: p for name, p in model.named_parameters() if name not in theirs}
    if not ours:
        raise SwapFailure('the swapped model has no parameters of DDF')
    _learn(model, result.size)
    torch.optim.Adam(ours.values(), lr=1e-3).step()
    model.zero_grad()
    _learn(model, result.size)
    still = [
        name
        for name, p in ours.items()
        if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
    ]
    if still:
        raise SwapFailure(f'of {len(ours)} parameters of DDF these get no gradient: {still[:4]}')
    result.learning = len(ours)
