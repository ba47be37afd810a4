"""Networks that differ in their upsampling, in every runtime: latency and memory for an image."""

# What upsamples in the study's SegFormer head; and DDFHead, as configs/ddf_camvid.py has it.
ROWS = ('bilinear', 'carafe', 'dysample', 'ddf', 'DDFHead')
# How a network runs; the first is what the others are compared with.
FORMS = (
    'eager',
    'optimised',
    'compiled',
    'aoti',
    'onnxruntime',
    'openvino-f32',
    'openvino-bf16',
    'openvino-int8',
)
