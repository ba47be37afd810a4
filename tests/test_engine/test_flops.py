"""mmengine's counter sees the operators: a multiply-add a tap, and another with both filters."""

import pytest
import torch
from mmengine.analysis import get_model_complexity_info

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg.layers import DDFPack, DDFUpPack


def by_operator(model, *shapes):
    info = get_model_complexity_info(model, inputs=tuple(torch.zeros(1, *s) for s in shapes))
    return info['flops'], info


def test_ddf_pack_costs_what_its_formula_says():
    flops, _ = by_operator(DDFPack(20, kernel_size=5, stride=2), (20, 15, 18))
    pixels = 8 * 9
    spatial = pixels * 20 * 25
    squeeze, excite = 20 * 4, 4 * 20 * 25
    ddf = 2 * 25 * 20 * pixels
    # The pooled mean is a sum, which mmengine counts for nobody.
    assert flops == spatial + squeeze + excite + ddf


def test_joint_upsampling_counts_the_output():
    flops, info = by_operator(DDFUpPack(20, joint_channels=8), (20, 6, 7), (8, 12, 13))
    pixels = 12 * 13
    branches = pixels * 8 * 9 + 20 * 16 + 16 * 20 * 9
    assert flops == branches + 2 * 9 * 20 * pixels
    assert info['activations'] == pixels * 9 + 16 + 4 * 20 * 9 + 20 * pixels


@pytest.mark.parametrize('branches', ['spatial', 'channel'])
def test_one_branch_needs_no_product_of_filters(branches):
    flops, _ = by_operator(DDFPack(20, kernel_size=5, branches=branches), (20, 8, 9))
    pixels = 8 * 9
    branch = pixels * 20 * 25 if branches == 'spatial' else 20 * 4 + 4 * 20 * 25
    assert flops == branch + 25 * 20 * pixels
