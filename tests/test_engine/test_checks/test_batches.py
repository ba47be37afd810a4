"""The ids of a label that are no class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddf_seg.engine.checks.batches import foreign_ids


@pytest.mark.parametrize(
    ('low', 'high', 'dtype'),
    [(0, 19, 'int64'), (0, 25, 'int64'), (-2, 25, 'int64'), (0, 256, 'uint8'), (0, 70000, 'int32')],
)
def test_foreign_ids_are_what_numpy_finds(low: int, high: int, dtype: str) -> None:
    label = np.random.default_rng(0).integers(low, high, (33, 47)).astype(dtype)
    label[0] = 255
    expected = sorted(set(label.ravel().tolist()) - set(range(19)) - {255})
    assert foreign_ids(torch.from_numpy(label), 19, 255) == expected


def test_an_ignored_id_inside_and_an_empty_label() -> None:
    assert foreign_ids(torch.tensor([[0, 3, 255]]), 3, 3) == [255]
    assert foreign_ids(torch.empty(0, 4, dtype=torch.int64), 3, 255) == []
