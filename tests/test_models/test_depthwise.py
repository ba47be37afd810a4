"""The depthwise convolution that backbones train in bfloat16."""

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
import torch.nn.functional as F

from ddf_seg.models.backbones.depthwise import depthwise_conv2d


def gradients(convolve, *tensors):
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    out = convolve(*leaves)
    torch.manual_seed(1)
    out.backward(torch.randn(out.shape).bfloat16().to(out.dtype))
    return [out.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('k', [3, 5])
def test_values_and_gradients_are_those_of_float64(k, stride):
    torch.manual_seed(0)
    x, weight = torch.randn(2, 24, 13, 18).bfloat16(), torch.randn(24, 1, k, k).bfloat16()
    here = gradients(lambda x, w: depthwise_conv2d(x, w, stride, k // 2), x, weight)
    there = gradients(
        lambda x, w: F.conv2d(x, w, None, stride, k // 2, groups=24), x.double(), weight.double()
    )
    for ours, exact in zip(here, there, strict=True):
        assert ours.dtype is torch.bfloat16
        # Two roundings to bfloat16's 8 bits
        torch.testing.assert_close(ours.double(), exact, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize(('k', 'stride'), [(5, 1), (3, 2), (5, 2)])
def test_float32_computes_what_is_slow_in_bfloat16(k, stride, monkeypatch):
    types = []
    backward = torch.ops.aten.convolution_backward

    def recorded(grad, *rest):
        types.append((grad.dtype, rest[-1]))
        return backward(grad, *rest)

    monkeypatch.setattr(torch.ops.aten, 'convolution_backward', recorded)
    x, weight = torch.randn(1, 8, 10, 10).bfloat16(), torch.randn(8, 1, k, k)
    found = gradients(lambda x, w: depthwise_conv2d(x, w, stride, k // 2), x, weight)
    assert found[2].dtype is torch.float32
    expected = {(torch.float32, (stride > 1, k > 3)), (torch.bfloat16, (stride == 1, k == 3))}
    assert {(dtype, tuple(mask[:2])) for dtype, mask in types} == {
        (dtype, mask) for dtype, mask in expected if any(mask)
    }


def test_a_fixed_filter_and_a_fixed_map_need_no_gradient():
    x, weight = torch.randn(1, 8, 10, 10).bfloat16(), torch.randn(8, 1, 5, 5).bfloat16()
    depthwise_conv2d(x.requires_grad_(), weight, 2, 2).sum().backward()
    assert weight.grad is None
    assert x.grad is not None
    depthwise_conv2d(x.detach(), weight.requires_grad_(), 2, 2).sum().backward()
    assert weight.grad is not None
