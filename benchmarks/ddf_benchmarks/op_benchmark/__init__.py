"""Times the compiled operators beside their baselines (benchmark_op.py)."""

# Name of a section to what is said above its table
SECTIONS = {
    'forward': 'nn.functional.conv2d with groups = C beside it; nchw: contiguous, nhwc: '
    'channels_last; large: the float32 feature map fills the last-level cache.',
    'backward': "All three gradients; beside it aten's convolution_backward of the depthwise "
    'convolution.',
    'branches': 'Forward with one filter, the other None, beside both filters and the depthwise '
    'convolution; the better memory format of each, float32, kernel size 3.',
    'upsample': 'ddf_upsample, scale factor 2, a channel filter for each phase.',
    'threads': 'float32, kernel size 3.',
    'regimes': 'Both filters and the spatial one alone, beside the depthwise convolution or, for '
    'upsampling, bilinear interpolation; the better memory format of each, float32. Each allocator '
    'has a process of its own; faults: pages that the kernel provides in a call, on average. The '
    'targets hold with tcmalloc, which reuses memory.',
    'memory': 'What a call allocates at its peak beyond inputs and result (float32, kernel size '
    '3), beside the formula by torch.nn.functional.unfold.',
    'layers': 'float32, contiguous; forward + backward: gradients of input and parameters.',
    'costs': 'Layers of 256 channels and 3×3 taps, forward, float32, contiguous. Parameters, '
    'multiply-adds and generated filters are counted on the layers; peak: beyond input and result.',
}
DTYPES = ('float32', 'bfloat16')
