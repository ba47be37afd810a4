"""Draws docs/filters.png, for which `python tools/predict.py --demo` makes the scene.

It also shows how to get filters in Python.
"""

from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import matplotlib.pyplot as plt
from mmseg.apis import init_model

from ddf_seg.engine.predicting.classes import make_classes
from ddf_seg.visualization import inspect_image
from ddf_seg.visualization.basis import FilterBasis

PIXELS = {
    'sky': (213, 58),
    'tree': (390, 68),
    'truck': (96, 150),
    'road': (292, 274),
    'kerb': (367, 198),
    'pole': (449, 110),
}

config = 'configs/ddf_camvid_trainval_finetune.py'
model = init_model(config, 'checkpoints/ddf_camvid.pth', device='cpu')
classes = make_classes(model.dataset_meta, model.num_classes)
run = inspect_image(model, cv2.imread('predictions/scenes/3.png'), classes)
call = run.call('decode_head.refinements.0.depthwise')
filters = call.spatial_filters()  # (groups, 3, 3, height, width)

figure, axes = plt.subplot_mosaic(
    [['scene'] * 3 + ['colours'] * 3, list(PIXELS)],
    figsize=(10, 6),
    layout='constrained',
    height_ratios=(2.3, 1),
)
axes['scene'].imshow(run.image)
axes['scene'].set_title('Six pixels of a road scene')
axes['colours'].imshow(FilterBasis.fit([filters]).colours(filters), extent=run.extent(call))
axes['colours'].set_title('The filters of all pixels: similar filters, similar colours')
axes['colours'].set(xlim=(0, run.size[1]), ylim=(run.size[0], 0))
circle = dict(boxstyle='circle', facecolor='#ffb000')
for number, (name, (x, y)) in enumerate(PIXELS.items(), 1):
    axes['scene'].text(x, y, number, ha='center', va='center', size=8, weight='bold', bbox=circle)
    row, column = run.pixel(call, x, y)
    taps = filters[0, :, :, row, column].numpy()
    axes[name].imshow(taps, cmap='RdBu_r', vmin=-1, vmax=1)
    axes[name].set_title(f'{number}  {name}')
    for place in [(i, j) for i in range(3) for j in range(3)]:
        colour = 'white' if abs(taps[place]) > 0.65 else 'black'
        value = f'{taps[place]:.1f}'.replace('-0.0', '0.0').replace('-', '−')
        axes[name].text(*place[::-1], value, ha='center', va='center', color=colour)
for panel in axes.values():
    panel.set(xticks=[], yticks=[])
figure.savefig(Path(__file__).with_suffix('.png'), dpi=100)
