"""mmseg's cross entropy with class weights and ignored pixels, against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from processes import run_loaded

import ddf_seg.openmmlab  # noqa: F401

UNMENDED = """
import ddf_seg._compat
ddf_seg._compat.apply()
import torch
from mmseg.models.losses.cross_entropy_loss import cross_entropy
try:
    cross_entropy(torch.zeros(1, 2, 3), torch.tensor([[0, 1, 255]]), class_weight=torch.ones(2),
                  ignore_index=255, avg_non_ignore=True)
except IndexError:
    print('defect')
"""


@pytest.mark.parametrize('avg_non_ignore', [True, False])
def test_class_weights_and_ignored_pixels(avg_non_ignore):
    weights = [0.5, 2.0, 1.0]
    loss = MODELS.build(
        dict(type='CrossEntropyLoss', class_weight=weights, avg_non_ignore=avg_non_ignore)
    )
    scores, label = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    label[0, :2] = 255
    expected = F.cross_entropy(scores, label, torch.tensor(weights), ignore_index=255)
    torch.testing.assert_close(loss(scores, label, ignore_index=255), expected)


def test_the_installed_mmseg_has_the_defect():
    done = run_loaded(UNMENDED)
    assert done.returncode == 0, done.stderr
    if 'defect' not in done.stdout:
        pytest.skip('the installed mmseg handles class weights with ignored pixels by itself')
