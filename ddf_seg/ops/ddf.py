"""The public operators: arguments checked, then handed to torch's dispatcher."""

from __future__ import annotations

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from .checks import IntPair, check_ddf, check_ddf_upsample
from .definition import call, operator


def ddf(
    features: Tensor,
    channel_filter: Tensor | None = None,
    spatial_filter: Tensor | None = None,
    kernel_size: IntPair = 3,
    dilation: IntPair = 1,
    stride: IntPair = 1,
    kernel_combine: str = 'mul',
) -> Tensor:
    r"""Decoupled dynamic filter: every pixel of every channel is filtered by its own kernel.

    .. math::
        O_{b,c,y,x} = \sum_t (F_{b,c,t} \circ S_{b,g(c),t,y,x}) \cdot X_{b,c,y',x'}

    with t = iy · kw + ix, y' = y · stride + (iy − (kh − 1) / 2) · dilation and x' alike; X is 0
    outside the image, ∘ is × ('mul') or + ('add'), g(c) = c // (C / G). From "Decoupled Dynamic
    Filter Networks" (CVPR 2021, arXiv 2104.14107), equations 2 and 3.

    Args:
        features: X, (B, C, H, W), float64, float32, float16 or bfloat16, in any memory format.
        channel_filter: F, (B, C, kh, kw). Without it (None), S takes the place of F ∘ S, as in
            involution (arXiv 2103.06255).
        spatial_filter: S, (B, G·kh·kw, H', W') with H' = ceil(H / stride) and W' alike; G divides
            C and is read off the shape. Without it (None), F takes the place of F ∘ S: a depthwise
            convolution of every image by its own filters.
        kernel_size: (kh, kw), odd, or one int for both.
        dilation: distance between taps, in pixels.
        stride: step between output pixels, in pixels of the input.
        kernel_combine: 'mul' or 'add'.

    Returns:
        O, (B, C, H', W'), in the dtype and memory format of the features. Under autocast all
        tensors are cast to autocast's dtype.

    Raises:
        TypeError: the tensors' dtypes are unsupported or differ.
        ValueError: a shape, device or argument does not fit; the message names it.
    """
    tensors = (features, channel_filter, spatial_filter)
    if has_torch_function(tensors):  # such as torch.fx's stand-ins
        return handle_torch_function(
            ddf, tensors, *tensors, kernel_size, dilation, stride, kernel_combine
        )
    pairs = check_ddf(
        features, channel_filter, spatial_filter, kernel_size, dilation, stride, kernel_combine
    )
    op = operator('ddf')
    return call(op, features, channel_filter, spatial_filter, *pairs, kernel_combine)


def ddf_upsample(
    features: Tensor,
    channel_filter: Tensor | None = None,
    spatial_filter: Tensor | None = None,
    kernel_size: IntPair = 3,
    scale_factor: int = 2,
    dilation: IntPair = 1,
    kernel_combine: str = 'mul',
) -> Tensor:
    """DDF upsampling: every output pixel filters the neighbourhood of its low-resolution pixel.

    Output pixel (y, x) filters around (min(y // r, H − 1), min(x // r, W − 1)) with the spatial
    filter at (y, x) and the channel filter of phase (y mod r) · r + (x mod r), r = scale_factor. At
    H' = r · H this is DDF-Up of the paper (section 3.4): r² calls of `ddf`, stack, pixel_shuffle,
    without the intermediate maps. Without F it is CARAFE's reassembly (arXiv 1905.02188).

    Args:
        features: X, (B, C, H, W), float64, float32, float16 or bfloat16, in any memory format.
        channel_filter: F, (B, r², C, kh, kw), or (B, C, kh, kw) shared by the phases. Without it
            (None), S takes the place of F ∘ S.
        spatial_filter: S, (B, G·kh·kw, H', W'); its size is the output's, and may be anything
            from r · H − (r − 1) to r · H + (r − 1), W' likewise. Without it (None), F takes the
            place of F ∘ S, and the output has r · H rows and r · W columns.
        kernel_size: (kh, kw), odd, or one int for both.
        scale_factor: r.
        dilation: distance between taps, in low-resolution pixels.
        kernel_combine: 'mul' or 'add'.

    Returns:
        O, (B, C, H', W'), in the dtype and memory format of the features. Under autocast all
        tensors are cast to autocast's dtype.

    Raises:
        TypeError: the tensors' dtypes are unsupported or differ.
        ValueError: a shape, device or argument does not fit; the message names it.
    """
    tensors = (features, channel_filter, spatial_filter)
    if has_torch_function(tensors):
        return handle_torch_function(
            ddf_upsample, tensors, *tensors, kernel_size, scale_factor, dilation, kernel_combine
        )
    kernel, dilations = check_ddf_upsample(
        features,
        channel_filter,
        spatial_filter,
        kernel_size,
        scale_factor,
        dilation,
        kernel_combine,
    )
    return call(
        operator('ddf_upsample'),
        features,
        channel_filter,
        spatial_filter,
        kernel,
        scale_factor,
        dilations,
        kernel_combine,
    )
