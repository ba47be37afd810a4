"""The ablation: its rows, what they share, its images and scores, and how results compare."""

from __future__ import annotations

import json
import math
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import t as student
from scripts import load_script
from torch import Tensor, nn

from ddf_benchmarks.ablation import comparison, training
from ddf_benchmarks.ablation.network import FILTERS, Involution, build
from ddf_benchmarks.ablation.training import Images, Run
from ddf_benchmarks.measure import Run as Call
from ddf_seg.command_line import show_usage_errors
from ddf_seg.visualization import capture_filters

tool = load_script('benchmarks/ablation.py')


def random_images(count: int, seed: int = 0) -> Images:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.arange(count) % 10)


def filters_parameters(row: str, c: int) -> int:
    """Of a 3×3 filter on c channels, by the formulas of the paper's table 1, with biases."""
    spatial, squeeze = 9 * c + 9, {'squeeze-0.3': 0.3, 'squeeze-0.4': 0.4}.get(row, 0.2)
    narrow = max(1, int(c * squeeze))
    channel = c * narrow + narrow + narrow * 9 * c + 9 * c
    deviations, groups = 9 * c, max(1, c // 16)
    return {
        'base': 9 * c * c,
        'depthwise': 9 * c,
        'spatial': spatial,
        'channel': channel + deviations,
        'sigmoid': spatial + channel,
        'none': spatial + channel,
        'batch-norm': spatial + channel + 2 * (9 + 9 * c),
        'neutral': spatial + channel + 2 * deviations,
        'full': c * spatial,
        'involution': (c + 1) * (c // 4) + 2 * (c // 4) + (c // 4 + 1) * 9 * groups,
    }.get(row, spatial + channel + deviations)


@pytest.mark.parametrize('row', list(FILTERS))
def test_a_row_differs_in_its_filters_alone(row: str) -> None:
    def count(name: str) -> int:
        return sum(p.numel() for p in build(name).parameters())

    widths = (8, 8, 16, 16, 32, 32)
    expected = sum(filters_parameters(row, c) - filters_parameters('base', c) for c in widths)
    assert count(row) - count('base') == expected
    base, own = (training.start(Run(name, 3, 1)).state_dict() for name in ('base', row))
    shared = [key for key in base if '.conv2.' not in key]
    assert len(shared) > 100
    assert all(torch.equal(base[key], own[key]) for key in shared)
    again, other = (training.start(Run(row, seed, 1)).state_dict() for seed in (3, 4))
    assert all(torch.equal(again[key], own[key]) for key in own)
    assert not torch.equal(other['1.conv1.weight'], own['1.conv1.weight'])
    x = training.as_input(random_images(2).pixels)
    assert training.start(Run(row, 0, 1))(x).shape == (2, 10)


def test_multiply_adds_of_the_convolutions() -> None:
    total, pixels, channels = 3 * 9 * 8 * 1024, 1024, 8
    for stage, width in enumerate((8, 16, 32)):
        for block in range(2):
            halved = stage > 0 and block == 0
            total += pixels * channels * width
            pixels //= 4 if halved else 1
            shortcut = channels * 4 * width if block == 0 else 0
            total += pixels * (9 * width * width + width * 4 * width + shortcut)
            channels = 4 * width
    total += channels * 10
    # mmengine counts the norms and the pooling, too.
    assert total < training.multiply_adds('base') < 1.1 * total
    # DDF saves what a dense 3×3 convolution needs beyond its filters and their generation.
    assert training.multiply_adds('mul') < 0.75 * training.multiply_adds('base')


@pytest.mark.parametrize('stride', [1, 2])
def test_involution_is_that_of_a_loop(stride: int) -> None:
    layer = Involution(32, stride).eval()
    x = torch.randn(2, 32, 6, 6)
    filters = layer.branch(F.avg_pool2d(x, stride)).view(2, 2, 9, 6 // stride, 6 // stride)
    expected = torch.zeros(2, 32, 6 // stride, 6 // stride)
    around = F.pad(x, (1, 1, 1, 1))
    for c in range(32):
        for tap in range(9):
            moved = around[:, c, tap // 3 :, tap % 3 :][:, :6:stride, :6:stride]
            expected[:, c] += filters[:, c // 16, tap] * moved
    torch.testing.assert_close(layer(x), expected)


def test_full_filters_are_one_for_each_channel_and_pixel() -> None:
    layer = FILTERS['full'](4, 2)
    x = torch.randn(1, 4, 6, 8)
    with capture_filters(layer) as calls:
        out = layer(x)
    filters = calls[0].spatial_filter.view(4, 9, 3, 4)
    assert not torch.allclose(filters[0], filters[1])
    patches = F.unfold(x, 3, padding=1, stride=2).view(4, 9, 3, 4)
    torch.testing.assert_close(out[0], (filters * patches).sum(1))


def test_batches_show_each_image_once_cropped_and_mirrored() -> None:
    images = random_images(2 * training.BATCH + 5)
    found = list(training.batches(images, 1, 2))
    assert len(found) == 4
    padded = np.pad(images.pixels.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)))
    seen, places, mirrors = [], set(), 0
    for pixels, labels in found[:1]:
        for pixel, label in zip(pixels.numpy(), labels, strict=True):
            # Whose crop is it? The middle of an image is in all of its crops.
            for i in range(len(padded)):
                for mirrored, shown in ((False, pixel), (True, pixel[..., ::-1])):
                    crops = np.lib.stride_tricks.sliding_window_view(padded[i, 0], (32, 32))
                    same = np.argwhere((crops[:, :, 16] == shown[0, 16]).all(-1))
                    for top, left in same:
                        window = padded[i, :, top : top + 32, left : left + 32]
                        if (window == shown).all():
                            seen.append(i)
                            places.add((top, left))
                            mirrors += mirrored
                            assert label == images.labels[i]
    assert len(seen) == len(set(seen)) == training.BATCH
    assert len(places) > 30
    assert 16 < mirrors < 48
    again = list(training.batches(images, 1, 2))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(found, again, strict=True))
    assert not torch.equal(found[0][1], found[2][1])
    assert not torch.equal(next(training.batches(images, 2, 1))[1], found[0][1])


def test_the_rate_rises_and_falls() -> None:
    assert training.rate(0.05) == pytest.approx(training.RATE / 2)
    assert training.rate(0.1) == pytest.approx(training.RATE)
    assert training.rate(0.55) == pytest.approx(training.RATE / 2)
    assert training.rate(1) == pytest.approx(0)


def test_vectors_do_not_decay() -> None:
    network = build('mul')
    optimizer = training.make_optimizer(network)
    decay = {id(p): g['weight_decay'] for g in optimizer.param_groups for p in g['params']}
    named = dict(network.named_parameters())
    assert len(decay) == len(named)
    assert decay[id(named['1.conv2.channel_branch.4.std'])] == 0
    assert decay[id(named['1.bn1.weight'])] == 0
    assert decay[id(named['1.conv2.channel_branch.3.weight'])] == training.DECAY


class Constant(nn.Module):
    """Says the same of every image."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, x: Tensor) -> Tensor:
        return self.scores.expand(len(x), -1)


def test_scores() -> None:
    images = Images(torch.zeros(300, 3, 32, 32, dtype=torch.uint8), torch.tensor([2, 2, 5] * 100))
    logits = torch.zeros(10)
    logits[2] = 3
    found = training.score(Constant(logits), images)
    total = math.exp(3) + 9
    expected = -(2 * math.log(math.exp(3) / total) + math.log(1 / total)) / 3
    assert found == dict(accuracy=66.67, nll=pytest.approx(expected, abs=1e-4))
    # Of a network that has diverged
    assert training.score(Constant(logits * math.nan), images)['nll'] == pytest.approx(
        math.log(10), abs=1e-4
    )


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    network = build('depthwise')
    with torch.no_grad():
        network[0][0].weight.fill_(math.nan)
    what = training.train(network, random_images(2 * training.BATCH), Run('depthwise', 0, 3))
    assert what['iterations'] == 1
    assert what['diverged'] is True
    assert what['loss'] is None


def run_tool(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, 'argv', ['ablation.py', *map(str, arguments)])
    threads = torch.get_num_threads()
    try:
        return show_usage_errors(tool.main)
    finally:
        torch.set_num_threads(threads)


def saved_bytes(make: Callable[[], tuple[Call, Call]], device: torch.device) -> int:
    """What the second call keeps for its backward pass."""
    # It has to reach another process.
    small, whole = pickle.loads(pickle.dumps(make))()
    assert device.type == 'cpu'
    small()
    kept = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        whole()
    return sum(kept.values())


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(source: Path, part: str, per_class: int | None) -> tuple[np.ndarray, np.ndarray]:
        images = random_images(10 * (per_class or 1), seed=len(part))
        return images.pixels.numpy(), images.labels.numpy()

    monkeypatch.setattr('ddf_seg.datasets.cifar10.read_cifar10', read)


@pytest.mark.usefixtures('data')
def test_a_run_leaves_a_result_and_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A process of its own measures; that it does is tested with the other benchmarks.
    monkeypatch.setattr(training, 'peak_beyond_result', saved_bytes)
    size = ['--images', 130, '--epochs', 1]
    run = ['run', 'mul', '--seeds', 4, *size]
    assert run_tool(monkeypatch, *run, '--results', tmp_path / 'a') == 0
    files = sorted((tmp_path / 'a').iterdir())
    assert [file.name for file in files] == ['mul-4.json']
    found = json.loads(files[0].read_text())
    assert (found['images'], found['scored'], found['iterations']) == (130, 10, 2)
    assert found['diverged'] is False
    # A batch of the first stage's maps, which the backward pass needs
    maps = 4 * training.BATCH * 32 * 32 * 2 * (8 + 8 + 32)
    assert maps < found['memory'] < 40 * maps
    # The same again, whatever ran before
    assert (
        run_tool(monkeypatch, 'run', 'mul', '--seeds', 4, *size, '--results', tmp_path / 'b') == 0
    )
    again = json.loads((tmp_path / 'b/mul-4.json').read_text())
    assert {**again, 'seconds_per_iteration': 0} == {**found, 'seconds_per_iteration': 0}

    def fail(*_: Any) -> None:
        raise AssertionError('computed again')

    monkeypatch.setattr(training, 'train', fail)
    before = [file.read_bytes() for file in files]
    assert run_tool(monkeypatch, *run, '--results', tmp_path / 'a') == 0
    assert [file.read_bytes() for file in files] == before
    with pytest.raises(AssertionError, match='computed again'):
        run_tool(monkeypatch, 'run', 'add', *size, '--results', tmp_path / 'a')
    assert sorted((tmp_path / 'a').iterdir()) == files
    capsys.readouterr()
    run[-1] = 2
    assert run_tool(monkeypatch, *run, '--results', tmp_path / 'a') == 1
    error = capsys.readouterr().err
    assert 'mul-4.json: expected the result of 130 images and 2 epochs, got one of 130' in error


def write(folder: Path, row: str, seed: int, accuracy: float, **more: Any) -> None:
    scores = dict(accuracy=accuracy, nll=2 - accuracy / 100)
    entry = dict(
        row=row, seed=seed, epochs=5, images=100, parameters=40620, multiply_adds=6305888,
        memory=3 << 20, seconds_per_iteration=0.25, diverged=False, scores=scores,
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / f'{row}-{seed}.json').write_text(json.dumps({**entry, **more}))


def test_the_table_shows_means_and_paired_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, (base, mul) in enumerate([(50.0, 53.0), (52.0, 53.0), (51.0, 53.5)]):
        write(tmp_path, 'base', seed, base)
        write(tmp_path, 'mul', seed, mul)
    write(tmp_path, 'full', 1, 40.0, diverged=True)
    assert run_tool(monkeypatch, 'table', '--results', tmp_path) == 0
    lines = [[cell.strip() for cell in line.split('|')[1:-1]]
             for line in capsys.readouterr().out.splitlines()]  # fmt: skip
    paired = np.array([3.0, 1.0, 2.5])
    half = student.ppf(0.975, 2) * paired.std(ddof=1) / np.sqrt(3)
    low, high = paired.mean() - half, paired.mean() + half
    assert lines[2] == ['base', '3', '40.6 k', '6.31 M', '3', '250', '51.00', '', '1.490', '']
    assert lines[3][:2] == ['mul', '3']
    assert lines[3][6:8] == ['53.17', f'{paired.mean():+.2f} [{low:+.2f}, {high:+.2f}]']
    assert lines[4][1] == '1, 1 diverged'
    assert lines[4][6:8] == ['40.00', '-12.00']
    assert len(lines) == 5
    assert comparison.table(comparison.read_rows(tmp_path), 'mul').count('[') == 2


def test_mistakes_end_with_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / 'a', 'base', 0, 50.0)
    write(tmp_path / 'mixed', 'base', 0, 50.0)
    write(tmp_path / 'mixed', 'mul', 0, 50.0, epochs=6)
    write(tmp_path / 'bad', 'base', 0, 50.0, memory='much')
    cases = [
        (['run', 'mull'], 'ROW: expected some of base, .*, full, got mull'),
        (['run', 'mul', '--images', 15], '--images: expected a multiple of 10, got 15'),
        (['run', 'mul', '--data', tmp_path / 'no.zip'], r'no\.zip: expected CIFAR-10'),
        (['table', '--results', tmp_path / 'none'], 'none: there are no results'),
        (['table', '--results', tmp_path / 'a', '--to', 'mul'], '--to: expected one of base, got'),
        (['table', '--results', tmp_path / 'bad'], r"base-0\.json: expected a run's result"),
        (['table', '--results', tmp_path / 'mixed'],
         r'mul-0\.json: expected a run of 100 images and 5 epochs as base-0\.json, got 100 and 6'),
    ]  # fmt: skip
    for arguments, message in cases:
        assert run_tool(monkeypatch, *arguments) == 1
        error = capsys.readouterr().err
        assert re.search(message, error), error
        assert 'Traceback' not in error
    with pytest.raises(SystemExit):
        run_tool(monkeypatch, 'run', 'mul', '--epochs', 0)
    assert "expected a whole number of at least 1, got '0'" in capsys.readouterr().err
