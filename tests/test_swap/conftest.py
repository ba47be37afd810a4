from __future__ import annotations

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
from mmseg.models.backbones import ResNeSt, ResNet, ResNeXt


@pytest.fixture(autouse=True)
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNets of one block a stage: every layer has its kind and width."""
    for kind in (ResNet, ResNeSt, ResNeXt):
        settings = {
            depth: (block, (1, 1, 1, 1)) for depth, (block, _) in kind.arch_settings.items()
        }
        monkeypatch.setattr(kind, 'arch_settings', settings)
