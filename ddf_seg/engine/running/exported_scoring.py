"""Scores a network that tools/export.py wrote on a config's test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, METRICS

from ...command_line import say
from ...errors import UsageError, in_a_line
from ...runtime import Segmenter
from ..predicting.exported import ExportedBackend
from .scoring import has_labels

SUFFIXES = ('.onnx', '.xml')


def score_exported(cfg: Config, file: Path) -> dict[str, float]:
    """What the config's evaluators say of an exported network.

    Images are read as `predict` reads them for such a file: as they are, whatever the config's
    pipeline does to them. The labels are the pipeline's.

    Args:
        cfg: has the test set and its evaluators.
        file: .onnx or .xml.

    Raises:
        UsageError: the file cannot be loaded or has other classes than the test set; or the test
            set cannot be read, or has no labels.
    """
    backend = ExportedBackend(Segmenter(file), str(file))
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    if cfg.get('test_dataloader') is None or not has_labels(cfg):
        raise UsageError('the config has no test set with labels (test_dataloader) to score on')
    try:
        dataset: Any = DATASETS.build(cfg.test_dataloader.dataset)
        count = len(dataset)
    except Exception as error:
        raise UsageError(f"the config's test set cannot be read: {in_a_line(error)}") from error
    classes = len(dataset.metainfo['classes'])
    if classes != len(backend.classes.names):
        raise UsageError(
            f'{file}: expected the {classes} classes of the test set, got '
            f'{len(backend.classes.names)}'
        )
    metrics = cfg.test_evaluator
    metrics = metrics if isinstance(metrics, (list, tuple)) else [metrics]
    evaluator = Evaluator([METRICS.build(metric) for metric in metrics])
    evaluator.dataset_meta = dataset.metainfo
    for index in range(count):
        sample = dataset[index]['data_samples']
        image = Path(dataset.get_data_info(index)['img_path'])
        view = backend.view(backend.read(image))
        backend.check_size(view, image)
        (prediction,) = backend.segment([view], doubt=False)
        ids = torch.from_numpy(prediction.ids.astype('int64'))
        sample.pred_sem_seg = PixelData(data=ids[None])
        evaluator.process([sample])
        if (index + 1) % 50 == 0:
            say(f'{index + 1} of {count} images')
    return evaluator.evaluate(count)
