"""The study of upsampling, on tiny features: splits, starts, scores, and how rows compare."""

from __future__ import annotations

import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from scipy.stats import t as student
from scripts import load_script
from tiny_study import NAMES, H, W, make_image, pairs_of
from torch import Tensor, nn

from ddf_benchmarks.runs import difference
from ddf_benchmarks.study import comparison, training
from ddf_benchmarks.study.data import VOID, Image, blocks, drives
from ddf_benchmarks.study.hosts import CLASSES, rows
from ddf_benchmarks.study.scoring import BAND, score
from ddf_seg.command_line import show_usage_errors
from ddf_seg.datasets.camvid import CamVidDataset
from ddf_seg.errors import UsageError

tool = load_script('benchmarks/study.py')
ALL = [Image(name, (), torch.zeros(0), 0) for name in NAMES]


def test_names_say_drive_and_frame() -> None:
    assert (ALL[4].drive, ALL[4].frame) == ('0001TP', 1200)
    assert (ALL[-1].drive, ALL[-1].frame) == ('Seq05VD', 420)


def test_blocks_share_no_image_and_no_neighbour() -> None:
    scored = []
    for block in range(3):
        train, score = blocks(ALL, 3, block)
        assert train
        assert not set(train) & set(score)
        for i in score:
            for near in (i - 1, i + 1):
                if 0 <= near < len(ALL) and ALL[near].drive == ALL[i].drive:
                    assert near not in train
        # What is neither is a neighbour.
        for i in set(range(len(ALL))) - {*train, *score}:
            assert {i - 1, i + 1} & set(score)
        scored += score
    # Every image is scored once.
    assert sorted(scored) == list(range(len(ALL)))
    # Of a drive's length, not of its images
    assert [ALL[i].frame for i in blocks(ALL, 3, 0)[1]] == [30, 60, 90, 120, 0, 30, 60]


def test_a_drive_is_left_out_whole() -> None:
    train, score = drives(ALL, 'Seq05VD')
    assert (train, score) == (list(range(7)), list(range(7, 15)))


@pytest.mark.parametrize(
    ('split', 'message'),
    [
        ('block-3/3', 'expected block-I/N with I from 0 to N − 1, or drive- and one of 0001TP, S'),
        ('block-1', 'got block-1'),
        ('drive-0006R0', 'got drive-0006R0'),
        ('block-0/1', 'of 15 images, 0 are left to train on and 15 to score'),
    ],
)
def test_a_split_that_is_none(split: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        training.Run('fpn', split, 0).indices(ALL)


class Beginnings:
    """In place of a training: what each head gives before it."""

    def __init__(self, images: list[tuple[Image, Image]]) -> None:
        self.levels = [torch.stack([x.float()] * 2) for x in images[0][0].levels]
        self.scores: list[Tensor] = []
        self.weights: list[dict[str, Tensor]] = []

    @torch.no_grad()
    def train(self, head: nn.Module, *_: Any) -> float:
        self.scores.append(head.eval()(self.levels))
        self.weights.append({k: v.clone() for k, v in head.state_dict().items()})
        return 0.0


@pytest.mark.parametrize('host', tool.HOSTS)
def test_rows_start_alike_and_ddf_as_interpolation(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pairs_of(NAMES[:7])
    seen = Beginnings(images)
    monkeypatch.setattr(training, 'train', seen.train)
    monkeypatch.setattr(training, 'score', lambda *_: {})
    run = training.Run(host, 'block-0/3', 5, 1)
    training.run_rows(run, names := list(rows(host)), images, tmp_path / 'all')
    weights = dict(zip(names, seen.weights, strict=True))
    scores = dict(zip(names, seen.scores, strict=True))
    plain = weights['bilinear']
    for name in set(names) - {'bilinear-wide', 'ddf-residual'}:
        shared = [key for key in plain if key in weights[name]]
        # Of an FPNHead, the stepped form names the levels' convolutions otherwise.
        assert len(shared) > (0 if host == 'fpn' else len(plain) - 1), name
        assert all(torch.equal(plain[key], weights[name][key]) for key in shared)
    largest = float(scores['bilinear'].abs().max())
    # What climbs further than the host starts as interpolation to there.
    while scores['bilinear'].shape[2] < scores['ddf'].shape[2]:
        scores['bilinear'] = nn.functional.interpolate(
            scores['bilinear'], scale_factor=2, mode='bilinear'
        )
    for name in ('ddf', 'ddf-3x3', 'ddf-no-context'):
        torch.testing.assert_close(scores[name], scores['bilinear'], rtol=0, atol=1e-5 * largest)
    assert float((scores['carafe'] - scores['bilinear']).abs().max()) > 1e-2 * largest
    # A row starts so whatever rows ran before it, and otherwise with another seed.
    training.run_rows(run, ['sapa'], images, tmp_path / 'alone')
    assert all(torch.equal(seen.weights[-1][key], weights['sapa'][key]) for key in weights['sapa'])
    training.run_rows(training.Run(host, 'block-0/3', 6, 1), ['sapa'], images, tmp_path / 'other')
    assert not torch.equal(seen.weights[-1]['conv_seg.weight'], weights['sapa']['conv_seg.weight'])


def test_a_run_trains_scores_and_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pairs_of(NAMES[:7])
    run = training.Run('segformer', 'block-0/3', 1, 3)
    training.run_rows(run, ['bilinear', 'ddf'], images, tmp_path / 'a')
    files = sorted((tmp_path / 'a').iterdir())
    assert [file.name for file in files] == [
        'segformer-bilinear-block-0of3-1.json', 'segformer-ddf-block-0of3-1.json',
    ]  # fmt: skip
    found = [json.loads(file.read_text()) for file in files]
    assert found[0]['parameters'] < found[1]['parameters']
    assert found[0]['scored'] == 4
    # Another start, or another order of the images, would give another loss.
    training.run_rows(run, ['ddf'], images, tmp_path / 'b')
    (again,) = (json.loads(file.read_text()) for file in (tmp_path / 'b').iterdir())
    assert again == found[1]
    assert found[0]['loss'] != found[1]['loss']

    def fail(*_: Any) -> None:
        raise AssertionError('computed again')

    monkeypatch.setattr(training, 'train', fail)
    before = [file.read_bytes() for file in files]
    training.run_rows(run, ['ddf', 'bilinear'], images, tmp_path / 'a')
    assert [file.read_bytes() for file in files] == before
    # An interrupted run leaves no result, and an unfinished file is none.
    with pytest.raises(AssertionError, match='computed again'):
        training.run_rows(run, ['carafe'], images, tmp_path / 'a')
    assert sorted((tmp_path / 'a').iterdir()) == files
    with pytest.raises(UsageError, match='expected the result of 4 iterations, got one of 3'):
        training.run_rows(training.Run('segformer', 'block-0/3', 1, 4), ['ddf'], images,
                          tmp_path / 'a')  # fmt: skip
    with pytest.raises(UsageError, match=r'--rows: expected some of bilinear, .*, got dff'):
        training.run_rows(run, ['dff'], images, tmp_path / 'a')


def test_an_upgrade_goes_on_from_the_trained_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pairs_of(NAMES[:7])
    seen = Beginnings(images)
    begin = seen.train

    def train(head: nn.Module, *arguments: Any) -> float:
        loss = begin(head, *arguments)
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
        seen.weights.append({k: v.clone() for k, v in head.state_dict().items()})
        return loss

    monkeypatch.setattr(training, 'train', train)
    monkeypatch.setattr(training, 'score', lambda *_: {})
    training.run_upgrade(training.Run('fpn', 'block-0/3', 0, 0), images, tmp_path)
    _, trained, continued, _, upgraded, _, without, _ = seen.weights
    for weights in (continued, upgraded, without):
        assert all(torch.equal(weights[key], trained[key]) for key in trained)
    _, kept, *ours = seen.scores
    for scores in ours:
        torch.testing.assert_close(scores, kept, rtol=0, atol=1e-5 * float(kept.abs().max()))
    found = {json.loads(file.read_text())['row'] for file in tmp_path.iterdir()}
    assert found == {'trained', 'continued', 'upgraded', 'upgraded-no-context'}


def test_an_upgrade_of_which_a_part_is_there_is_refused(tmp_path: Path) -> None:
    """Its weights are not, and nothing is written over."""
    images = pairs_of(NAMES[:7])
    run = training.Run('fpn', 'block-0/3', 0, 0)
    file = run.file(tmp_path, 'continued')
    file.write_text('{}')
    with pytest.raises(UsageError, match=r'continued.*expected all of trained, .* got continued'):
        training.run_upgrade(run, images, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_text() == '{}'


class FirstLevel(nn.Module):
    """Its scores are what a level holds."""

    def forward(self, levels: list[Tensor]) -> Tensor:
        return levels[0][:, :CLASSES]


def test_scores_are_those_of_mmseg_and_of_a_loop() -> None:
    images = [make_image(name, seed) for seed, name in enumerate(NAMES[:2])]
    found = score(FirstLevel(), images)
    metric = IoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = CamVidDataset.METAINFO
    losses = []
    for image in images:
        raised = nn.functional.interpolate(image.levels[0][None, :CLASSES].float(), size=(H, W),
                                           mode='bilinear')  # fmt: skip
        own, labels = raised[0, :, : H - 3], image.labels[: H - 3].long()
        sample = dict(
            gt_sem_seg=dict(data=labels[None]), pred_sem_seg=dict(data=own.argmax(0)[None])
        )
        metric.process({}, [sample])
        logs = own.log_softmax(0)
        for y in range(H - 3):
            for x in range(W):
                window = labels[max(0, y - BAND) : y + BAND + 1, max(0, x - BAND) : x + BAND + 1]
                known = set(window[window != VOID].tolist())
                if labels[y, x] != VOID and len(known) > 1:
                    losses.append(-float(logs[labels[y, x], y, x]))
    expected = metric.evaluate(2)
    assert found['mIoU'] == pytest.approx(expected['mIoU'], abs=0.01)
    assert found['nll'] == pytest.approx(statistics.fmean(losses), abs=1e-3)
    thin = [found[f'IoU_{name}'] for name in ('Pole', 'SignSymbol', 'Pedestrian', 'Bicyclist')]
    assert found['thin'] == pytest.approx(statistics.fmean(thin), abs=1e-3)


def test_a_class_that_no_image_shows_counts_in_no_mean() -> None:
    image = make_image(NAMES[0])
    image.labels[(image.labels == 2) | (image.labels == 6)] = 0
    # Nor does the head say it.
    image.levels[0][2] = image.levels[0][6] = -100
    found = score(FirstLevel(), [image])
    shown = {k: v for k, v in found.items() if k.startswith('IoU_') and not np.isnan(v)}
    assert len(shown) == CLASSES - 2
    assert found['mIoU'] == pytest.approx(statistics.fmean(shown.values()), abs=1e-3)


def write(folder: Path, row: str, split: str, seed: int, value: float, **more: Any) -> None:
    scores = {name: value for _, name, _ in comparison.SCORES}
    entry = dict(
        row=row, host='fpn', split=split, seed=seed, iterations=500, parameters=1234,
        scores=scores, **more,
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    name = f'fpn-{row}-{split.replace("/", "of")}-{seed}.json'
    (folder / name).write_text(json.dumps(entry))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two rows with four runs each, three of them in common; one with a single run."""
    folder = tmp_path / 'results'
    for seed, value in enumerate((30.0, 31.5, 29.0, 33.0)):
        write(folder, 'bilinear', 'block-0/5', seed, value)
    for seed, value in zip((1, 2, 3, 4), (33.0, 30.0, 34.0, 90.0), strict=True):
        write(folder, 'ddf', 'block-0/5', seed, value)
    write(folder, 'carafe', 'block-0/5', 0, 30.25)
    write(folder, 'bilinear', 'drive-0016E5', 0, 1.0)
    return folder


def test_means_and_paired_intervals(results: Path) -> None:
    found = comparison.read_rows(results, 'fpn', 'block')
    assert list(found) == ['bilinear', 'carafe', 'ddf']
    mean, interval = difference(found['ddf'], found['bilinear'], 'mIoU')
    paired = np.array([33.0 - 31.5, 30.0 - 29.0, 34.0 - 33.0])
    assert mean == pytest.approx(paired.mean())
    half = student.ppf(0.975, 2) * paired.std(ddof=1) / np.sqrt(3)
    assert interval == pytest.approx((paired.mean() - half, paired.mean() + half))
    lines = comparison.table(found, 'bilinear').splitlines()
    cells = {line.split('|')[1].strip(): [c.strip() for c in line.split('|')] for line in lines}
    # Of all of a row's runs
    assert cells['ddf'][2:5] == ['4', '1 k', f'{(33 + 30 + 34 + 90) / 4:.2f}']
    low, high = paired.mean() - half, paired.mean() + half
    assert cells['ddf'][5] == f'{paired.mean():+.2f} [{low:+.2f}, {high:+.2f}]'
    assert cells['carafe'][5] == '+0.25'
    assert cells['bilinear'][5] == ''
    # No run in common
    cells = [line.split('|') for line in comparison.table(found, 'carafe').splitlines()]
    (ddf,) = (line for line in cells if line[1].strip() == 'ddf')
    assert ddf[5].strip() == ''


def test_runs_of_other_lengths_are_not_compared(results: Path) -> None:
    file = results / 'fpn-carafe-block-0of5-0.json'
    file.write_text(json.dumps({**json.loads(file.read_text()), 'iterations': 2000}))
    with pytest.raises(UsageError, match='got some of 500 and of 2000'):
        comparison.read_rows(results, 'fpn', 'block')
    assert comparison.read_rows(results, 'fpn', 'drive')


def run_tool(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, 'argv', ['study.py', *map(str, arguments)])
    return show_usage_errors(tool.main)


def test_the_tool_prints_the_table(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(monkeypatch, 'table', 'fpn', '--results', results, '--to', 'carafe') == 0
    expected = comparison.table(comparison.read_rows(results, 'fpn', 'block'), 'carafe')
    assert capsys.readouterr().out == expected + '\n'


def test_mistakes_end_with_one_message(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad/fpn-ddf-block-0of5-0.json').write_text('{"split": "block-0/5", ')
    monkeypatch.setenv('DDF_DATA_ROOT', str(tmp_path / 'nowhere'))
    cache = ['--cache', tmp_path / 'cache']
    cases = [
        (['table', 'fpn', '--results', results, '--to', 'sapa'], 'one of bilinear, carafe, ddf, g'),
        (['table', 'segformer', '--results', results], 'no results of segformer on splits by bloc'),
        (['table', 'fpn', '--results', tmp_path / 'bad'], r"0\.json: expected a run's result: JSO"),
        (['run', 'fpn', '--seeds', 0, '--config', tmp_path / 'no.py'], r'no\.py'),
        (['run', 'fpn', '--seeds', 0, *cache], r'nowhere.*camvid'),
    ]
    for arguments, message in cases:
        assert run_tool(monkeypatch, *arguments) == 1
        error = capsys.readouterr().err
        assert re.search(message, error), error
        assert 'Traceback' not in error
    for arguments, message in (
        (['run', 'fpn', '--seeds', 0, '--iterations', 0], 'a whole number of at least 1, got .0.'),
        (['run', 'unet', '--seeds', 0], "invalid choice: 'unet'"),
    ):
        with pytest.raises(SystemExit) as end:
            run_tool(monkeypatch, *arguments)
        assert end.value.code == 2
        assert re.search(message, capsys.readouterr().err)
