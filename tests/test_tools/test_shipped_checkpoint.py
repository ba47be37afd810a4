"""The network in checkpoints/ scores on CamVid what configs/metafile.yaml says."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
from mmengine.fileio import load
from openmmlab_toy import forget_visualizers
from scripts import ROOT, load_script

from ddf_seg.engine.config_file import read_config
from ddf_seg.engine.predicting.network import load_model
from ddf_seg.engine.predicting.optimizing import fold_normalization
from ddf_seg.engine.weights.package_weights import resolve_package_file

MODELS = load(ROOT / 'configs' / 'metafile.yaml')['Models']


@pytest.mark.parametrize('model', MODELS, ids=lambda model: model['Name'])
def test_files_are_there(model: dict) -> None:
    assert (ROOT / model['Config']).stem == model['Name']
    assert 1e6 < resolve_package_file(model['Weights']).stat().st_size < 20e6


@pytest.mark.parametrize(
    ('model', 'files'),
    [
        (MODELS[0], ('README.md', 'configs/_base_/models/ddf_efficientnet-lite0.py')),
        (MODELS[1], ('configs/ddf_camvid-lite2_trainval.py',)),
    ],
    ids=[model['Name'] for model in MODELS],
)
def test_its_size_is_what_is_said_of_it(model: dict, files: Sequence[str]) -> None:
    """Everything but the statistics of batch normalisation is a parameter."""
    path = resolve_package_file(model['Weights'])
    weights = torch.load(path, weights_only=True)['state_dict']
    statistics = ('running_mean', 'running_var', 'num_batches_tracked')
    count = sum(value.numel() for key, value in weights.items() if not key.endswith(statistics))
    for file in files:
        for said in re.findall(r'\(([\d.]+) M parameters', (ROOT / file).read_text()):
            assert float(said) == round(count / 1e6, 1), file


@pytest.mark.parametrize('model', MODELS, ids=lambda model: model['Name'])
def test_its_batch_norm_can_be_folded(model: dict) -> None:
    """Else predict and export would be slower, and say so at most."""
    network = load_model(read_config(str(ROOT / model['Config'])), model['Weights'], 'cpu').model
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        folded = fold_normalization(network)
    assert folded is not network


@pytest.mark.skipif(
    not Path(os.environ.get('DDF_DATA_ROOT', 'data'), 'camvid/val').is_dir(),
    reason='no CamVid in $DDF_DATA_ROOT/camvid',
)
@pytest.mark.parametrize('model', MODELS, ids=lambda model: model['Name'])
def test_score(model: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By mmseg's own test.py and metrics: weights and code belong together.

    It says nothing of quality, for these images were trained on.
    """
    files = [ROOT / 'tools/test.py', ROOT / model['Config'], model['Weights']]
    monkeypatch.setattr(sys, 'argv', [*map(str, files), '--work-dir', str(tmp_path)])
    # mmseg's tool sets it for the whole process.
    monkeypatch.setenv('LOCAL_RANK', '0')
    forget_visualizers()
    assert load_script('tools/test.py').main() == 0
    (scores,) = (json.loads(file.read_text()) for file in tmp_path.glob('*/*.json'))
    for result in model['Results']:
        for metric, published in result['Metrics'].items():
            # Other instruction sets round differently, and move a pixel here and there.
            assert scores[metric] == pytest.approx(published, abs=0.1), metric
