"""What is written of an image."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import pytest
from mmengine.registry import DefaultScope
from networks import CLASSES
from PIL import Image

from ddf_seg.visualization import visualizing
from ddf_seg.visualization.visualizing import Visualizer

UP, LAST = 'decode_head.upsamples.0.ddf_up', 'decode_head.refinements.0.ddf'


def test_an_animation_of_upsampling_layers(segmentor, image, tmp_path, monkeypatch):
    monkeypatch.setattr(visualizing, 'layer_pictures', lambda *_: iter(()))
    assert cv2.imwrite(str(tmp_path / 'street.png'), image)
    network = SimpleNamespace(model=segmentor, read=lambda file: cv2.imread(str(file)))
    visualizer = Visualizer(
        [('random', network)], CLASSES, lambda _: None, points=[(30, 20)], layers=[UP, LAST],
        animate=True,
    )  # fmt: skip
    with DefaultScope.overwrite_default_scope('mmseg'):
        list(visualizer.show(tmp_path / 'street.png', tmp_path / 'out', None))
    (film,) = (tmp_path / 'out').rglob('*.gif')
    assert film == tmp_path / 'out' / UP / 'scan.gif'
    assert Image.open(film).n_frames > 5


@pytest.mark.parametrize('number', [1, 3])
def test_a_pages_title(number, inspection, tmp_path):
    images = [(f'{n}.png', [inspection]) for n in range(number)]
    visualizing.write_page(images, tmp_path / 'page.html', None)
    written = (tmp_path / 'page.html').read_text()
    on = '0.png' if number == 1 else '3 images'
    assert f'<h1>Filters of random on {on}</h1>' in written
