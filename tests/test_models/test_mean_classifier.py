"""Classifiers: their loss, their configs, and what a segmentor takes from a trained one."""

import math
import sys
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from mmseg.registry import METRICS, MODELS
from PIL import Image
from processes import Started

from ddf_seg.cli.classify import main
from ddf_seg.command_line import show_usage_errors
from ddf_seg.datasets.cifar10 import CLASSES
from ddf_seg.engine.config_file import read_config
from ddf_seg.layers import DDFPack

CONFIGS = Path(__file__).parents[2] / 'configs/classification'
SMALL = dict(type='DDFResNetSmall', depth=20, base_channels=4)


@pytest.mark.parametrize('depth', [20, 29])
def test_the_small_resnet(depth: int) -> None:
    net = MODELS.build({**SMALL, 'depth': depth})
    maps = net(torch.randn(2, 3, 33, 32))
    assert [tuple(x.shape[1:]) for x in maps] == [(16, 33, 32), (32, 17, 16), (64, 9, 8)]
    blocks = [block for i in (1, 2, 3) for block in getattr(net, f'layer{i}')]
    # The stem, three in a block, and the linear layer that a classifier adds
    assert 1 + 3 * len(blocks) + 1 == depth
    assert all(isinstance(block.conv2, DDFPack) for block in blocks)
    with pytest.raises(ValueError, match=r'depth: expected one of \(20, 29, 56\) .*, got 50'):
        MODELS.build({**SMALL, 'depth': 50})


@pytest.mark.parametrize(('depth', 'millions'), [(50, 16.8), (101, 28.1)])
def test_configs_for_imagenet_are_the_papers_networks(depth: int, millions: float) -> None:
    cfg = read_config(str(CONFIGS / f'ddf_resnet{depth}_8xb32_in1k.py'), None)
    with torch.device('meta'):
        net = MODELS.build({**cfg.model, 'data_preprocessor': None})
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 1) == millions
    # The authors' rate is for 8 × 128 images.
    images = 8 * cfg.train_dataloader.batch_size
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.4 * images / 1024)
    assert [s.end for s in cfg.param_scheduler] == [5, cfg.train_cfg.max_epochs] == [5, 120]


def test_the_loss_and_the_predictions() -> None:
    torch.manual_seed(0)
    net = MODELS.build(
        dict(type='MeanClassifier', backbone=SMALL, in_channels=64, num_classes=5,
             label_smoothing=0.2)
    ).eval()  # fmt: skip
    x, labels = torch.randn(3, 3, 32, 32), [torch.tensor(i) for i in (4, 0, 2)]
    scores = net(x).detach()
    loss = net(x, labels, mode='loss')['loss']
    expected = 0.0
    for row, label in zip(scores.tolist(), labels, strict=True):
        total = math.log(sum(map(math.exp, row)))
        for i, value in enumerate(row):
            expected -= (0.2 / 5 + 0.8 * (i == int(label))) * (value - total) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    found = net(x, labels, mode='predict')
    assert [each['label'] for each in found] == [4, 0, 2]
    torch.testing.assert_close(torch.stack([each['scores'] for each in found]), scores)


def test_top_k() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(50, 8)).round(1)
    scores[3] = np.nan
    labels = random.integers(0, 8, 50)
    metric = METRICS.build(dict(type='TopKMetric', k=(1, 3)))
    for row, label in zip(scores, labels, strict=True):
        metric.process({}, [dict(scores=torch.tensor(row), label=int(label))])
    found = metric.evaluate(50)
    for k in (1, 3):
        hits = sum(
            sum(not row[i] < row[label] for i in range(8) if i != label) < k
            for row, label in zip(scores, labels, strict=True)
        )
        assert found[f'top{k}'] == pytest.approx(2 * hits)
    assert 0 < found['top1'] < found['top3'] < 100


def write_cifar10(root: Path) -> Path:
    """Two images of each class, each class with a colour of its own."""
    random = np.random.default_rng(0)
    for part in ('train', 'test'):
        for i, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for number in range(2):
                noise = random.integers(0, 30, (32, 32, 3))
                colour = np.array([i % 3, i // 3 % 3, i // 9]) * 100
                image = Image.fromarray((noise + colour).astype(np.uint8))
                image.save(root / part / name / f'{number}.png')
    return root


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, 'argv', ['classify.py', *map(str, arguments)])
    return show_usage_errors(main)


def options(root: Path, epochs: int) -> list[Any]:
    return [
        '--cfg-options', f'train_cfg.max_epochs={epochs}', 'model.backbone.base_channels=4',
        'model.backbone.depth=20', 'model.in_channels=64', 'train_dataloader.batch_size=10',
        *(f'{part}_dataloader.dataset.{key}' for part in ('train', 'val')
          for key in ('per_class=2', f'data_root={root}')),
    ]  # fmt: skip


def test_a_segmentor_starts_from_a_trained_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, work = write_cifar10(tmp_path / 'data'), tmp_path / 'work'
    command = [CONFIGS / 'ddf_resnet29_1xb64_cifar10.py', '--work-dir', work]
    assert run(monkeypatch, *command, *options(root, 1)) == 0
    assert run(monkeypatch, *command, '--resume', *options(root, 2)) == 0
    weights = torch.load(work / 'epoch_2.pth', weights_only=False)['state_dict']
    start = dict(type='Pretrained', checkpoint=str(work / 'epoch_2.pth'), prefix='backbone.')
    net = MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone={**SMALL, 'init_cfg': start},
            decode_head=dict(type='FCNHead', in_channels=64, in_index=2, channels=8, num_classes=3),
        )
    )
    before = net.backbone.layer1[0].conv2.spatial_branch[0].weight.clone()
    net.init_weights()
    taken = net.backbone.state_dict()
    assert all(torch.equal(taken[key], weights[f'backbone.{key}']) for key in taken)
    assert len(taken) == len(weights) - 2
    assert not torch.equal(before, net.backbone.layer1[0].conv2.spatial_branch[0].weight)
    # Two batches in each of two epochs
    assert weights['backbone.bn1.num_batches_tracked'] == 4


def test_a_training_goes_on_from_its_own_last_sound_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, work = write_cifar10(tmp_path / 'data'), tmp_path / 'work'
    plain = CONFIGS / 'ddf_resnet29_1xb64_cifar10.py'
    assert run(monkeypatch, plain, '--work-dir', work, *options(root, 2)) == 0
    # Where the training once started: to go on from it would be to train for one epoch.
    start = (work / 'epoch_2.pth').rename(tmp_path / 'start.pth')
    (work / 'epoch_2.pth').write_bytes(start.read_bytes()[:1000])
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = '{plain.resolve()}'\nload_from = '{start}'\n")
    seed = torch.load(work / 'epoch_1.pth', weights_only=True)['meta']['seed']
    capsys.readouterr()
    command = [config, '--work-dir', work, '--resume', *options(root, 3)]
    assert run(monkeypatch, *command) == 0
    assert f'note: going on from {work / "epoch_1.pth"}' in capsys.readouterr().err
    logs = [file.read_text() for file in sorted(work.glob('*/*.log'))]
    assert 'resumed epoch: 1, iter: 2' in logs[-1]
    checkpoint = torch.load(work / 'epoch_3.pth', weights_only=True)
    assert checkpoint['meta']['seed'] == seed
    assert 'random_state' in checkpoint
    # Two batches in each of three epochs
    assert checkpoint['state_dict']['backbone.bn1.num_batches_tracked'] == 6


def test_two_trainings_do_not_share_a_work_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_cifar10(tmp_path / 'data')
    code = f"""
        import time
        from ddf_seg.engine.checks.output_folder import lock
        file = lock({str(tmp_path)!r})
        print('locked', flush=True)
        time.sleep(1000)
    """
    with Started(code) as other:
        other.wait_for('locked')
        config = CONFIGS / 'ddf_resnet29_1xb64_cifar10.py'
        assert run(monkeypatch, config, '--work-dir', tmp_path, *options(root, 1)) == 1
    assert f'{tmp_path} is in use by process ' in capsys.readouterr().err
    assert not list(tmp_path.glob('*.pth'))


def test_missing_data_ends_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('DDF_DATA_ROOT', str(tmp_path / 'nowhere'))
    for name, message in (
        ('ddf_resnet29_1xb64_cifar10', 'nowhere/cifar10/cifar10.zip: expected CIFAR-10'),
        ('ddf_resnet50_8xb32_in1k', 'nowhere/imagenet/train: expected a folder with a folder of'),
    ):
        assert run(monkeypatch, CONFIGS / f'{name}.py', '--work-dir', tmp_path / 'work',
                   '--cfg-options', 'model.backbone.base_channels=4') == 1  # fmt: skip
        error = capsys.readouterr().err
        assert message in error, error
        assert 'Traceback' not in error
