"""One run of the study: training, scores and costs, written as one JSON file."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ddf_seg.analysis.models import complexity
from ddf_seg.engine.config_file import read_config
from ddf_seg.engine.explanations import explained
from ddf_seg.engine.running.runners import build_runner
from ddf_seg.errors import UsageError, hint

from . import SPLITS

CONFIGS = Path(__file__).parents[3] / 'configs' / 'study'
# CamVid's 360×480, padded as configs/ddf_camvid.py scores it.
IMAGE = (384, 480)


class Record(Hook):
    """Keeps what a run is about.

    Attributes:
        seconds: processor time of a training iteration, loading of the images included. Other than
            time on the clock, it is the same whatever else the machine does.
        scores: of the last validation.
    """

    seconds: float | None = None
    scores: dict[str, float] | None = None

    def before_train(self, runner: Runner) -> None:
        self._first, self._start = runner.iter, time.process_time()

    def before_val(self, runner: Runner) -> None:
        # Validation, at the end of training, is part of it.
        if done := runner.iter - self._first:
            self.seconds = round((time.process_time() - self._start) / done, 3)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self.scores = {key: float(value) for key, value in (metrics or {}).items()}


def rows() -> list[str]:
    """The names of the study's configs."""
    return sorted(file.stem for file in CONFIGS.glob('*.py'))


def row_config(row: str) -> Config:
    """The config of a row.

    Raises:
        UsageError: there is none of this name.
    """
    if row not in rows():
        raise UsageError(f'row: expected one of {", ".join(rows())}, got {row}{hint(row, rows())}')
    return read_config(str(CONFIGS / f'{row}.py'), None)


def run(row: str, seed: int, split: str, work_dirs: Path, results: Path) -> Path:
    """Train a row with a seed, and score it; unless its result is there.

    Args:
        row: name of a config of the study.
        seed: of the initialisation, and of the images' order and augmentation.
        split: one of SPLITS.
        work_dirs: folder for checkpoints and logs; an interrupted run goes on from there.
        results: folder for the result.

    Returns:
        The file with the result.
    """
    name = '-'.join([row, *([] if split == 'camvid' else [split]), str(seed)])
    result = results / f'{name}.json'
    cfg = row_config(row)
    if result.exists():
        return result
    cfg.work_dir = str(work_dirs / name)
    cfg.resume = True
    cfg.randomness = dict(seed=seed)
    for part, drives in SPLITS[split].items():
        cfg[f'{part}_dataloader'].dataset.drives = drives
    record = Record()
    with explained(cfg):
        runner = build_runner('train', None, cfg)
        runner.register_hook(record)
        runner.train()
        if record.scores is None:
            # It was interrupted after the last iteration. A new runner has the averaged weights:
            # to validate after training starts their average anew.
            runner = build_runner('train', None, cfg)
            runner.register_hook(record)
            runner.val()
    multiply_adds, parameters = complexity(cfg.model.to_dict(), IMAGE)
    entry: dict[str, Any] = dict(
        row=row,
        seed=seed,
        split=split,
        iterations=runner.max_iters,
        batch_size=cfg.train_dataloader.batch_size,
        crop_size=list(cfg.crop_size),
        threads=torch.get_num_threads(),
        seconds_per_iteration=record.seconds,
        parameters=parameters,
        multiply_adds=multiply_adds,
        scores=record.scores,
    )
    results.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(entry, indent=1) + '\n')
    return result
