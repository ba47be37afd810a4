"""Which of several processes speaks for all."""

from __future__ import annotations

import os

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import mmengine.dist.utils
import pytest
import torch

from ddf_seg.engine.running.runners import is_first_process


@pytest.mark.parametrize(
    ('launcher', 'variables'),
    [
        ('pytorch', {'RANK': '{}', 'LOCAL_RANK': '0', 'SLURM_PROCID': '0'}),
        ('mpi', {'OMPI_COMM_WORLD_RANK': '{}', 'SLURM_PROCID': '0'}),
        ('mpi', {'OMPI_COMM_WORLD_RANK': '{}', 'SLURM_PROCID': '1'}),
        ('slurm', {'SLURM_PROCID': '{}'}),
    ],
)
@pytest.mark.parametrize('rank', [0, 1, 10])
def test_the_first_process_is_known_before_mmengine_has_started_it(
    monkeypatch: pytest.MonkeyPatch, launcher: str, variables: dict[str, str], rank: int
) -> None:
    for name in ('RANK', 'OMPI_COMM_WORLD_RANK', 'SLURM_PROCID', 'WORLD_SIZE', 'LOCAL_RANK'):
        # So that it is removed again, whoever sets it
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    assert is_first_process()
    given = {name: value.format(rank) for name, value in variables.items()}
    others = {
        'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '1', 'OMPI_COMM_WORLD_SIZE': '11',
        'OMPI_COMM_WORLD_LOCAL_RANK': '0', 'SLURM_NTASKS': '11', 'SLURM_NODELIST': 'here',
    }  # fmt: skip
    for name, value in {**others, **given}.items():
        monkeypatch.setenv(name, value)
    before = is_first_process()
    if launcher != 'pytorch':
        # The rank that mmengine itself takes from the variables
        monkeypatch.setattr(torch.cuda, 'set_device', lambda _: None)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
        monkeypatch.setattr(torch.distributed, 'init_process_group', lambda **_: None)
        monkeypatch.setattr(mmengine.dist.utils.subprocess, 'getoutput', lambda _: 'here')
        getattr(mmengine.dist.utils, f'_init_dist_{launcher}')('gloo')
    assert before == is_first_process() == (int(os.environ['RANK']) == 0)
