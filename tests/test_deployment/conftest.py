"""One export of the shipped network for all tests, since it takes long."""

from __future__ import annotations

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
from exported import CHECKPOINT, CONFIG, SIZE, Shipped

from ddf_seg.deployment.exporting import export_program, write_program
from ddf_seg.deployment.network import Interface, metadata_of
from ddf_seg.engine.config_file import load_config
from ddf_seg.engine.predicting.network import load_model


@pytest.fixture(scope='session')
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    cfg = load_config(str(CONFIG))
    network = load_model(cfg, str(CHECKPOINT), 'cpu')
    metadata, note = metadata_of(network, cfg, CONFIG.stem)
    assert not note
    program = export_program(network.model, SIZE, Interface(output='scores'))
    file = tmp_path_factory.mktemp('shipped') / 'network.onnx'
    write_program(program, 'onnx', file, metadata)
    return Shipped(network.model, file, metadata)


@pytest.fixture(scope='session')
def image() -> np.ndarray:
    """(H, W, 3) uint8: smooth with edges, as photos are."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (10, 13, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)[: SIZE[0], : SIZE[1]])
