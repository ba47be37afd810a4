"""One run: the rows of a host, one after the other, from one start and on the same batches."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .data import VOID, Image, blocks, drives
from .hosts import rows
from .scoring import score

# 1 / √frequency of the classes, as in configs/ddf_camvid.py: without it, 500 iterations do not
# reach the rare classes.
CLASS_WEIGHTS = (0.26, 0.22, 1.08, 0.19, 0.51, 0.34, 0.99, 1.01, 0.44, 1.34, 1.99)
BATCH = 4
RATE = 2e-3
WARM_UP = 50


@dataclass(frozen=True)
class Run:
    """What a run is of.

    Attributes:
        host: see `hosts.rows`.
        split: 'block-2/5' (the third of five blocks of each drive is scored), or 'drive-0016E5'.
        seed: of the start and the order of the images.
        iterations: of batches of 4 whole images or mirror images.
    """

    host: str
    split: str
    seed: int
    iterations: int = 500

    def indices(self, images: Sequence[Image]) -> tuple[list[int], list[int]]:
        kind, _, which = self.split.partition('-')
        if kind == 'drive':
            return drives(images, which)
        block, count = map(int, which.split('/'))
        return blocks(images, count, block)

    def file(self, results: Path, row: str) -> Path:
        split = self.split.replace('/', 'of')
        return results / f'{self.host}-{row}-{split}-{self.seed}.json'


def start_alike(head: nn.Module, start: dict[str, Tensor]) -> None:
    """Gives a head what it shares with another row's start, by name and shape."""
    own = head.state_dict()
    shared = {k: v for k, v in start.items() if k in own and own[k].shape == v.shape}
    head.load_state_dict({**own, **shared})


def train(
    head: nn.Module, images: Sequence[tuple[Image, Image]], run: Run
) -> tuple[list[float], float]:
    """Trains a head on the features of some images.

    Returns:
        The loss of each iteration, and processor seconds of one.
    """
    order = random.Random(run.seed)
    weights = torch.tensor(CLASS_WEIGHTS)
    optimizer = torch.optim.AdamW(head.parameters(), RATE, weight_decay=0.01)
    losses = []
    begin = time.process_time()
    head.train()
    for i in range(run.iterations):
        for group in optimizer.param_groups:
            group['lr'] = RATE * min(1, (i + 1) / WARM_UP) * (1 - i / run.iterations) ** 0.9
        batch = [order.choice(order.choice(images)) for _ in range(BATCH)]
        levels = [
            torch.stack(maps).float() for maps in zip(*(x.levels for x in batch), strict=True)
        ]
        labels = torch.stack([x.labels for x in batch]).long()
        scores = F.interpolate(head(levels), size=labels.shape[1:], mode='bilinear')
        loss = F.cross_entropy(scores, labels, weights, ignore_index=VOID)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 5.0)
        optimizer.step()
        losses.append(loss.item())
    return losses, (time.process_time() - begin) / run.iterations


def run_rows(
    run: Run, names: Sequence[str], images: Sequence[tuple[Image, Image]], results: Path
) -> None:
    """Trains and scores rows, unless their results are there; each result is one JSON file."""
    built = rows(run.host)
    torch.manual_seed(run.seed)
    first: Any = built['bilinear']()
    first.init_weights()
    start = first.state_dict()
    training, held_out = run.indices([image for image, _ in images])
    results.mkdir(parents=True, exist_ok=True)
    for name in names:
        file = run.file(results, name)
        if file.exists():
            continue
        # What a row has of its own starts alike, too, whatever the rows before it.
        torch.manual_seed(run.seed + 1000)
        head: Any = built[name]()
        head.init_weights()
        start_alike(head, start)
        losses, seconds = train(head, [images[i] for i in training], run)
        entry = dict(
            row=name,
            **asdict(run),
            images=[len(training), len(held_out)],
            parameters=sum(p.numel() for p in head.parameters()),
            seconds_per_iteration=round(seconds, 3),
            loss=round(sum(losses[-100:]) / len(losses[-100:]), 5),
            scores=score(head, [images[i][0] for i in held_out]),
        )
        unfinished = file.with_suffix('.tmp')
        unfinished.write_text(json.dumps(entry, indent=1) + '\n')
        unfinished.replace(file)
