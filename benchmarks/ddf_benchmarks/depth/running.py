"""One run: a row, a factor and a seed, by the config that a user trains with."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import METRICS

from ddf_seg.models.depth_upsampler import DepthUpsampler

from ..measure import machine
from ..runs import write_result
from .methods import COLOUR, FIXED, SPATIAL, TRAINED, Interpolation, JointBilateral

# Training scenes that the joint bilateral filter's parameters are chosen on
CHOSEN_ON = 40


@dataclass(frozen=True)
class Run:
    """A row of the table, how many times it enlarges, and the seed of start and order."""

    row: str
    factor: int
    seed: int

    def file(self, results: Path) -> Path:
        name = self.row.replace(', ', '-').replace(' ', '-').lower()
        return results / f'{name}-x{self.factor}-{self.seed}.json'


def settings_of(cfg: Config, run: Run) -> ConfigDict:
    """The model's config for a run, without its type."""
    settings = copy.deepcopy(cfg.model)
    settings.pop('type')
    return ConfigDict(settings, factor=run.factor, ddf_cfg=TRAINED.get(run.row, {}))


def train(cfg: Config, run: Run) -> DepthUpsampler:
    """A row's network, trained as the config says."""
    cfg = copy.deepcopy(cfg)
    cfg.model = dict(type='DepthUpsampler', **settings_of(cfg, run))
    cfg.randomness = dict(seed=run.seed)
    cfg.log_level = 'ERROR'
    # Scored once, at the end, by `score`
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        # mmengine keeps a visualizer for each name and second, with its folder.
        cfg.experiment_name = Path(folder).name
        runner = Runner.from_cfg(cfg)
        network: DepthUpsampler = runner.model
        if run.row == 'convolutions alone':
            network.upsamples.requires_grad_(False)
        runner.train()
    return network


@torch.no_grad()
def score(network: DepthUpsampler, loader: Any) -> dict[str, float]:
    """RMSE in cm over the images of a loader, and processor milliseconds for one (median)."""
    data, metric = Runner.build_dataloader(loader), METRICS.build(dict(type='DepthRMSEMetric'))
    network.eval()
    milliseconds = []
    for batch in data:
        begin = time.process_time()
        found = network.val_step(batch)
        milliseconds.append(1e3 * (time.process_time() - begin))
        metric.process(batch, found)
    rmse = metric.evaluate(len(data.dataset))['rmse']
    return dict(rmse=round(rmse, 2), milliseconds=round(statistics.median(milliseconds), 1))


def fixed(cfg: Config, run: Run) -> tuple[DepthUpsampler, dict[str, float]]:
    """What is not trained, and its parameters: those that are best on training scenes."""
    settings = settings_of(cfg, run)
    if run.row != 'joint bilateral':
        return Interpolation(run.row, **settings), {}
    loader = copy.deepcopy(cfg.val_dataloader)
    loader.dataset.update(data_prefix=cfg.train_dataloader.dataset.data_prefix, indices=CHOSEN_ON)
    candidates = {
        (spatial, colour): JointBilateral(spatial, colour, **settings)
        for spatial, colour in product(SPATIAL, COLOUR)
    }
    best = min(candidates, key=lambda key: score(candidates[key], loader)['rmse'])
    return candidates[best], dict(spatial=best[0], colour=best[1])


def run_row(cfg: Config, run: Run, results: Path) -> None:
    """Trains a row where it is trained, scores it, and writes its result as a JSON file."""
    # mmengine warns of a metric without a prefix.
    MMLogger.get_current_instance().setLevel('ERROR')
    init_default_scope('mmseg')
    chosen: dict[str, float] = {}
    if run.row in FIXED:
        network, chosen = fixed(cfg, run)
    else:
        network = train(cfg, run)
    entry = dict(
        **asdict(run),
        **chosen,
        iterations=0 if run.row in FIXED else cfg.train_cfg.max_iters,
        parameters=0 if run.row in FIXED else sum(p.numel() for p in network.parameters()),
        scores=score(network, cfg.val_dataloader),
        machine=machine(torch.device('cpu')),
        torch=torch.__version__,
    )
    write_result(run.file(results), entry)
