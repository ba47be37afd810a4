"""What pictures show, and that one can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.text import Text
from networks import EXACT, HEAD, PAPER, build_segmentor, forget_the_start, make_inspection
from PIL import Image
from processes import run_loaded

from ddf_seg.visualization import Point, pick_points, pictures
from ddf_seg.visualization.basis import FilterBasis
from ddf_seg.visualization.maps import filter_maps
from ddf_seg.visualization.pictures import of_image
from ddf_seg.visualization.pictures.footprints import scan_line
from ddf_seg.visualization.pictures.overview import spread
from ddf_seg.visualization.pictures.style import DIVERGING, symmetric_limit
from ddf_seg.visualization.statistics import bilinear_weights, sort_channels

UP, LAST = 'decode_head.upsamples.0.ddf_up', 'decode_head.refinements.0.ddf'
# Static filters with gated ones added
GATED = 'decode_head.refinements.0.depthwise'
POINTS = [
    Point(30, 10, 'building'),
    Point(0, 44, 'road | pole, border'),
    Point(41, 20, 'pole, thin'),
]
# Of blocks that add what they make to the interpolation, before training
FIRST_GAIN = 0.1


@pytest.fixture(scope='module')
def exact(image):
    """Of a network whose filters started as interpolation, and as nothing beside static ones."""
    torch.manual_seed(0)
    return make_inspection(forget_the_start(build_segmentor(EXACT)), image)


class Figures(Mapping):
    """Pictures by 'what/name', drawn when one of their kind is asked for: they take seconds."""

    def __init__(self, inspection, exact):
        pair = [inspection, inspection]
        self.make = {
            'last': lambda: pictures.layer_pictures([inspection], LAST, POINTS),
            'up': lambda: pictures.layer_pictures([inspection], UP, POINTS),
            'gated': lambda: pictures.layer_pictures([exact], GATED, POINTS),
            'exact': lambda: pictures.layer_pictures([exact], UP, POINTS),
            'pair': lambda: pictures.layer_pictures(
                pair, UP, POINTS[:2], names=['phases', 'classes']
            ),
            'overview': lambda: [('one', pictures.draw_overview([inspection], POINTS)),
                                 ('pair', pictures.draw_overview(pair, POINTS))],
        }  # fmt: skip
        self.drawn = {}

    def of(self, what):
        if what not in self.drawn:
            self.drawn[what] = dict(self.make[what]())
            for figure in self.drawn[what].values():
                figure.canvas.draw()
        return self.drawn[what]

    def __getitem__(self, key):
        what, _, name = key.partition('/')
        return self.of(what)[name]

    def __iter__(self):
        return (f'{what}/{name}' for what in self.make for name in self.of(what))

    def __len__(self):
        return sum(1 for _ in self)


@pytest.fixture(scope='module')
def figures(inspection, exact):
    """Of all kinds; of a comparison, too."""
    return Figures(inspection, exact)


def test_which_pictures_there_are(figures):
    assert set(figures.of('last')) == {'points', 'maps', 'classes', 'channels'}
    assert 'phases' in figures.of('up')
    assert set(figures.of('pair')) == {'phases-A', 'phases-B', 'classes-A', 'classes-B'}


def test_an_image_without_points_or_classes_has_the_other_pictures(exact):
    void = replace(exact, truth=np.full_like(exact.truth, exact.truth.min()))
    names = ['points', 'phases', 'footprint', 'maps', 'classes']
    assert [name for name, _ in pictures.layer_pictures([void], UP, [], names=names)] == ['maps']


def test_the_footprint_is_of_the_channel_that_is_asked_for(inspection, monkeypatch):
    asked = []
    monkeypatch.setattr(of_image, 'draw_footprint', lambda *arguments: asked.append(arguments[-1]))
    for channels in ([3], None):
        list(pictures.layer_pictures([inspection], UP, POINTS, channels, names=['footprint']))
    assert asked == [3, None]


def test_the_legend_has_every_class_that_is_shown(inspection):
    """Those, too, that only the ground truth has."""
    prediction = np.full_like(inspection.prediction, 3)
    alone = replace(inspection, prediction=prediction)
    figure = pictures.draw_overview([alone], POINTS)
    assert [text.get_text().split()[0] for text in legend_of(figure)] == [
        'pole',
        'road',
        'building',
    ]
    assert legend_of(figure)[0].get_text() == 'pole  100.0 %'
    figure = pictures.draw_overview([replace(alone, truth=None)], POINTS)
    assert [text.get_text().split()[0] for text in legend_of(figure)] == ['pole']


def legend_of(figure):
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    return legend.get_texts()


def test_numbers_of_points_stand_apart_and_inside():
    crowd = [Point(5 + n % 3, 3 + n % 2, 'road') for n in range(9)] + [Point(199, 99, 'far')]
    places = spread(crowd, (100, 200), 14)
    apart = np.linalg.norm(places[:, None] - places, axis=2) + 1e9 * np.eye(10)
    assert apart.min() > 12
    assert (places >= 6.9).all()
    assert (places <= [193.1, 93.1]).all()
    # Those that have room stay where they are.
    alone = spread([Point(50, 50, 'a'), Point(120, 50, 'b')], (100, 200), 14)
    np.testing.assert_allclose(alone, [[50, 50], [120, 50]], atol=0.01)


def test_prediction_with_outlines(inspection, figures):
    panels = {axes.get_title(loc='left'): axes for axes in figures['overview/one'].axes}
    shown = cells(panels['prediction'])
    labels = inspection.prediction
    inside = np.ones(labels.shape, bool)
    inside[:, :-1] &= labels[:, :-1] == labels[:, 1:]
    inside[:-1] &= labels[:-1] == labels[1:]
    assert (shown[inside] == inspection.classes.palette[labels[inside]]).all()
    assert (shown[~inside] == 20).all()


def test_where_a_pixel_takes_from(exact, figures):
    """The talk's figure: weights in per cent in the squares of the coarse pixels."""
    figure = figures['exact/footprint']
    call = exact.call(UP)
    point = POINTS[2]
    y, x = exact.pixel(call, point.x, point.y)
    drawn = {'DDF': call.effective_filter(y, x, 0), 'interpolation': call.reference_filter(y, x, 0)}
    for name, weights in drawn.items():
        (axes,) = [axes for axes in figure.axes if axes.get_title() == name]
        left, top, right, bottom = exact.reach(call, y, x)
        numbers = {}
        for text in axes.texts:
            column = int(5 * (text.get_position()[0] - left) / (right - left))
            row = int(5 * (text.get_position()[1] - top) / (bottom - top))
            numbers[row, column] = float(text.get_text().replace('−', '-'))
        for place, weight in np.ndenumerate(weights.numpy()):
            if abs(weight) > 0.041 * weights.abs().max():
                assert numbers.pop(place) == pytest.approx(100 * weight, abs=0.51)
        assert not numbers
        # A line from the pixel that is made to each that counts
        assert len(axes.lines) == len(axes.texts)
        for line in axes.lines:
            start = np.array(line.get_data())[:, 0]
            assert exact.pixel(call, int(start[0]), int(start[1])) == (y, x)


def test_an_animation_along_a_line(exact):
    content = pictures.animate_scan(exact, UP, POINTS[0])
    film = Image.open(BytesIO(content))
    call = exact.call(UP)
    row, column = exact.pixel(call, POINTS[0].x, POINTS[0].y)
    line = scan_line(exact, call, POINTS[0])
    assert film.n_frames == len(line)
    # One phase, one row, all of it
    assert {y for y, _ in line} == {row}
    assert [x for _, x in line] == list(range(column % 2, call.size[1], 2))
    frames = []
    for number in (0, 5):
        film.seek(number)
        frames.append(np.asarray(film.convert('RGB')).astype(int))
    assert np.abs(frames[0] - frames[1]).max() > 100


def undrawn(figure):
    """Texts of hidden axes, and of ticks outside their axis."""
    texts = set()
    for axes in figure.findobj(Axes):
        if not axes.get_visible():
            texts |= set(axes.findobj(Text))
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low <= tick.get_loc() <= high:
                    texts |= {tick.label1, tick.label2}
    return texts


def test_texts_lie_within_the_picture_and_apart(figures):
    for name, figure in figures.items():
        renderer = figure.canvas.get_renderer()
        boxes = []
        for text in set(figure.findobj(Text)) - undrawn(figure):
            if not (text.get_visible() and text.get_text().strip()):
                continue
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1, (name, text)
            assert box.y0 >= -1, (name, text)
            assert box.x1 <= figure.bbox.width + 1, (name, text)
            assert box.y1 <= figure.bbox.height + 1, (name, text)
            boxes.append((text.get_text(), box.padded(-1)))
        # The numbers of points may come to lie close together.
        boxes = [(t, b) for t, b in boxes if len(t) > 2]
        for i, (first, a) in enumerate(boxes):
            for second, b in boxes[i + 1 :]:
                assert not a.overlaps(b), (name, first, second)


def cells(axes):
    """The array that an axes shows."""
    (image,) = axes.images
    return np.ma.filled(image.get_array(), np.nan)


def test_filters_at_points(inspection, figures):
    figure = figures['last/points']
    call = inspection.call(LAST)
    grid = np.array(figure.axes[: 6 * len(POINTS)]).reshape(len(POINTS), 6)
    channels = pictures.pick_channels(call)
    assert [axes.get_title() for axes in grid[0, 3:]] == [f'effective, ch. {c}' for c in channels]
    group = call.group(channels[0])
    for row, point in enumerate(POINTS):
        y, x = inspection.pixel(call, point.x, point.y)
        expected = call.spatial_filter[0].view(2, 3, 3, *call.size)[group, :, :, y, x]
        np.testing.assert_allclose(cells(grid[row, 2]), expected)
        numbers = [float(t.get_text().replace('−', '-')) for t in grid[row, 2].texts]
        np.testing.assert_allclose(numbers, expected.flatten(), atol=0.0051)
        for axes, channel in zip(grid[row, 3:], channels, strict=True):
            other = call.channel_filter[0, channel]
            of_pixel = call.spatial_filters()[call.group(channel), :, :, y, x]
            np.testing.assert_allclose(cells(axes), other * of_pixel, rtol=1e-5)
    limits = {axes.images[0].get_clim() for axes in grid[:, 2]}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high


def test_the_colours_on_the_page_are_the_values(inspection, figures):
    """From the drawn pixels, back to the filter."""
    figure = figures['last/points']
    drawn = pictures.to_array(figure)
    axes = figure.axes[2]
    values, limit = cells(axes), axes.images[0].get_clim()[1]
    for y, x in np.ndindex(3, 3):
        # Beside the number
        column, row = axes.transData.transform((x, y - 0.38))
        found = drawn[len(drawn) - 1 - int(row), int(column)]
        expected = np.array(mpl.colormaps[DIVERGING]((values[y, x] / limit + 1) / 2)[:3]) * 255
        np.testing.assert_allclose(found, expected, atol=3)


def test_surroundings_show_what_is_under_the_taps(inspection, figures):
    call = inspection.call(LAST)
    axes = figures['last/points'].axes[0]
    y, x = inspection.pixel(call, POINTS[0].x, POINTS[0].y)
    left, top, right, bottom = inspection.reach(call, y, x)
    (box,) = axes.patches
    assert box.get_extents().x0 < box.get_extents().x1
    assert (box.get_x(), box.get_y()) == (left, top)
    assert left < POINTS[0].x + 0.5 < right
    assert top < POINTS[0].y + 0.5 < bottom
    assert axes.images[0].get_extent() == [0, 61, 45, 0]


def test_phases_beside_bilinear_weights(inspection, figures):
    figure = figures['up/phases']
    call = inspection.call(UP)
    grid = np.array(figure.axes[: 4 * len(POINTS)]).reshape(len(POINTS), 4)
    y, x = (n - n % 2 for n in inspection.pixel(call, POINTS[0].x, POINTS[0].y))
    channel = pictures.pick_channels(call)[0]
    weights = bilinear_weights(2, (3, 3)).view(2, 2, 3, 3)
    for down, across in np.ndindex(2, 2):
        window = np.s_[10 * down : 10 * down + 9 : 3, 10 * across : 10 * across + 9 : 3]
        spatial = call.spatial_filters()[call.group(channel), :, :, y + down, x + across]
        combined = call.channel_filter[0, 2 * down + across, channel] * spatial
        # The block adds what its layer makes, times a gain, to the interpolation.
        effective = weights[down, across] + FIRST_GAIN * combined
        np.testing.assert_allclose(cells(grid[0, 1])[window], effective, rtol=1e-5)
        np.testing.assert_allclose(cells(grid[0, 2])[window], weights[down, across], atol=1e-6)
        difference = FIRST_GAIN * combined
        np.testing.assert_allclose(cells(grid[0, 3])[window], difference, atol=1e-6)


def test_spatial_filters_that_all_channels_share_stand_alone(exact, figures):
    """Effective filters and channel filters would show the same again, or ones."""
    found = figures.of('exact')
    assert set(found) == {'points', 'phases', 'footprint', 'maps', 'classes'}
    call = exact.call(UP)
    for name, heads in (
        ('points', ['image', 'under the taps', 'effective', 'interpolation', 'difference']),
        ('phases', ['image', 'effective', 'interpolation', 'difference']),
    ):
        titles = [axes.get_title() for axes in found[name].axes if axes.images]
        assert [title for title in titles if title] == heads
    y, x = exact.pixel(call, POINTS[0].x, POINTS[0].y)
    for channel in (0, 5):
        effective = call.effective_filter(y, x, channel)
        np.testing.assert_array_equal(cells(found['points'].axes[2]), effective)
    asked = dict(pictures.layer_pictures([exact], UP, POINTS, channels=[1], names=['points']))
    assert any(axes.get_title() == 'effective, ch. 1' for axes in asked['points'].axes)


def test_gated_filters_are_added_to_static_ones(exact, figures):
    """A channel's effective filter is its convolution's, and the pixel's own."""
    assert set(figures.of('gated')) == {'points', 'maps', 'classes', 'channels'}
    call = exact.call(GATED)
    grid = np.array(figures['gated/points'].axes[: 6 * len(POINTS)]).reshape(len(POINTS), 6)
    for row in range(len(POINTS)):
        gated = cells(grid[row, 2])
        y, x = exact.pixel(call, POINTS[row].x, POINTS[row].y)
        np.testing.assert_allclose(gated, call.spatial_filter[0, :, y, x].view(3, 3))
        assert np.abs(gated).max() > 0
        for axes, channel in zip(grid[row, 3:], pictures.pick_channels(call), strict=True):
            static = call.channel_filter[0, channel].numpy()
            np.testing.assert_allclose(cells(axes), static + gated, rtol=1e-5, atol=1e-6)


def test_before_training_upsampling_shows_interpolation_and_gates_nothing(image):
    inspection = make_inspection(build_segmentor(EXACT), image)
    found = dict(pictures.layer_pictures([inspection], UP, POINTS, names=['phases']))
    _, shown, expected = (axes for axes in found['phases'].axes[:3])
    np.testing.assert_allclose(cells(shown), cells(expected), atol=1e-6)
    maps = dict(pictures.layer_pictures([inspection], GATED, POINTS, names=['maps']))['maps']
    titles = [axes.get_title(loc='left') for axes in maps.axes]
    assert [title for title in titles if title] == ['image', 'filter colours']
    maps.canvas.draw()


def test_groups_of_channels_are_told_apart(image):
    """Without channel filters, too, a pixel's groups differ."""
    of_groups = {**HEAD, 'ddf_cfg': {**PAPER, 'branches': 'spatial'}}
    inspection = make_inspection(build_segmentor(of_groups), image)
    names = ['points', 'channels']
    found = dict(pictures.layer_pictures([inspection], LAST, POINTS, names=names))
    assert list(found) == ['points']
    assert sum('effective' in axes.get_title() for axes in found['points'].axes) == 3


def test_maps_cover_the_image_and_name_its_layer(inspection, figures):
    figure = figures['last/maps']
    assert LAST in figure.get_suptitle()
    call = inspection.call(LAST)
    own = call.own_filters()
    panels = {axes.get_title(loc='left'): axes for axes in figure.axes}
    colours = FilterBasis.fit([own]).colours(own)
    assert (panels['filter colours'].images[0].get_array() == colours).all()
    maps = filter_maps(call)
    # Those that say something, and no others: FilterNorm makes all norms alike.
    assert maps
    assert {title for title in panels if title} == {
        'image', 'filter colours', *(item.name for item in maps),
    }  # fmt: skip
    said = ' '.join(figure._supxlabel.get_text().split())
    for item in maps:
        shown = panels[item.name].images[0]
        assert shown.get_extent() == [0, 61, 45, 0]
        np.testing.assert_allclose(shown.get_array(), item.values)
        assert shown.get_clim() == (item.low, item.high)
        assert item.meaning in said


def test_maps_of_a_padded_input_stand_where_they_stand_in_the_image(image):
    """Of an image of 45×61 padded to 64×64, a map shows its part of 45×61, not all of it."""
    options = dict(preprocessor=dict(test_cfg=dict(size_divisor=32)))
    inspection = make_inspection(build_segmentor(HEAD, **options), image)
    ((_, maps),) = pictures.layer_pictures([inspection], LAST, POINTS, names=['maps'])
    overview = pictures.draw_overview([inspection], POINTS)
    for figure, beside, title in (
        (maps, 'image', 'filter colours'),
        (overview, 'image and points', LAST),
    ):
        panels = {axes.get_title(loc='left').partition('  ')[0]: axes for axes in figure.axes}
        assert panels[title].images[0].get_extent() == pytest.approx([0, 64, 64, 0])
        assert panels[beside].images[0].get_extent() == [0, 61, 45, 0]
        for name in (title, beside):
            assert panels[name].get_xlim() == (0, 61)
            assert panels[name].get_ylim() == (45, 0)


def test_classes_are_those_of_the_ground_truth(inspection, figures):
    axes = [a for a in figures['last/classes'].axes if a.get_visible() and a.get_title()]
    assert [a.get_title().split('\n')[0] for a in axes] == ['road', 'building']
    call = inspection.call(LAST)
    labels = inspection.labels(call, inspection.truth).numpy()
    own = call.spatial_filters()[0].numpy()[:, :, labels == 1]
    np.testing.assert_allclose(cells(axes[1]), own.mean(-1), rtol=1e-3, atol=1e-5)


def test_channels_are_sorted(inspection, figures):
    call = inspection.call(UP)
    order = sort_channels(call.channel_filters())
    for phase, axes in enumerate(figures['up/channels'].axes[:4]):
        assert axes.get_title() == f'phase ({phase // 2}, {phase % 2})'
        np.testing.assert_allclose(cells(axes), call.channel_filter[0, phase, order].flatten(1))


def test_the_overview_shows_prediction_and_error(inspection, figures):
    panels = {axes.get_title(loc='left'): axes for axes in figures['overview/one'].axes}
    known = inspection.truth >= 0
    share = 100 * (inspection.prediction != inspection.truth)[known].mean()
    assert f'error: {share:.1f} %' in panels
    assert sum(LAST in title for title in panels) == 1
    assert len(panels['image and points'].texts) == len(POINTS)


def test_files(figures, tmp_path):
    pictures.save(figures['last/channels'], tmp_path / 'made' / 'channels')
    png, pdf = (tmp_path / 'made' / f'channels.{suffix}' for suffix in ('png', 'pdf'))
    assert png.read_bytes().startswith(b'\x89PNG')
    content = pdf.read_bytes()
    assert content.startswith(b'%PDF')
    # Text stays text.
    assert b'/Type /Font' in content


def test_automatic_points_fill_several_sheets(inspection):
    points = [Point(n, n, f'p{n}') for n in range(8)]
    names = ['points']
    sheets = dict(pictures.layer_pictures([inspection], LAST, points, names=names))
    assert list(sheets) == ['points-1', 'points-2']
    label = sheets['points-2'].axes[0].get_ylabel()
    assert label.startswith('5  p4')
    assert pick_points(inspection.prediction, inspection.classes.names)


def test_limits():
    assert symmetric_limit(np.array([0.5, -2.0, np.nan])) == 2
    assert symmetric_limit(np.zeros(3)) == 1


def test_ddf_seg_does_without_matplotlib():
    """The hook is registered with the rest; only drawing needs the extra."""
    done = run_loaded("""
        import ddf_seg.openmmlab, ddf_seg.visualization.hook
        print([n for n in ('matplotlib', 'ddf_seg.visualization.pictures') if n in sys.modules])
    """)
    assert done.stdout.splitlines()[-1] == '[]', done.stderr
