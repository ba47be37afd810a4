"""The text of a swapped config."""

from __future__ import annotations

from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
from mmengine.config import Config

from ddf_seg.engine.config_file import load_config
from ddf_seg.swap import config_text, plan_swap


def test_the_text_reads_back(tmp_path: Path) -> None:
    """Whatever stands in a cascade, whose list has to be written whole."""
    cfg = load_config('mmseg::ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py')
    plan = plan_swap(cfg)
    plan.options['model']['decode_head'][1]['note'] = {'a key': (1,), 'b': [None, 1e-5] * 20}
    path = tmp_path / 'new.py'
    path.write_text(config_text(plan, 'mmseg::_base_/models/ocrnet_hr18.py', path))
    heads = Config.fromfile(path).to_dict()['model']['decode_head']
    assert heads == plan.options['model']['decode_head']
    assert max(map(len, path.read_text().splitlines()[2:])) <= 100
