"""The page in a real browser: what it shows against what Python computes."""

from __future__ import annotations

import cv2
import matplotlib as mpl
import numpy as np
import pytest
import torch
from networks import CLASSES, EXACT, build_segmentor, forget_the_start, make_inspection
from pages import SIZES, Page, needs_browser
from scipy import ndimage

from ddf_seg.engine.predicting.drawing import clear_palette
from ddf_seg.visualization import FilterCall, Inspection, statistics
from ddf_seg.visualization.basis import FilterBasis
from ddf_seg.visualization.explorer import build_page
from ddf_seg.visualization.kinds import find_kinds
from ddf_seg.visualization.maps import filter_maps

UP, LAST = 'decode_head.upsamples.0.ddf_up', 'decode_head.refinements.0.ddf'
GATED = 'decode_head.refinements.0.depthwise'


@pytest.fixture(scope='module')
def exact(image) -> Inspection:
    """Filters that started as interpolation and have learned, and gated ones; another image."""
    torch.manual_seed(1)
    return make_inspection(
        forget_the_start(build_segmentor(EXACT)), np.ascontiguousarray(image[:, ::-1])
    )


def odd_inspection() -> Inspection:
    """Layers that no network of ours has: no own filters, groups, strides, large kernels, r = 3."""
    generator = torch.Generator().manual_seed(0)

    def call(name, operator, size, low, groups, kernel, scale=1, stride=1, dilation=1, **options):
        taps = kernel[0] * kernel[1]
        phases = (scale * scale,) if operator == 'ddf_upsample' else ()
        channels = torch.randn(1, *phases, 4, *kernel, generator=generator)
        spatial = torch.randn(1, groups * taps, *size, generator=generator)
        options = {'channel_filter': channels, 'spatial_filter': spatial, **options}
        combine = options.pop('combine', 'mul')
        return FilterCall(
            name, operator, torch.zeros(1, 4, *low), options.pop('channel_filter'),
            options.pop('spatial_filter'), kernel, (dilation, dilation), (stride, stride), scale,
            combine, **options,
        )  # fmt: skip

    ones = torch.ones(1, 4, 5, 5)
    softmax = torch.randn(1, 2, 25, 32, 44, generator=generator).softmax(2).flatten(1, 2)
    calls = [
        call('no_spatial', 'ddf', (16, 22), (16, 22), 1, (3, 3),
             spatial_filter=torch.ones(1, 9, 16, 22)),
        call('strided', 'ddf', (8, 11), (16, 22), 2, (5, 3), stride=2, dilation=2, combine='add'),
        call('thirds', 'ddf_upsample', (30, 40), (10, 14), 4, (3, 3), 3),
        call('wide', 'ddf', (16, 22), (16, 22), 1, (9, 9), channel_filter=torch.ones(1, 4, 9, 9)),
        call('attention', 'ddf_upsample', (32, 44), (16, 22), 2, (5, 5), 2,
             channel_filter=ones, spatial_filter=softmax),
        call('with_gain', 'ddf_upsample', (32, 44), (16, 22), 1, (3, 3), 2,
             gain=torch.tensor([0.1, -0.3, 0.5, 0.2]), mode='nearest'),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 44, 3), dtype=np.uint8)
    prediction = rng.integers(0, 4, (8, 11)).repeat(4, 0).repeat(4, 1)
    return Inspection('odd', image, prediction, None, CLASSES, calls, (1.0, 1.0), (32, 44))


@pytest.fixture(scope='module')
def file(inspection, exact, tmp_path_factory):
    """Pages by name."""
    folder = tmp_path_factory.mktemp('pages')
    pages = {
        'paper': [[inspection]], 'exact': [[exact]], 'odd': [[odd_inspection()]],
        'several': [[inspection], [_flipped(inspection)]],
    }  # fmt: skip
    for name, images in pages.items():
        page = build_page(images, 'Filters of <a> & </script>', ['a.png', 'b.png'][: len(images)])
        (folder / f'{name}.html').write_text(page, encoding='utf-8')
    return lambda name: folder / f'{name}.html'


def _flipped(inspection):
    return Inspection(**{**vars(inspection), 'prediction': inspection.prediction[::-1].copy()})


@pytest.fixture
def open_page(browser, file):
    """Opens pages; at the end, none of them has said that something went wrong."""
    opened = []

    def open_(name='paper', size='desk', address=''):
        opened.append(Page(browser, file(name), size, address))
        return opened[-1]

    yield open_
    assert not opened[-1].errors()


def check_filters(page, inspection, call, x, y, point='pointer', view=0):
    """What stands in the tables, against Python's."""
    channel = page.run(
        'return explorer.channel(explorer.layerOf(arguments[0]))', view
    )  # fmt: skip
    row, column = inspection.pixel(call, x, y)
    effective = call.effective_filter(row, column, channel).numpy()
    reference = call.reference_filter(row, column, channel).numpy()
    step = call.own_filters().abs().max().item() / 127 / 2
    most = call.channel_filters().abs().max().item() if call.kernel_combine == 'mul' else 1
    if call.gain is not None:
        most *= call.gain.abs().max().item()
    # Eight bits of what is the pixel's own, and five digits of the rest
    tolerance = 1.01 * step * max(most, 1e-3) + 1e-4
    found = page.filters(point, view)
    np.testing.assert_allclose(found['effective'], effective, atol=tolerance)
    np.testing.assert_allclose(found[call.reference], reference, atol=1e-4)
    np.testing.assert_allclose(found['difference'], effective - reference, atol=tolerance)
    return effective


@needs_browser
@pytest.mark.parametrize(
    ('size', 'name', 'layers'),
    [
        ('desk', 'paper', [LAST, UP]),
        ('phone', 'exact', [UP, GATED]),
        pytest.param('phone', 'paper', [LAST, UP], marks=pytest.mark.slow),
        pytest.param('desk', 'exact', [UP, GATED], marks=pytest.mark.slow),
    ],
)
def test_pointing_shows_the_pixels_filters(open_page, inspection, exact, size, name, layers):
    run = {'paper': inspection, 'exact': exact}[name]
    page = open_page(name, size)
    for layer in layers:
        page.show(layer)
        call = run.call(layer)
        seen = []
        for x, y in [(30, 10), (31, 11), (60, 44), (0, 0)]:
            page.point(x, y)
            seen.append(check_filters(page, run, call, x, y).tobytes())
            row, column = run.pixel(call, x, y)
            assert f'({column}, {row})' in page.text('filters')
            assert page.text('predicted') == run.classes.names[run.prediction[y, x]]
            true = run.truth[y, x]
            assert page.text('true') == (run.classes.names[true] if true >= 0 else 'not known')
        assert len(set(seen)) > 1


@needs_browser
def test_layers_of_every_sort(open_page):
    run = odd_inspection()
    references = []
    page = open_page('odd')
    for call in run.calls:
        page.show(call.layer)
        references.append(call.reference)
        for x, y in [(0, 0), (21, 17), (43, 31)]:
            page.point(x, y)
            check_filters(page, run, call, x, y)
        for _ in range(2):
            page.keys('c')
            check_filters(page, run, call, 43, 31)
        # What the taps cover, and the pixel itself
        row, column = run.pixel(call, 43, 31)
        squares = page.run(
            'const layer = explorer.layerOf(0);return layer.footprint(layer.locate({x: 43, y: 31}))'
        )
        edges = np.array(squares)
        left, top, right, bottom = run.reach(call, row, column)
        spread = [edges[:, 0].min(), edges[:, 1].min(), edges[:, 2].max(), edges[:, 3].max()]
        np.testing.assert_allclose(spread, [left, top, right, bottom], atol=1e-9)
        overlays = page.run("return [...document.querySelectorAll('.view select option')]"
                            '.map((option) => option.value)')  # fmt: skip
        assert ('similarity' in overlays) == (call.layer != 'no_spatial')
        assert 'truth' not in overlays
    assert references == [
        'mean of all pixels', 'channel filter', 'mean of all pixels', 'mean of all pixels',
        'interpolation', 'interpolation',
    ]  # fmt: skip


@needs_browser
@pytest.mark.parametrize('size', SIZES)
def test_a_click_or_touch_pins_and_unpins(open_page, inspection, size):
    call = inspection.call(LAST)
    page = open_page(size=size)
    page.show(LAST)
    page.point(42, 20, click=True)
    assert 'Pinned: 42, 20' in page.text('state')
    page.show(overlay='similarity')
    pinned = inspection.pixel(call, 42, 20)
    similarity = statistics.similarity(call.own_filters(), *pinned).numpy()
    # Stretched to what is there, with its ends beside the bar
    low, high = page.run('return [explorer.views[0].overlay.low, explorer.views[0].overlay.high]')
    np.testing.assert_allclose([low, high], np.quantile(similarity, [0.01, 0.99]), atol=0.03)
    legend = page.run("return document.querySelector('.legend').textContent")
    for end in (low, high):
        assert f'{end:.2f}'.replace('-', '−') in legend
    colours = mpl.colormaps['cividis']((similarity - low) / (high - low), bytes=True)
    overlay = page.overlay()
    assert overlay.shape[:2] == call.size
    assert np.abs(overlay[..., :3].astype(int) - colours[..., :3]).max() <= 10
    if not page.touch:
        page.point(5, 40)
        there = inspection.pixel(call, 5, 40)
        shown = float(page.text('alike').replace('−', '-'))
        assert shown == pytest.approx(similarity[there], abs=0.02)
        check_filters(page, inspection, call, 5, 40)
    check_filters(page, inspection, call, 42, 20, 'pin')
    page.point(42, 20, click=True)
    assert page.text('state') == 'Nothing is pinned.'
    assert page.run("return document.querySelector('.legend').textContent").startswith('Click or')


@needs_browser
@pytest.mark.parametrize('name', ['paper', 'exact'])
def test_what_lies_over_the_image(open_page, inspection, exact, name):
    run, layer = {'paper': (inspection, LAST), 'exact': (exact, UP)}[name]
    call = run.call(layer)
    page = open_page(name)
    page.show(layer, 'colours')
    own = call.own_filters()
    expected = FilterBasis.fit([own]).colours(own)
    assert np.abs(page.overlay()[..., :3].astype(int) - expected).mean() < 3
    page.show(overlay='prediction')
    palette = run.classes.palette
    assert (page.overlay()[..., :3] == palette[run.prediction]).all()
    page.click('#palette')
    clear = clear_palette(len(palette))
    assert (page.overlay()[..., :3] == clear[run.prediction]).all()
    # The legend names all that is predicted or true.
    legend = page.run("return document.querySelector('.legend').textContent")
    there = set(np.unique(run.prediction)) | set(np.unique(run.truth[run.truth >= 0]))
    for index, text in enumerate(run.classes.names):
        assert (text in legend) == (index in there)
    page.show(overlay='truth')
    known = run.truth >= 0
    overlay = page.overlay()
    assert (overlay[known][:, :3] == clear[run.truth[known]]).all()
    assert (overlay[~known] == 0).all()
    page.show(overlay='error')
    wrong = known & (run.prediction != run.truth)
    assert ((page.overlay()[..., 3] == 255) == wrong).all()
    share = 100 * wrong.sum() / known.sum()
    legend = page.run("return document.querySelector('.legend').textContent")
    assert f'{share:.{1 if share < 10 else 0}f} %' in legend
    page.show(overlay='kinds')
    kinds = find_kinds(call)
    colours = clear_palette(12)[kinds.labels]
    assert (page.overlay()[..., :3] == colours).all()
    page.show(overlay='doubt')
    assert page.overlay().shape[:2] == run.size
    colours = mpl.colormaps['cividis'](run.doubt, bytes=True)
    assert np.abs(page.overlay()[..., :3].astype(int) - colours[..., :3]).max() <= 4
    for item in filter_maps(call):
        page.show(overlay=f'map {item.name}')
        page.point(30, 22)
        row, column = (n // call.scale_factor for n in run.pixel(call, 30, 22))
        value = float(item.values[row, column].clamp(item.low, item.high))
        shown = float(page.text('map-value').replace('−', '-'))
        assert shown == pytest.approx(value, abs=0.006 + (item.high - item.low) / 200)
        assert item.meaning in page.run("return document.querySelector('.legend').textContent")


@needs_browser
@pytest.mark.parametrize('size', SIZES)
def test_all_lies_upright_on_the_image(open_page, inspection, size):
    """From the screen: the class's colour at the place of the pixel."""
    page = open_page(size=size)
    page.show(overlay='prediction')
    page.run('explorer.set({opacity: 1, outlines: false, pointer: {x: 0, y: 0}})')
    page.settle()
    shot = cv2.imdecode(np.frombuffer(page.browser.get_screenshot_as_png(), np.uint8), 1)
    for x, y in [(10, 12), (50, 12), (10, 40), (50, 40)]:
        column, row = page.place(x, y)
        expected = inspection.classes.palette[inspection.prediction[y, x]]
        np.testing.assert_allclose(shot[row, column, ::-1], expected, atol=2)


@needs_browser
@pytest.mark.parametrize('size', SIZES)
def test_image_legend_and_filters_are_in_view_together(open_page, size):
    width, height = SIZES[size]
    for name, layer in [('exact', UP), ('paper', LAST)]:
        page = open_page(name, size)
        page.show(layer, 'prediction')
        assert page.run('return document.documentElement.scrollWidth') <= width
        for part in ('.stage', '.legend', '#filters', '#scales'):
            box = page.box(part)
            assert box['left'] >= 0
            assert box['top'] >= 0
            assert box['right'] <= width
            assert box['bottom'] <= height, part
            assert page.run(
                'const part = document.querySelector(arguments[0]);'
                'return part.scrollHeight <= part.clientHeight + 1', part
            ), part  # fmt: skip
        assert page.box('.stage')['width'] > 0.6 * width if size == 'desk' else 0.95 * width
        # Further down, they stay.
        page.run("document.querySelector('aside').scrollTo(0, 9999)")
        assert page.box('#filters')['top'] >= page.box('.stage')['bottom'] or size == 'desk'
        assert page.box('#filters')['bottom'] <= height


@needs_browser
def test_the_keyboard_does_it_all(open_page, inspection):
    from selenium.webdriver.common.keys import Keys

    page = open_page()
    x, y = page.run('return [explorer.state.pointer.x, explorer.state.pointer.y]')
    state = lambda expression: page.run(f'return explorer.state.{expression}')  # noqa: E731
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert page.text('place') == f'{x + 1}, {y + 1}'
    page.keys(Keys.SHIFT, Keys.ARROW_LEFT)
    assert page.text('place') == f'{x - 9}, {y + 1}'
    page.keys(Keys.ENTER)
    assert f'{x - 9}, {y + 1}' in page.text('state')
    page.keys(Keys.ESCAPE)
    assert page.text('state') == 'Nothing is pinned.'
    layers = [call.layer for call in inspection.calls]
    at = layers.index(state('views[0].layer'))
    page.keys('.')
    assert state('views[0].layer') == layers[(at + 1) % len(layers)]
    page.keys(',')
    assert state('views[0].layer') == layers[at]
    before = state('views[0].overlay')
    page.keys('o')
    assert state('views[0].overlay') != before
    page.keys('O')
    assert state('views[0].overlay') == before
    page.keys('h')
    assert state('opacity') == 0
    page.keys('h')
    assert state('opacity') == 0.6
    page.keys('v')
    assert state('views.length') == 2
    assert state('active') == 1
    page.keys('s')
    assert state('active') == 0
    page.keys('v')
    assert state('views.length') == 1
    page.keys('+')
    assert state('zoom')[0] == 1.5
    page.keys('0')
    assert state('zoom')[0] == 1
    for key, part, value in [
        ('l', 'outlines', False),
        ('p', 'palette', 'clear'),
        ('f', 'tab', 'choose'),
        ('a', 'tab', 'about'),
        ('k', 'tab', 'kinds'),
    ]:
        page.keys(key)
        assert state(part) == value
    page.keys('d')
    dark = page.run("return getComputedStyle(document.body).getPropertyValue('--dark').trim()")
    assert dark == '1'
    page.keys('?')
    assert page.run("return document.getElementById('keys').open")
    listed = page.text('key-list')
    for key in ('move the cursor', 'pin the pixel', 'next layer', 'two views', 'this list'):
        assert key in listed
    page.click('#keys button')
    assert not page.run("return document.getElementById('keys').open")


@needs_browser
def test_wheel_and_fingers_zoom_where_they_are(open_page):
    page = open_page()
    before = page.place(20, 15)
    page.run(
        """const stage = document.querySelector('.stage');
           stage.dispatchEvent(new WheelEvent('wheel', {deltaY: -400, cancelable: true,
             clientX: arguments[0], clientY: arguments[1]}));""",
        *before,
    )
    after = page.place(20, 15)
    assert page.run('return explorer.state.zoom[0]') == pytest.approx(np.e)
    assert np.abs(np.subtract(before, after)).max() <= 2
    page = open_page(size='phone')

    def touch(kind, *places):
        points = [{'x': x, 'y': y, 'id': number} for number, (x, y) in enumerate(places)]
        page.browser.execute_cdp_cmd(
            'Input.dispatchTouchEvent', {'type': f'touch{kind}', 'touchPoints': points}
        )

    # A finger that drags looks around, and pins nothing.
    (x, y), end = page.place(20, 15), page.place(40, 30)
    touch('Start', (x, y))
    touch('Move', (x + 20, y + 10))
    touch('Move', end)
    touch('End')
    page.wait("document.getElementById('place').textContent === '40, 30'")
    assert page.run('return explorer.state.pin') is None
    # Two that part threefold
    touch('Start', (x - 10, y), (x + 10, y))
    for step in range(1, 6):
        touch('Move', (x - 10 - 4 * step, y), (x + 10 + 4 * step, y))
    touch('End')
    assert page.run('return explorer.state.zoom[0]') == pytest.approx(3, rel=0.1)
    assert page.run('return explorer.state.pin') is None


@needs_browser
def test_a_link_shows_what_was_seen(open_page, inspection):
    page = open_page()
    page.show(UP, 'kinds')
    page.click('#split')
    page.show(LAST, 'similarity', view=1)
    page.point(42, 20, click=True, view=1)
    page.point(12, 30)
    page.click('#tab-choose')
    page.click('button[data-choice="border"]')
    page.keys('+')
    # The address follows a little later; what was done last is the zoom.
    page.wait("location.hash.includes('z=') && location.hash.includes('border')")
    address = page.run('return location.hash')
    texts = [page.text(part) for part in ('place', 'predicted', 'state', 'filters', 'page-choose')]
    overlays = [page.overlay(view) for view in (0, 1)]
    other = open_page(address=address)
    assert [
        other.text(part) for part in ('place', 'predicted', 'state', 'filters', 'page-choose')
    ] == texts
    for view in (0, 1):
        assert (other.overlay(view) == overlays[view]).all()
    assert other.run('return explorer.state.zoom') == pytest.approx(
        page.run('return explorer.state.zoom')
    )
    # What fits nothing is passed over.
    for wrong in ('#v0=no~such~layer&p=9999,2&i=7&z=a', '#%', '#n=1,1&o=2&c=class'):
        assert 'x' in open_page(address=wrong).run('return explorer.state.pointer')


@needs_browser
def test_two_networks_beside_each_other(browser, inspection, segmentor, image, tmp_path):
    other = make_inspection(segmentor, image)
    other.title = 'other'
    for call in other.calls:
        call.spatial_filter = call.spatial_filter.flip(1)
    file = tmp_path / 'pair.html'
    file.write_text(build_page([[inspection, other]], 'Before and after'), encoding='utf-8')
    page = Page(browser, file)
    page.show(LAST, 'prediction')
    page.click('#split')
    # One cursor for both, wherever it is.
    page.point(12, 40, view=1)
    found = [
        check_filters(page, run, run.call(LAST), 12, 40, view=number)
        for number, run in enumerate([inspection, other])
    ]
    assert not np.allclose(*found, atol=0.05)
    assert 'View 2 (other)' in page.text('filters')
    for view, run in enumerate([inspection, other]):
        page.show(overlay='colours', view=view)
        own = run.call(LAST).own_filters()
        both = [r.call(LAST).own_filters() for r in (inspection, other)]
        expected = FilterBasis.fit(both).colours(own)
        assert np.abs(page.overlay(view)[..., :3].astype(int) - expected).mean() < 3
    assert not page.errors()


@needs_browser
def test_chosen_pixels_against_the_rest(open_page, inspection):
    page = open_page()
    page.show(LAST)
    page.click('#tab-choose')
    call = inspection.call(LAST)
    prediction = inspection.prediction
    edge = np.zeros(prediction.shape, bool)
    for axis in (0, 1):
        differs = np.diff(prediction, axis=axis) != 0
        sides = [(0, 1) if a == axis else (0, 0) for a in (0, 1)]
        edge |= np.pad(differs, sides) | np.pad(differs, [s[::-1] for s in sides])
    label = int(np.bincount(prediction.ravel()).argmax())
    wrong = (inspection.truth >= 0) & (prediction != inspection.truth)
    channel = page.run('return explorer.channel(explorer.layerOf(0))')
    own = call.own_filters()[call.group(channel)].numpy()
    for choice, mask in {
        'border': ndimage.binary_dilation(edge, np.ones((5, 5))),
        'error': wrong,
        f'class:{label}': prediction == label,
    }.items():
        page.click(f'button[data-choice="{choice}"]')
        chosen = inspection.labels(call, mask).numpy()
        assert (page.chosen() == chosen).all()
        assert f'{chosen.sum()} filters' in page.text('chosen')
        found = page.tables('#chosen-filters')
        inside, outside = own[..., chosen].mean(-1), own[..., ~chosen].mean(-1)
        tolerance = np.abs(own).max() / 127 / 2
        np.testing.assert_allclose(found['chosen'], inside, atol=tolerance)
        np.testing.assert_allclose(found['the rest'], outside, atol=tolerance)
        np.testing.assert_allclose(found['difference'], inside - outside, atol=2 * tolerance)
    # Once more chooses nothing.
    page.click(f'button[data-choice="{choice}"]')
    assert page.run('return explorer.views[0].mask') is None


@needs_browser
def test_a_kind_lights_up_where_it_occurs(open_page, inspection):
    page = open_page()
    page.show(LAST)
    kinds = find_kinds(inspection.call(LAST))
    cards = page.run("return [...document.querySelectorAll('.card')].map((c) => c.ariaLabel)")
    assert len(cards) == len(kinds.pixels)
    for card, pixels in zip(cards, kinds.pixels, strict=True):
        assert f'{pixels} filters' in card
    page.click('.card[data-kind="2"]')
    assert (page.chosen() == (kinds.labels == 2)).all()
    row, column = inspection.pixel(inspection.call(LAST), 7, 9)
    page.point(7, 9)
    assert page.text('kind') == str(kinds.labels[row, column] + 1)


@needs_browser
def test_several_images(open_page, inspection):
    page = open_page('several')
    page.show(overlay='prediction')
    page.choose('#image', '1')
    palette = inspection.classes.palette
    assert (page.overlay()[..., :3] == palette[inspection.prediction[::-1]]).all()
    page.keys('i')
    assert (page.overlay()[..., :3] == palette[inspection.prediction]).all()


@needs_browser
def test_the_guide_walks_through_four_steps(open_page, inspection):
    page = open_page()
    page.click('#open-guide')
    texts, states = [], []
    for _ in range(4):
        texts.append(page.text('guide-text'))
        states.append(page.run('return explorer.state'))
        page.click('#guide-next')
    assert not page.run("return document.getElementById('guide').checkVisibility()")
    assert [state['views'][0]['overlay'] for state in states] == [
        'prediction', 'none', 'similarity', 'none',
    ]  # fmt: skip
    pointer = states[0]['pointer']
    call = inspection.call(states[1]['views'][0]['layer'])
    row, column = inspection.pixel(call, pointer['x'], pointer['y'])
    channel = page.run('return explorer.channel(explorer.layerOf(0))')
    filters = call.effective_filter(row, column, channel).numpy()
    strongest = filters.flat[np.abs(filters).argmax()]
    assert f'{strongest:.2f}'.replace('-', '−') in texts[1]
    assert states[2]['pin'] == pointer
    kinds = find_kinds(call)
    # Of the kinds that the pixel's class has, the one that others have least
    labels = inspection.labels(call, inspection.prediction).numpy()
    same = labels == labels[row, column]
    ratios = {}
    for kind in range(len(kinds.pixels)):
        share = (kinds.labels[same] == kind).mean()
        if share >= 0.03:
            ratios[kind] = share / (kinds.labels == kind).mean()
    kind = max(ratios, key=ratios.get)
    assert states[3]['choice'] == f'kind:{kind}'
    share = (kinds.labels == kind).mean()
    assert f'{100 * share:.{1 if share < 0.1 else 0}f} % of all' in texts[3]
