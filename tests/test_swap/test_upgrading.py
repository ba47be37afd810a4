"""A trained network's weights in its DDF counterpart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from openmmlab_toy import make_resnets_shallow

from ddf_seg.engine.config_file import load_config
from ddf_seg.errors import UsageError
from ddf_seg.swap import swap_heads, upgrade
from ddf_seg.swap.probe import build, without_pretrained
from ddf_seg.swap.upgrading import prefixes

NARROW = dict(base_channels=8, stem_channels=8)
LEVELS = [32, 64, 128, 256]
CONFIGS: dict[str, dict[str, Any]] = {
    'segformer_mit-b0': dict(),
    'fpn_r50': dict(backbone=NARROW, neck=dict(in_channels=LEVELS)),
    'upernet_r50': dict(
        backbone=NARROW,
        decode_head=dict(in_channels=LEVELS, channels=16),
        auxiliary_head=dict(in_channels=128),
    ),
    'deeplabv3plus_r50-d8': dict(
        backbone=NARROW,
        decode_head=dict(in_channels=256, channels=16, c1_in_channels=32, c1_channels=8),
        auxiliary_head=dict(in_channels=128),
    ),
    'fcn_unet_s5-d16': dict(
        backbone=dict(base_channels=8),
        decode_head=dict(in_channels=8),
        auxiliary_head=dict(in_channels=16),
        test_cfg=dict(_delete_=True, mode='whole'),
    ),
    'pspnet_r50-d8': dict(
        backbone=NARROW,
        decode_head=dict(in_channels=256, channels=16),
        auxiliary_head=dict(in_channels=128),
    ),
}


@pytest.fixture(autouse=True)
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    make_resnets_shallow(monkeypatch)


def trained(name: str, folder: Path) -> tuple[Config, Path]:
    """A config of mmsegmentation, narrower, and weights that differ from any start."""
    config = folder / 'original.py'
    config.write_text(f"_base_ = 'mmseg::_base_/models/{name}.py'\nmodel = {CONFIGS[name]!r}\n")
    cfg = load_config(str(config))
    torch.manual_seed(0)
    model = build(without_pretrained(cfg.model.to_dict()))
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.mul_(1.2).add_(0.05 * torch.rand_like(value))
    path = folder / 'original.pth'
    torch.save(
        {'state_dict': model.state_dict(), 'meta': {'dataset_meta': {'classes': 'ab'}}}, path
    )
    return cfg, path


@pytest.mark.parametrize(
    ('name', 'how'),
    [
        ('segformer_mit-b0', dict()),
        ('fpn_r50', dict(upsample=True)),
        ('upernet_r50', dict()),
        ('deeplabv3plus_r50-d8', dict()),
        ('fcn_unet_s5-d16', dict(head=False, upsample=True)),
    ],
)
def test_predictions_stay(name: str, how: dict[str, Any], tmp_path: Path) -> None:
    """Of a swap that learns something new, by all weights of the original."""
    cfg, path = trained(name, tmp_path)
    swapped = swap_heads(cfg, **how)
    done = upgrade(cfg, swapped, path)
    assert done.exact
    assert done.new
    assert not done.lost
    assert 'those of the original' in done.notes()[-1]
    # What is written is what was compared.
    before = build(without_pretrained(cfg.model.to_dict()))
    before.load_state_dict(torch.load(path)['state_dict'])
    after = build(without_pretrained(swapped.model.to_dict()))
    after.load_state_dict(done.checkpoint['state_dict'])
    x = torch.randn(2, 3, 128, 192)
    with torch.no_grad():
        then, now = (m.decode_head(m.extract_feat(x)) for m in (before, after))
    torch.testing.assert_close(now, then, rtol=0, atol=float(1e-5 * then.abs().max()))
    assert done.checkpoint['meta']['dataset_meta'] == {'classes': 'ab'}


def test_where_predictions_change_it_says_so(tmp_path: Path) -> None:
    cfg, path = trained('pspnet_r50-d8', tmp_path)
    done = upgrade(cfg, swap_heads(cfg, convs=True), path)
    assert not done.exact
    assert done.lost
    original = torch.load(path)['state_dict']
    # What the new convolutions have besides parameters is not the original's.
    assert done.taken
    assert all(torch.equal(done.checkpoint['state_dict'][k], original[k]) for k in done.taken)
    assert set(done.taken).isdisjoint(done.new)
    assert len(done.taken) + len(done.lost) == len(original)
    assert 'have no place (decode_head.bottleneck' in done.notes()[0]
    assert 'train before use' in done.notes()[1]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    cfg, path = trained('pspnet_r50-d8', tmp_path)
    other, _ = trained('upernet_r50', tmp_path)
    path = tmp_path / 'other.pth'
    torch.save({'state_dict': build(without_pretrained(cfg.model.to_dict())).state_dict()}, path)
    with pytest.raises(UsageError, match='is of another model than the config describes'):
        upgrade(other, swap_heads(other), path)


def test_the_schedule_trains_new_parts_ten_times_as_fast(tmp_path: Path) -> None:
    cfg, path = trained('segformer_mit-b0', tmp_path)
    swapped = swap_heads(cfg)
    done = upgrade(cfg, swapped, path)
    options = done.schedule(40)
    wrapper = options['optim_wrapper']
    assert wrapper.pop('_delete_')
    model = MODELS.build(Config(dict(model=without_pretrained(swapped.model.to_dict()))).model)
    optimizer = build_optim_wrapper(model, Config(wrapper)._cfg_dict).optimizer
    rates = {id(p): group['lr'] for group in optimizer.param_groups for p in group['params']}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(1e-3 if name in done.new else 1e-4), name


def test_prefixes_are_short_and_exact() -> None:
    new = ['head.up.0.guide.weight', 'head.up.0.guide.bias', 'head.conv.gate.weight']
    kept = ['head.conv.weight', 'head.up_before.weight', 'neck.weight']
    # 'head.up' would be found in the kept head.up_before, too.
    assert prefixes(new, kept) == ['head.up.0', 'head.conv.gate']
