"""Training steps of DDFHead on a GPU, also with mixed precision as `--amp` sets it up."""

from __future__ import annotations

import pytest

pytest.importorskip('mmseg', reason='OpenMMLab is not installed')
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg.ops import native

DEVICE = 'cuda'
CHANNELS = [16, 24, 32, 48]
pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='torch sees no GPU: nothing of this runs elsewhere'
)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize('amp', [False, True], ids=['float32', 'amp'])
def test_loss_falls(amp: bool, layout: torch.memory_format) -> None:
    if DEVICE == 'cuda' and native.load('cuda').built_for is None:
        pytest.skip(f'there is a GPU, but no CUDA kernels: {native.load("cuda").reason}')
    torch.manual_seed(0)
    head = MODELS.build(
        {
            'type': 'DDFHead',
            'in_channels': CHANNELS,
            'in_index': [0, 1, 2, 3],
            'channels': 16,
            'num_classes': 3,
            'norm_cfg': {'type': 'BN'},
            'dropout_ratio': 0.0,
        }
    )
    head = head.to(DEVICE, memory_format=layout).train()
    maps = [
        torch.randn(2, c, 32 >> i, 48 >> i, device=DEVICE).contiguous(memory_format=layout)
        for i, c in enumerate(CHANNELS)
    ]
    # To be learned from the finest level alone.
    labels = (maps[0][:, :1] > 0).long()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    wrapper = AmpOptimWrapper(optimizer=optimizer) if amp else OptimWrapper(optimizer)
    losses = []
    for _ in range(12):
        with wrapper.optim_context(head):
            loss = head.loss_by_feat(head(maps), samples)['loss_ce']
        wrapper.update_params(loss)
        losses.append(float(loss))
    assert all(torch.isfinite(p).all() for p in head.parameters())
    assert losses[-1] < 0.8 * losses[0], losses
