"""Shows how the filters develop during training."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import pseudo_collate
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from ..engine.images.pictures import UnreadableError
from ..engine.images.reading import ImageReader
from ..engine.lookup.datasets import leaves
from ..engine.lookup.models import label_range, unwrapped
from ..engine.predicting.classes import Classes, make_classes
from ..errors import UsageError
from .inspection import Inspection, inspect_batch

PICTURES = ('overview', 'points', 'phases', 'footprint', 'maps', 'classes', 'channels')


@HOOKS.register_module()
class FilterVisualizationHook(Hook):
    """Draws the filters of some validation images and gives the pictures to all vis backends.

    The network runs as it is being trained (not its moving average), in evaluation mode. Drawing
    changes neither its weights and statistics nor the random numbers of the training.

    Args:
        interval: iterations between drawings; 0: never.
        images: indices in the validation dataset, or how many to spread over it evenly.
        layers: names of DDF calls or of modules; default: the last call, whose filters are the
            finest. 'overview' shows all of them.
        pictures: some of 'overview', 'points', 'phases', 'footprint', 'maps', 'classes' and
            'channels', where the layers have them (see `layer_pictures`).

    Raises:
        ValueError: an unknown picture.
    """

    priority = 'LOW'

    def __init__(
        self,
        interval: int = 1000,
        images: int | Sequence[int] = 2,
        layers: Sequence[str] | None = None,
        pictures: Sequence[str] = ('overview',),
    ) -> None:
        if unknown := [name for name in pictures if name not in PICTURES]:
            raise ValueError(f'pictures: expected some of {PICTURES}, got {unknown[0]!r}')
        self.interval = interval
        self.images = images
        self.layers = layers
        self.pictures = tuple(pictures)
        self._points: dict[int, Any] = {}
        self._started = 0.0
        self._spent = 0.0

    def before_train(self, runner: Runner) -> None:
        if self.interval > 0 and runner._val_loop is None:
            raise UsageError('FilterVisualizationHook: the config has no val_dataloader to show')
        self._started = time.perf_counter()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        if self.every_n_train_iters(runner, self.interval):
            self._draw(runner)

    @master_only
    def _draw(self, runner: Runner) -> None:
        started = time.perf_counter()
        model = unwrapped(runner.model)
        dataset = runner.val_dataloader.dataset
        number = label_range(model)[0]
        assert number is not None
        classes = make_classes(dataset.metainfo, number)
        for index in self._indices(dataset):
            with _evaluating(model):
                inspection = self._inspect(model, dataset, index, classes)
            for name, picture in self._pictures_of(inspection, index):
                # The local backend writes into one folder and makes none.
                runner.visualizer.add_image(f'filters_{index}_{name}', picture, runner.iter + 1)
        now = time.perf_counter()
        self._spent += now - started
        share = 100 * self._spent / (now - self._started)
        runner.logger.info(
            f'Drew the filters in {now - started:.1f} s; so far {share:.1f} % of the training time'
        )

    def _indices(self, dataset: Any) -> list[int]:
        size = len(dataset)
        if isinstance(self.images, int):
            return np.linspace(0, size - 1, min(self.images, size)).round().astype(int).tolist()
        if wrong := [index for index in self.images if not 0 <= index < size]:
            raise UsageError(
                f'FilterVisualizationHook: images: expected indices from 0 to {size - 1} (the '
                f'validation images), got {wrong[0]}'
            )
        return list(self.images)

    def _inspect(self, model: nn.Module, dataset: Any, index: int, classes: Classes) -> Inspection:
        batch = pseudo_collate([dataset[index]])
        image = _read(dataset, batch['data_samples'][0].img_path)
        # An overview shows all layers.
        layers = None if 'overview' in self.pictures else self.layers
        try:
            return inspect_batch(model, batch, image, classes, layers)
        except ValueError as error:
            raise UsageError(f'FilterVisualizationHook: {error}') from error

    def _pictures_of(self, inspection: Inspection, index: int) -> Iterator[tuple[str, np.ndarray]]:
        # Training without this hook needs no matplotlib.
        from . import pictures
        from .capture import calls_of
        from .points import pick_points

        # The same points throughout, those of the labels where there are any.
        if index not in self._points:
            known = inspection.truth if inspection.truth is not None else inspection.prediction
            self._points[index] = pick_points(known, inspection.classes.names)[:8]
        points = self._points[index]
        if 'overview' in self.pictures:
            yield 'overview', pictures.to_array(pictures.draw_overview([inspection], points))
        names = [call.layer for call in inspection.calls]
        for layer in calls_of(names, self.layers) if self.layers else names[-1:]:
            for name, figure in pictures.layer_pictures(
                [inspection], layer, points, names=self.pictures
            ):
                yield f'{layer}_{name}', pictures.to_array(figure)


def _read(dataset: Any, path: str) -> np.ndarray:
    """An image of a dataset, as its pipeline loads it."""
    try:
        return ImageReader(leaves(dataset)[0].pipeline.transforms[0])(Path(path))
    except UnreadableError as error:
        raise UsageError(f'FilterVisualizationHook: {path}: {error}') from error


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each module in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
