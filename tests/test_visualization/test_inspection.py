"""Where filters lie in the image, whatever the sizes, and the choice of points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.apis import inference_model
from networks import CLASSES, HEAD, PIPELINE, build_segmentor, make_inspection

from ddf_seg.visualization import named_points, pick_points

RESIZED = [PIPELINE[0], dict(type='Resize', scale=(122, 90), keep_ratio=True), PIPELINE[1]]


def test_it_runs_the_network_as_mmseg_does(segmentor, image, inspection):
    with DefaultScope.overwrite_default_scope('mmseg'):
        expected = inference_model(segmentor, image)
    assert (inspection.prediction == expected.pred_sem_seg.data[0].numpy()).all()
    assert (inspection.image == image[..., ::-1]).all()
    assert inspection.truth is not None
    assert sorted(np.unique(inspection.truth)) == [-1, 0, 1]


@pytest.mark.parametrize(
    ('options', 'scale', 'size'),
    [
        ({}, 1.0, (45, 61)),
        (dict(pipeline=RESIZED), 2.0, (90, 122)),
        (dict(preprocessor=dict(test_cfg=dict(size_divisor=32))), 1.0, (64, 64)),
    ],
)
def test_pixels_of_the_image_and_of_the_filters(image, options, scale, size):
    torch.manual_seed(0)
    inspection = make_inspection(build_segmentor(HEAD, **options), image)
    assert inspection.input_size == size
    assert inspection.scale == (scale, scale)
    for call in inspection.calls:
        strides = [s for s in (1, 2, 4, 8, 16, 32) if call.size == tuple(-(-n // s) for n in size)]
        (stride,) = strides
        for x, y in [(0, 0), (60, 44), (30, 20)]:
            row, column = inspection.pixel(call, x, y)
            # The filter's pixel covers the image's, up to the rounding of the map's size.
            assert abs(row - (y + 0.5) * scale / stride) <= 1.0
            assert abs(column - (x + 0.5) * scale / stride) <= 1.0
            left, top, right, bottom = inspection.reach(call, row, column)
            assert left < x + 0.5 < right
            assert top < y + 0.5 < bottom
        rows, columns = inspection.image_pixels(call)
        assert (len(rows), len(columns)) == call.size
        labels = inspection.labels(call, inspection.prediction)
        assert labels.shape == call.size


def test_windows_become_a_whole(image):
    torch.manual_seed(0)
    windows = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    model = build_segmentor(HEAD, test_cfg=windows)
    inspection = make_inspection(model, image)
    assert not any('#' in call.layer for call in inspection.calls)
    assert model.test_cfg.mode == 'slide'


def test_points_of_classes_thin_things_and_borders():
    labels = np.zeros((120, 200), np.int64)
    labels[:50] = 1
    labels[20:110, 100:103] = 3
    labels[0, 0] = 2
    points = pick_points(labels, CLASSES.names)
    named = {point.label: point for point in points}
    # The third class has a single pixel.
    assert set(named) == {
        'road', 'building', 'pole', 'pole, thin', 'road | building, border', 'road | pole, border',
    }  # fmt: skip
    for name in ('road', 'building', 'pole'):
        assert CLASSES.names[labels[named[name].y, named[name].x]] == name
    # Well inside
    assert abs(named['building'].y - 25) <= 2
    assert named['pole, thin'].x == 101
    border = named['road | building, border']
    assert border.y in (49, 50)
    assert abs(border.x - 101) > 20
    unknown = np.where(labels == 3, -1, labels)
    assert not any('pole' in point.label for point in pick_points(unknown, CLASSES.names))
    assert pick_points(np.full((4, 4), -1), CLASSES.names) == []


def test_points_by_hand():
    labels = np.zeros((4, 6), np.int64)
    labels[3, 5] = 2
    (point,) = named_points([(5, 3)], labels, CLASSES.names)
    assert point.label == 'traffic light'
    for outside in [(6, 0), (0, 4), (-1, 0)]:
        with pytest.raises(ValueError, match=r'x from 0 to 5 and y from 0 to 3'):
            named_points([outside], labels, CLASSES.names)
