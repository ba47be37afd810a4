"""Runs every specialised CUDA kernel once: for NVIDIA's profiler and memory checker.

Prints which kernels each call took.
"""

from __future__ import annotations

import argparse
import sys

from ddf_seg.command_line import ToolParser, show_usage_errors
from ddf_seg.errors import UsageError

# Shape of the features, layout, stride, scale factor; widths that are whole vectors, and not.
SMALL = (
    ((2, 12, 6, 40), 'contiguous', 1, 1),
    ((1, 6, 7, 37), 'contiguous', 1, 1),
    ((1, 8, 9, 10), 'contiguous', 2, 1),
    ((1, 10, 5, 8), 'contiguous', 1, 2),
    ((2, 136, 6, 9), 'channels_last', 1, 1),
    ((1, 64, 6, 8), 'channels_last', 2, 1),
    ((1, 16, 5, 6), 'channels_last', 1, 2),
)
LARGE = (
    ((2, 256, 200, 300), 'contiguous', 1, 1),
    ((2, 256, 200, 300), 'channels_last', 1, 1),
    ((1, 256, 120, 120), 'contiguous', 1, 2),
    ((1, 256, 120, 120), 'channels_last', 1, 2),
    ((2, 256, 200, 300), 'contiguous', 2, 1),
)
# Of filters that start as interpolation: their map's size, twice that of the keys; layout, kernel
# size.
SMALL_SOFTMAX = (((6, 40), 'contiguous', 3), ((8, 14), 'channels_last', 5))
LARGE_SOFTMAX = (
    ((512, 1024), 'contiguous', 3),
    ((512, 1024), 'channels_last', 3),
    ((512, 1024), 'contiguous', 5),
)
QUERY_CHANNELS = 16
# Filters, their layout and taps, whether their deviation is learned.
SMALL_NORM = (
    ((2, 18, 6, 40), 'contiguous', 9, False),
    ((1, 9, 7, 9), 'channels_last', 9, False),
    ((2, 32 * 25, 1, 1), 'contiguous', 25, True),
)
LARGE_NORM = (
    ((2, 9, 200, 300), 'contiguous', 9, False),
    ((2, 9, 200, 300), 'channels_last', 9, False),
    ((2, 256 * 9, 1, 1), 'contiguous', 9, True),
)
DTYPES = ('float32', 'bfloat16')


def run_softmax(large: bool, device: str) -> None:
    """Forward and backward of `interpolation_softmax`."""
    import torch

    from ddf_seg.layers import InterpolationSoftmax
    from ddf_seg.ops import native

    for size, layout, kernel_size in LARGE_SOFTMAX if large else SMALL_SOFTMAX:
        for dtype in DTYPES:
            low = (size[0] // 2, size[1] // 2)
            to = torch.channels_last if layout == 'channels_last' else torch.contiguous_format
            logits, query, key = (
                torch.randn(1, channels, *of, device=device, dtype=getattr(torch, dtype))
                .contiguous(memory_format=to)
                .requires_grad_()
                for channels, of in (
                    (kernel_size**2, size), (QUERY_CHANNELS, size), (QUERY_CHANNELS, low)
                )
            )  # fmt: skip
            layer = InterpolationSoftmax(1, kernel_size, 2)
            with native.launched_kernels() as names:
                (filters,) = layer.filters(logits, low, None, query, key)
                filters.backward(torch.randn_like(filters))
            print(f'{kernel_size}² taps, {size} {layout} {dtype}: {", ".join(names)}')


def run_norm(large: bool, device: str) -> None:
    """Forward and backward of `filter_norm`."""
    import torch

    from ddf_seg.ops import native
    from ddf_seg.ops.filter_norm import filter_norm

    for shape, layout, taps, learned in LARGE_NORM if large else SMALL_NORM:
        for dtype in DTYPES:
            to = torch.channels_last if layout == 'channels_last' else torch.contiguous_format
            filters = torch.randn(shape, device=device, dtype=getattr(torch, dtype))
            filters = filters.contiguous(memory_format=to).requires_grad_()
            std = torch.randn(shape[1], device=device) if learned else None
            with native.launched_kernels() as names:
                made = filter_norm(filters, taps, 1.0, 1e-5, None, std)
                made.backward(torch.randn_like(made))
            sizes = '×'.join(map(str, shape))
            print(f'FilterNorm, {sizes} {layout} {dtype}: {", ".join(names)}')


def run_gain(large: bool, device: str) -> None:
    """`weight_gain` of a channel branch of 256 or 16 channels."""
    import torch

    from ddf_seg.ops import native
    from ddf_seg.ops.weight_gain import weight_gain

    channels = 256 if large else 16
    for dtype in DTYPES:
        of_type = getattr(torch, dtype)
        squeezed = channels // 5
        weights = [
            torch.randn(shape, device=device, dtype=of_type)
            for shape in ((squeezed, channels), (9 * channels, squeezed))
        ]
        with native.launched_kernels() as names:
            weight_gain(*weights)
        print(f'gain of weights, {channels} channels {dtype}: {", ".join(names)}')


def run(large: bool, device: str) -> None:
    """Forward and backward of each case of the operators."""
    import torch

    from ddf_seg.ops import ddf, ddf_upsample, native

    for shape, layout, stride, scale in LARGE if large else SMALL:
        for dtype in DTYPES:
            batch, channels, height, width = shape
            size = (-(-height // stride) * scale, -(-width // stride) * scale)
            phases = (scale**2,) if scale > 1 else ()
            shapes = (shape, (batch, *phases, channels, 3, 3), (batch, 9, *size))
            x, f, s = (
                torch.randn(n, device=device).to(getattr(torch, dtype)).requires_grad_()
                for n in shapes
            )
            to = torch.channels_last if layout == 'channels_last' else torch.contiguous_format
            features = x.contiguous(memory_format=to)
            spatial = s.contiguous(memory_format=to)
            with native.launched_kernels() as names:
                if scale > 1:
                    output = ddf_upsample(features, f, spatial, 3, scale)
                else:
                    output = ddf(features, f, spatial, 3, 1, stride)
                output.backward(torch.randn_like(output))
            sizes = '×'.join(map(str, shape))
            print(f'{sizes} {layout} {dtype}, stride {stride}, scale {scale}: {", ".join(names)}')


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__, examples=['python dev/gpu_cases.py --large'])
    parser.add_argument('--large', action='store_true', help="the paper's map, for the profiler")
    parser.add_argument('--device', default='cuda', help='cuda, or cpu to try this program')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import torch

    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UsageError(f'--device: expected a GPU, torch {torch.__version__} sees none')
    run(args.large, args.device)
    run_softmax(args.large, args.device)
    run_norm(args.large, args.device)
    run_gain(args.large, args.device)
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
