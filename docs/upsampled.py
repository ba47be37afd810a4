"""Draws docs/upsampled.png: a feature map of the shipped network, enlarged in two ways."""

from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import matplotlib.pyplot as plt
import torch.nn.functional as F
from mmseg.apis import init_model

from ddf_seg.engine.predicting.classes import make_classes
from ddf_seg.ops import ddf_upsample
from ddf_seg.visualization import inspect_image
from ddf_seg.visualization.basis import FilterBasis

LEFT, TOP, WIDTH, HEIGHT = 290, 50, 190, 200

model = init_model(
    'configs/ddf_camvid_trainval_finetune.py', 'checkpoints/ddf_camvid.pth', device='cpu'
)
classes = make_classes(model.dataset_meta, model.num_classes)
run = inspect_image(model, cv2.imread('docs/demo/scene.png'), classes)
# The head has four upsamplings, the finest first. The filters of three of them, one after the
# other, enlarge the map of stride 16: each 5×5, and each fine pixel with its own.
calls = [run.call(f'decode_head.upsamples.{level}.ddf_up') for level in (2, 1, 0)]
coarse = upsampled = calls[0].features
for call in calls:
    neutral = coarse.new_ones(1).expand(1, coarse.shape[1], 5, 5)
    upsampled = ddf_upsample(upsampled, neutral, call.spatial_filter, kernel_size=5, scale_factor=2)
interpolated = F.interpolate(coarse, size=call.size, mode='bilinear')
# One set of colours for all three: each pixel's 64 features along their principal components.
maps = [m[0, :, None, None] for m in (coarse, interpolated, upsampled)]
basis = FilterBasis.fit(maps[1:])

figure, axes = plt.subplots(1, 4, figsize=(10, 2.95), layout='constrained')
axes[0].imshow(run.image)
axes[0].set_title('a part of the image')
titles = ('a map of stride 16', 'enlarged by interpolation', 'enlarged by DDF')
for panel, m, title in zip(axes[1:], maps, titles, strict=True):
    panel.imshow(basis.colours(m), extent=run.extent(call), interpolation='nearest')
    panel.set_title(title)
for panel in axes:
    panel.set(xlim=(LEFT, LEFT + WIDTH), ylim=(TOP + HEIGHT, TOP), xticks=[], yticks=[])
figure.savefig(Path(__file__).with_suffix('.png'), dpi=100)
