"""One run: a row, from the start that all rows of its seed share, on the same images."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.analysis import get_model_complexity_info
from mmengine.logging import MMLogger
from torch import Tensor, nn

import ddf_seg.engine.flops  # noqa: F401 (has mmengine count the operators)

from ..measure import Run as Call
from ..measure import machine, peak_beyond_result
from ..runs import start_alike, write_result
from .network import CifarResNet, build

BATCH = 64
RATE, MOMENTUM, DECAY, SMOOTHING = 0.05, 0.9, 5e-4, 0.1
WARM_UP = 0.1  # of the iterations
PADDING = 4
# Of CIFAR-10's training images
MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)


@dataclass(frozen=True)
class Images:
    """Images (N, 3, 32, 32), uint8, and their classes (N,)."""

    pixels: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Run:
    """What a run is of: its row, the seed of start and order, and how often it sees each image."""

    row: str
    seed: int
    epochs: int

    def file(self, results: Path) -> Path:
        return results / f'{self.row}-{self.seed}.json'


def start(run: Run) -> CifarResNet:
    """The row's network; what it shares with 'base' starts as in that."""
    torch.manual_seed(run.seed)
    base = build('base').state_dict()
    # What a row has of its own starts alike, too, whatever ran before it.
    torch.manual_seed(run.seed + 1000)
    network = build(run.row)
    start_alike(network, base)
    return in_channels_last(network)


def in_channels_last(network: CifarResNet) -> CifarResNet:
    # Its type annotations leave this argument out.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def batches(images: Images, seed: int, epochs: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches, cropped at random from the images with 4 black pixels around, and mirrored.

    An epoch's last images that fill no batch are left out of it.
    """
    generator = torch.Generator().manual_seed(seed)
    count, side = len(images.labels), images.pixels.shape[-1]
    padded = F.pad(images.pixels, (PADDING,) * 4)
    # (N, 3, 9, 9, 32, 32): all crops, without a copy
    crops = padded.unfold(2, side, 1).unfold(3, side, 1)
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator)
        for own in order[: count // BATCH * BATCH].split(BATCH):
            top, left = torch.randint(0, 2 * PADDING + 1, (2, BATCH), generator=generator)
            mirrored = torch.rand(BATCH, 1, 1, 1, generator=generator) < 0.5
            pixels = crops[own, :, top, left]
            yield torch.where(mirrored, pixels.flip(3), pixels), images.labels[own]


def as_input(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def make_optimizer(network: nn.Module) -> torch.optim.Optimizer:
    """SGD that lets the weights decay, but no vectors: biases, norms, FilterNorm's deviations."""
    vectors = [p for p in network.parameters() if p.dim() < 2]
    weights = [p for p in network.parameters() if p.dim() >= 2]
    groups = [dict(params=weights, weight_decay=DECAY), dict(params=vectors, weight_decay=0.0)]
    return torch.optim.SGD(groups, RATE, MOMENTUM, nesterov=True)


def rate(done: float) -> float:
    """The learning rate after a part of the training: a linear warm-up, then a cosine to 0."""
    if done < WARM_UP:
        return RATE * done / WARM_UP
    return RATE / 2 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def step(
    network: nn.Module, optimizer: torch.optim.Optimizer, pixels: Tensor, labels: Tensor
) -> Tensor:
    """One iteration; returns its loss."""
    loss = F.cross_entropy(network(as_input(pixels)), labels, label_smoothing=SMOOTHING)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def train(network: nn.Module, images: Images, run: Run) -> dict[str, Any]:
    """Trains until the end, or until the loss is no number.

    Returns:
        Iterations done, the mean loss of the last 100, and processor seconds of one (median).
    """
    optimizer = make_optimizer(network)
    count = run.epochs * (len(images.labels) // BATCH)
    losses: list[float] = []
    seconds: list[float] = []
    network.train()
    for i, (pixels, labels) in enumerate(batches(images, run.seed, run.epochs)):
        for group in optimizer.param_groups:
            group['lr'] = rate((i + 1) / count)
        begin = time.process_time()
        losses.append(float(step(network, optimizer, pixels, labels)))
        seconds.append(time.process_time() - begin)
        if not math.isfinite(losses[-1]):
            break
    last = [loss for loss in losses[-100:] if math.isfinite(loss)]
    return dict(
        iterations=len(losses),
        diverged=not math.isfinite(losses[-1]),
        loss=round(statistics.fmean(last), 4) if last else None,
        seconds_per_iteration=round(statistics.median(seconds), 4),
    )


@torch.no_grad()
def score(network: nn.Module, images: Images) -> dict[str, float]:
    """Accuracy in per cent, and the mean cross entropy in nats."""
    network.eval()
    outputs = torch.cat([network(as_input(pixels)) for pixels in images.pixels.split(250)])
    right = (outputs.argmax(1) == images.labels).float().mean()
    # A diverged network's scores are no numbers; its loss is that of knowing nothing.
    loss = F.cross_entropy(outputs, images.labels).nan_to_num(math.log(outputs.shape[1]))
    return dict(accuracy=round(100 * float(right), 2), nll=round(float(loss), 4))


def multiply_adds(row: str) -> int:
    """Of one image."""
    # mmengine warns of every elementwise operation, which it does not count.
    MMLogger.get_current_instance().setLevel('ERROR')
    x = torch.zeros(1, 3, 32, 32)
    info = get_model_complexity_info(
        build(row).eval(), inputs=(x,), show_table=False, show_arch=False
    )
    return int(info['flops'])


def _steps(row: str) -> tuple[Call, Call]:
    """An iteration on two images, and one on a batch, for `peak_beyond_result`."""
    torch.set_num_threads(1)
    network = in_channels_last(build(row))
    optimizer = make_optimizer(network)
    calls = [
        partial(step, network, optimizer, torch.zeros(size, 3, 32, 32), torch.zeros(size).long())
        for size in (2, BATCH)
    ]
    return calls[0], calls[1]


def run_row(run: Run, training: Images, held_out: Images, results: Path) -> None:
    """Trains and scores a row, and writes its result as a JSON file."""
    network = start(run)
    what = train(network, training, run)
    entry = dict(
        **asdict(run),
        images=len(training.labels),
        scored=len(held_out.labels),
        parameters=sum(p.numel() for p in network.parameters()),
        multiply_adds=multiply_adds(run.row),
        memory=peak_beyond_result(partial(_steps, run.row), torch.device('cpu')),
        **what,
        scores=score(network, held_out),
        machine=machine(torch.device('cpu')),
        torch=torch.__version__,
    )
    write_result(run.file(results), entry)
