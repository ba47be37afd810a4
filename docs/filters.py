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
own = call.own_filters()  # (groups, 5, 5, height, width): without what all pixels share

rows = ['filter', 'interpolation', 'difference']
figure, axes = plt.subplot_mosaic(
    [
        ['scene'] * 3 + ['colours'] * 3,
        *[[f'{name} {row}' for name in PIXELS] for row in rows],
    ],
    figsize=(10, 9),
    layout='constrained',
    height_ratios=(2.3, 1, 1, 1),
)
axes['scene'].imshow(run.image)
axes['scene'].set_title('Six pixels of a road scene')
axes['colours'].imshow(FilterBasis.fit([own]).colours(own), extent=run.extent(call))
axes['colours'].set_title('All filters: similar ones, similar colours')
axes['colours'].set(xlim=(0, run.size[1]), ylim=(run.size[0], 0))
circle = dict(boxstyle='circle', facecolor='#ffb000')
for number, (name, (x, y)) in enumerate(PIXELS.items(), 1):
    axes['scene'].text(x, y, number, ha='center', va='center', size=8, weight='bold', bbox=circle)
    pixel = run.pixel(call, x, y)
    effective = call.effective_filter(*pixel, channel=0)
    interpolation = call.reference_filter(*pixel, channel=0)
    shown = [effective, interpolation, effective - interpolation]
    for row, taps in zip(rows, shown, strict=True):
        panel = axes[f'{name} {row}']
        limit = 0.25 if row == 'difference' else 0.6
        panel.imshow(taps, cmap='RdBu_r', vmin=-limit, vmax=limit)
        for place in [(i, j) for i in range(5) for j in range(5)]:
            colour = 'white' if abs(taps[place]) > 0.65 * limit else 'black'
            value = f'{100 * taps[place]:.0f}'.replace('-0', '0').replace('-', '−')
            panel.text(*place[::-1], value, ha='center', va='center', color=colour, size=8)
        if name == 'sky':
            panel.set_ylabel(row, size=11)
    axes[f'{name} filter'].set_title(f'{number}  {name}')
for panel in axes.values():
    panel.set(xticks=[], yticks=[])
figure.savefig(Path(__file__).with_suffix('.png'), dpi=100)
