"""Draws docs/filters.png, of a scene that `python tools/predict.py --demo` draws, too.

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

# All of one phase: what differs is what the network saw.
PIXELS = {
    'sky': (212, 60),
    'tree': (388, 68),
    'roof': (124, 124),
    'road': (292, 272),
    'kerb': (368, 200),
    'pole': (448, 108),
}

config = 'configs/ddf_camvid_trainval_finetune.py'
model = init_model(config, 'checkpoints/ddf_camvid.pth', device='cpu')
classes = make_classes(model.dataset_meta, model.num_classes)
run = inspect_image(model, cv2.imread('docs/demo/scene.png'), classes)
call = run.call('decode_head.upsamples.0.ddf_up')
filters = call.spatial_filters()  # (groups, 5, 5, height, width)
high = (filters.shape[3], filters.shape[4])
low = (high[0] // 2, high[1] // 2)
interpolation = model.decode_head.upsamples[0].ddf_up.interpolation
learned = filters - interpolation.start(low, high).view(1, 5, 5, *high)

figure, axes = plt.subplot_mosaic(
    [['scene'] * 3 + ['colours'] * 3, list(PIXELS)],
    figsize=(10, 6),
    layout='constrained',
    height_ratios=(2.3, 1),
)
axes['scene'].imshow(run.image)
axes['scene'].set_title('Six pixels of a road scene')
axes['colours'].imshow(FilterBasis.fit([learned]).colours(learned), extent=run.extent(call))
axes['colours'].set_title('What the filters learned: similar ones, similar colours')
axes['colours'].set(xlim=(0, run.size[1]), ylim=(run.size[0], 0))
circle = dict(boxstyle='circle', facecolor='#ffb000')
for number, (name, (x, y)) in enumerate(PIXELS.items(), 1):
    axes['scene'].text(x, y, number, ha='center', va='center', size=8, weight='bold', bbox=circle)
    row, column = run.pixel(call, x, y)
    taps = filters[0, :, :, row, column].numpy()
    axes[name].imshow(taps, cmap='RdBu_r', vmin=-0.5, vmax=0.5)
    axes[name].set_title(f'{number}  {name}')
    for place in [(i, j) for i in range(5) for j in range(5)]:
        colour = 'white' if abs(taps[place]) > 0.3 else 'black'
        value = f'{100 * taps[place]:.0f}'.replace('-0', '0').replace('-', '−')
        axes[name].text(*place[::-1], value, ha='center', va='center', color=colour, size=8)
for panel in axes.values():
    panel.set(xticks=[], yticks=[])
figure.savefig(Path(__file__).with_suffix('.png'), dpi=100)
