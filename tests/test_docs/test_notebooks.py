"""The tutorials: they run, here without Jupyter. `make docs` runs them with it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import matplotlib as mpl
import pytest
import torch
from matplotlib import pyplot as plt
from scripts import ROOT

NOTEBOOKS = sorted((ROOT / 'docs/tutorials').glob('*.ipynb'))


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    mpl.use('Agg')
    variables: dict[str, object] = {}
    with warnings.catch_warnings(), torch.random.fork_rng():
        for cell in json.loads(notebook.read_text())['cells']:
            if cell['cell_type'] == 'code':
                # A training of half a minute: two steps show that it runs, and two images of eight
                # what it gives.
                code = ''.join(cell['source']).replace('range(160)', 'range(2)')
                exec(code.replace('range(40)', 'range(34)'), variables)
    plt.close('all')


def test_they_are_stored_without_outputs() -> None:
    for notebook in NOTEBOOKS:
        for cell in json.loads(notebook.read_text())['cells']:
            assert not cell.get('outputs')
            assert cell.get('execution_count') is None
