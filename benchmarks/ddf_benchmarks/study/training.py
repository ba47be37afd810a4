"""One run: the rows of a host, one after the other, from one start and on the same batches."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddf_seg.errors import UsageError

from ..measure import machine
from ..runs import check_length, start_alike, write_result
from .comparison import read_result
from .data import VOID, Image, blocks, drives
from .hosts import rows
from .scoring import score

# 1 / √frequency of the classes, as in configs/ddf_camvid.py: without it, 500 iterations do not
# reach the rare classes.
CLASS_WEIGHTS = (0.26, 0.22, 1.08, 0.19, 0.51, 0.34, 0.99, 1.01, 0.44, 1.34, 1.99)
BATCH = 4
RATE = 2e-3
WARM_UP = 50
CPU = torch.device('cpu')
# End to end: the backbone's learning rate to that of the head, as in the shipped schedule
BACKBONE = 0.5
# An upgrade: interpolation is trained for so many more iterations that it hardly gains any more,
# then both go on, at a part of the rate.
LONG, MORE, PART = 800, 250, 0.25
UPGRADES = {'continued': 'bilinear', 'upgraded': 'ddf', 'upgraded-no-context': 'ddf-no-context'}
# Where the backbone is trained along, a row takes four times as long.
UPGRADES_END_TO_END = ('continued', 'upgraded')


@dataclass(frozen=True)
class Run:
    """What a run is of.

    Attributes:
        host: see `hosts.rows`.
        split: 'block-2/5' (the third of five blocks of each drive is scored), or 'drive-0016E5'.
        seed: of the start and the order of the images.
        iterations: of batches of 4 whole images or mirror images.
        device: that has the images.
        backbone: that is trained along, end to end; None where the images are its features.
    """

    host: str
    split: str
    seed: int
    iterations: int = 500
    device: torch.device = CPU
    backbone: nn.Module | None = None

    def about(self) -> dict[str, Any]:
        """What a result says of its run."""
        return dict(
            host=self.host,
            split=self.split,
            seed=self.seed,
            iterations=self.iterations,
            end_to_end=self.backbone is not None,
        )

    def indices(self, images: Sequence[Image]) -> tuple[list[int], list[int]]:
        """Indices of the images to train on, and of those to score.

        Raises:
            UsageError: the split is another word, or leaves nothing to train on or to score.
        """
        names = sorted({image.drive for image in images})
        if (drive := self.split.removeprefix('drive-')) in names:
            train, score = drives(images, drive)
        elif (match := re.fullmatch(r'block-(\d+)/(\d+)', self.split)) and int(match[1]) < int(
            match[2]
        ):
            train, score = blocks(images, int(match[2]), int(match[1]))
        else:
            raise UsageError(
                f'--splits: expected block-I/N with I from 0 to N − 1, or drive- and one of '
                f'{", ".join(names)}, got {self.split}'
            )
        if not train or not score:
            raise UsageError(
                f'--splits {self.split}: of {len(images)} images, {len(train)} are left to train '
                f'on and {len(score)} to score'
            )
        return train, score

    def file(self, results: Path, row: str) -> Path:
        split = self.split.replace('/', 'of')
        return results / f'{self.host}-{row}-{split}-{self.seed}.json'


class Network(nn.Module):
    """A head on a backbone of its own, trained end to end."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        self.head = head

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        scores: Tensor = self.head(self.backbone(levels[0]))
        return scores


def train(
    head: nn.Module,
    images: Sequence[tuple[Image, Image]],
    seed: int,
    iterations: int,
    rate: float = RATE,
) -> float:
    """Trains a head on the features of some images.

    Args:
        head: called with a batch's levels; on the device of the images.
        images: each with its mirror image.
        seed: of the order of the images.
        iterations: how many batches.
        rate: learning rate, which falls to 0.

    Returns:
        The mean loss of the last 100 iterations.
    """
    order = random.Random(seed)
    weights = images[0][0].labels.new_tensor(CLASS_WEIGHTS, dtype=torch.float)
    optimizer = torch.optim.AdamW(_groups(head), rate, weight_decay=0.01)
    losses = []
    head.train()
    for i in range(iterations):
        for group in optimizer.param_groups:
            now = rate * min(1, (i + 1) / WARM_UP) * (1 - i / iterations) ** 0.9
            group['lr'] = group['part'] * now
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
        # A number would be waited for.
        losses.append(loss.detach())
    return round(float(torch.stack(losses[-100:]).mean()), 5)


def _groups(head: nn.Module) -> list[dict[str, Any]]:
    parts: dict[float, list[Tensor]] = {}
    for name, parameter in head.named_parameters():
        parts.setdefault(BACKBONE if name.startswith('backbone.') else 1, []).append(parameter)
    return [dict(params=parameters, part=part) for part, parameters in parts.items()]


def run_rows(
    run: Run, names: Sequence[str], images: Sequence[tuple[Image, Image]], results: Path
) -> None:
    """Trains and scores rows, unless their results are there; each result is one JSON file.

    Raises:
        UsageError: there is no such row or split, or a result of another number of iterations.
    """
    _check_rows(run, names)
    start = _start(run)
    training, held_out = _parts(run, images)
    for name in names:
        file = run.file(results, name)
        if file.exists():
            check_length(file, read_result(file)['iterations'], run.iterations)
            continue
        head = _build(run, name, start)
        loss = train(head, training, run.seed, run.iterations)
        write_result(file, _entry(name, run, head, loss, held_out))


def run_upgrade(
    run: Run,
    images: Sequence[tuple[Image, Image]],
    results: Path,
    features: Sequence[tuple[Image, Image]] | None = None,
) -> None:
    """Trains interpolation for long, then goes on with it, and with ddf in its place.

    The results are the rows 'trained' and those of UPGRADES, end to end of UPGRADES_END_TO_END,
    written together at the end.

    Args:
        run: with a backbone, that is trained along once the head is trained.
        images: what they go on with.
        results: folder.
        features: of the same images, which interpolation is trained on first; needed with a
            backbone, whose images are pixels; else the images are features.

    Raises:
        UsageError: some of the results are there, whose weights no longer are.
    """
    going_on = list(UPGRADES) if run.backbone is None else list(UPGRADES_END_TO_END)
    names = ['trained', *going_on]
    there = [name for name in names if run.file(results, name).exists()]
    if there == names:
        return
    if there:
        raise UsageError(
            f'{run.file(results, there[0])}: expected all of {", ".join(names)} or none, got '
            f'{", ".join(there)}; remove these, or --results names another folder'
        )
    frozen = replace(run, backbone=None)
    training, held_out = _parts(frozen, images if features is None else features)
    head = _build(frozen, 'bilinear', _start(run))
    loss = train(head, training, run.seed, LONG)
    entries = {'trained': _entry('trained', frozen, head, loss, held_out)}
    weights = copy.deepcopy(head.state_dict())
    training, held_out = _parts(run, images)
    for name in going_on:
        head = _build(run, UPGRADES[name], weights)
        loss = train(head, training, run.seed + 500, MORE, RATE * PART)
        entries[name] = _entry(name, run, head, loss, held_out)
    for name, entry in entries.items():
        write_result(run.file(results, name), entry)


def train_heads(
    run: Run, names: Sequence[str], images: Sequence[tuple[Image, Image]]
) -> tuple[dict[str, nn.Module], list[Image]]:
    """Rows as `run_rows` trains them, and the images that they are not trained on.

    Raises:
        UsageError: there is no such row or split.
    """
    _check_rows(run, names)
    start = _start(run)
    training, held_out = _parts(run, images)
    heads = {name: _build(run, name, start) for name in names}
    for head in heads.values():
        train(head, training, run.seed, run.iterations)
    return heads, held_out


def _check_rows(run: Run, names: Sequence[str]) -> None:
    known = rows(run.host)
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f'--rows: expected some of {", ".join(known)}, got {unknown[0]}')


def _start(run: Run) -> dict[str, Tensor]:
    torch.manual_seed(run.seed)
    head: Any = rows(run.host)['bilinear']()
    head.init_weights()
    start: dict[str, Tensor] = head.state_dict()
    return start


def _build(run: Run, name: str, start: dict[str, Tensor]) -> nn.Module:
    # What a row has of its own starts alike, too, whatever the rows before it.
    torch.manual_seed(run.seed + 1000)
    head: Any = rows(run.host)[name]()
    head.init_weights()
    start_alike(head, start)
    built: nn.Module = head if run.backbone is None else Network(run.backbone, head)
    return built.to(run.device)


def _parts(
    run: Run, images: Sequence[tuple[Image, Image]]
) -> tuple[list[tuple[Image, Image]], list[Image]]:
    training, held_out = run.indices([image for image, _ in images])
    return [images[i] for i in training], [images[i][0] for i in held_out]


def _entry(
    row: str, run: Run, head: nn.Module, loss: float, held_out: Sequence[Image]
) -> dict[str, Any]:
    return dict(
        row=row,
        **run.about(),
        scored=len(held_out),
        parameters=sum(p.numel() for p in head.parameters()),
        loss=loss,
        scores=score(head, held_out),
        machine=machine(run.device),
    )
