"""The page in a real browser: what it shows against what Python computes."""

from __future__ import annotations

import shutil
import time

import matplotlib as mpl
import numpy as np
import pytest
from networks import EXACT, build_segmentor, make_inspection

from ddf_seg.visualization import statistics
from ddf_seg.visualization.basis import FilterBasis
from ddf_seg.visualization.explorer import build_page

CHROMIUM, DRIVER = shutil.which('chromium'), shutil.which('chromedriver')
UP, LAST = 'decode_head.upsamples.0.ddf_up', 'decode_head.refinements.0.ddf'
FLAGS = [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--window-size=1300,1000',
]  # fmt: skip
READY = "document.getElementById('state')?.textContent === 'Nothing is pinned.'"
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason='the page is tested in chromium: apt install chromium chromium-driver',
)


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    webdriver = pytest.importorskip('selenium.webdriver')
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f'--user-data-dir={tmp_path_factory.mktemp("profile")}']:
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """A page in the browser, as its reader sees and handles it."""

    def __init__(self, browser, size):
        self.browser = browser
        self.size = size

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition):
        end = time.monotonic() + 30
        while not self.run(f'return {condition}'):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    def text(self, element):
        return self.run('return document.getElementById(arguments[0]).textContent', element)

    def place(self, x, y):
        """A pixel's centre in the window, by the frame that Bokeh drew the image in."""
        left, top, width, height = self.run(
            """const view = Bokeh.index.find_one_by_id(
                 Bokeh.documents[0].get_model_by_name('image').id);
               const box = view.frame_view?.bbox ?? view.frame.bbox;
               const canvas = document.querySelector('#stage [data-root-id]').firstElementChild
                 .getBoundingClientRect();
               return [canvas.left + box.left, canvas.top + box.top, box.width, box.height];"""
        )
        return left + (x + 0.5) / self.size[1] * width, top + (y + 0.5) / self.size[0] * height

    def move(self, x, y, click=False):
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        actions = ActionBuilder(self.browser)
        column, row = self.place(x, y)
        actions.pointer_action.move_to_location(round(column), round(row))
        if click:
            actions.pointer_action.click()
        actions.perform()
        self.wait(f"document.getElementById('place').textContent === '{x}, {y}'")
        if click:
            self.wait(f"document.getElementById('state').textContent.includes('{x}, {y}')")

    def keys(self, *keys):
        from selenium.webdriver.common.by import By

        stage = self.browser.find_element(By.ID, 'stage')
        stage.send_keys(*keys)

    def blocks(self, name, kernel=(3, 3)):
        """The filters that a figure draws, by caption, from the data of its squares."""
        cells, captions = self.run(
            """const plot = Bokeh.documents[0].get_model_by_name(arguments[0]);
               const data = plot.renderers.map((r) =>
                 Object.fromEntries(Object.entries(r.data_source.data).map(
                   ([key, values]) => [key, Array.from(values)])));
               return [data[0], data[2]];""",
            name,
        )
        taps = kernel[0] * kernel[1]
        found = {}
        for number, caption in enumerate(captions['text']):
            own = slice(taps * number, taps * (number + 1))
            found[caption] = np.array(cells['value'][own]).reshape(kernel)
            if taps <= 9:
                assert [float(t.replace('−', '-')) for t in cells['text'][own]] == [
                    pytest.approx(v, abs=0.0051) for v in cells['value'][own]
                ]
            else:
                # Its squares are too small for numbers.
                assert not any(cells['text'][own])
        return found

    def overlay(self):
        """The overlay's pixels, (H, W, 4)."""
        values, shape = self.run(
            """const image = ddfExplorer.models.overlay.data.image[0];
               return [Array.from(image), image.shape];"""
        )
        pixels = np.array(values, np.int64).astype('<u4').reshape(shape)
        return pixels.view(np.uint8).reshape(*shape, 4)

    def choose(self, control, value):
        self.run('ddfExplorer.models[arguments[0]].value = arguments[1]', control, value)


@pytest.fixture(scope='module')
def page_file(inspection, tmp_path_factory):
    file = tmp_path_factory.mktemp('page') / 'explorer.html'
    file.write_text(build_page([inspection], 'Filters of <a> & </script>'), encoding='utf-8')
    return file


@pytest.fixture
def page(browser, page_file, inspection):
    browser.get(page_file.as_uri())
    page = Page(browser, inspection.size)
    page.wait(READY)
    yield page
    errors = [entry for entry in browser.get_log('browser') if entry['level'] == 'SEVERE']
    assert not errors


def expected(call, inspection, x, y, channel):
    row, column = inspection.pixel(call, x, y)
    spatial = call.spatial_filters()[call.group(channel), :, :, row, column].numpy()
    return spatial, call.effective_filter(row, column, channel).numpy()


def tolerance(call):
    """Of 8 bits, and with the largest channel filter."""
    step = call.spatial_filters().abs().max().item() / 127 / 2
    return step * 1.01, step * call.channel_filters().abs().max().item() * 1.01


@needs_browser
@pytest.mark.parametrize('layer', [LAST, UP])
def test_hover_shows_the_pixels_filters(page, inspection, layer):
    page.choose('layer', layer)
    call = inspection.call(layer)
    page.wait(f"ddfExplorer.layers[0].operator === '{call.operator}'")
    page.choose('channel', 4)
    of_spatial, of_effective = tolerance(call)
    seen = []
    for x, y in [(30, 10), (31, 11), (60, 44), (0, 0)]:
        page.move(x, y)
        spatial, effective = expected(call, inspection, x, y, 4)
        np.testing.assert_allclose(page.blocks('spatial')['pointer'], spatial, atol=of_spatial)
        found = page.blocks('effective')
        np.testing.assert_allclose(found['pointer'], effective, atol=of_effective)
        row, column = inspection.pixel(call, x, y)
        if layer == UP:
            weights = statistics.bilinear_weights(2, (3, 3))[call.phase(row, column)]
            np.testing.assert_allclose(found['bilinear'], weights, atol=1e-6)
        assert page.text('map-place').startswith(f'{column}, {row}')
        names = inspection.classes.names
        assert page.text('predicted') == names[inspection.prediction[y, x]]
        true = inspection.truth[y, x]
        assert page.text('true') == (names[true] if true >= 0 else 'not known')
        seen.append(spatial.tobytes())
    assert len(set(seen)) > 1


@needs_browser
def test_a_click_pins_and_shows_similarity(page, inspection):
    call = inspection.call(LAST)
    page.move(42, 20, click=True)
    pinned = inspection.pixel(call, 42, 20)
    similarity = statistics.similarity(call.spatial_filters(), *pinned).numpy()
    overlay = page.overlay()
    assert overlay.shape[:2] == call.size
    colours = mpl.colormaps['cividis']((similarity + 1) / 2, bytes=True)
    # Quantised filters and colours: a step or two of 256.
    assert np.abs(overlay[..., :3].astype(int) - colours[..., :3]).max() <= 6
    page.move(5, 40)
    there = inspection.pixel(call, 5, 40)
    shown = float(page.text('cosine').replace('−', '-'))
    assert shown == pytest.approx(similarity[there], abs=0.02)
    blocks = page.blocks('spatial')
    channel = page.run('return ddfExplorer.models.channel.value')
    spatial = expected(call, inspection, 42, 20, channel)[0]
    np.testing.assert_allclose(blocks['pinned'], spatial, atol=tolerance(call)[0])
    np.testing.assert_allclose(
        blocks['difference'], blocks['pointer'] - blocks['pinned'], atol=1e-6
    )


@needs_browser
def test_overlays(page, inspection):
    call = inspection.call(LAST)
    expected = FilterBasis.fit([call.spatial_filters()]).colours(call.spatial_filters())
    assert np.abs(page.overlay()[..., :3].astype(int) - expected).mean() < 2
    palette = inspection.classes.palette
    page.choose('shown', 'prediction 0')
    assert (page.overlay()[..., :3] == palette[inspection.prediction]).all()
    page.choose('shown', 'truth')
    known = inspection.truth >= 0
    overlay = page.overlay()
    assert (overlay[known][:, :3] == palette[inspection.truth[known]]).all()
    assert (overlay[~known] == 0).all()
    page.choose('shown', 'error 0')
    overlay = page.overlay()
    wrong = known & (inspection.prediction != inspection.truth)
    assert (overlay[wrong][:, :3] == (215, 48, 39)).all()
    assert (overlay[known & ~wrong] == 0).all()
    assert 'wrong' in page.text('legend')


@needs_browser
def test_the_overlay_lies_upright_on_the_image(page, inspection):
    """From the screen: red where the truth is unknown (the topmost row), and nowhere else."""
    import cv2

    page.run(
        """const {overlay, overlay_glyph: glyph} = ddfExplorer.models;
           const Pixels = overlay.data.image[0].constructor;
           const red = new Pixels(Uint32Array.from([0xff0000ff, 0, 0, 0]), [2, 2]);
           glyph.global_alpha = 1;
           overlay.data = {...overlay.data, image: [red]};"""
    )
    time.sleep(0.5)
    shot = cv2.imdecode(np.frombuffer(page.browser.get_screenshot_as_png(), np.uint8), 1)
    for (x, y), red in {(10, 5): True, (50, 5): False, (10, 40): False, (50, 40): False}.items():
        column, row = map(round, page.place(x, y))
        assert (tuple(shot[row, column]) == (0, 0, 255)) == red, (x, y)


@needs_browser
def test_the_keyboard_does_it_all(page, inspection):
    from selenium.webdriver.common.keys import Keys

    x, y = inspection.size[1] // 2, inspection.size[0] // 2
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    page.wait(f"document.getElementById('place').textContent === '{x + 1}, {y + 1}'")
    page.keys(Keys.SHIFT, Keys.ARROW_LEFT)
    page.wait(f"document.getElementById('place').textContent === '{x - 9}, {y + 1}'")
    page.keys(Keys.ENTER)
    page.wait("ddfExplorer.models.shown.value === 'similarity 0'")
    assert f'{x - 9}, {y + 1}' in page.text('state')
    page.keys(Keys.ESCAPE)
    page.wait(READY)
    assert page.run('return ddfExplorer.models.shown.value') == 'colours 0'
    # Tab leads from the image to the controls.
    page.keys(Keys.TAB)
    assert page.run("return document.activeElement.id !== 'stage'")


@needs_browser
def test_a_phones_width(page):
    metrics = dict(width=390, height=844, deviceScaleFactor=2, mobile=True)
    page.browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
    try:
        time.sleep(0.5)
        assert page.run('return document.documentElement.scrollWidth') <= 390
        stage, panel = page.run(
            """return ['.scene', '.panel'].map((name) =>
                 document.querySelector(name).getBoundingClientRect().toJSON());"""
        )
        assert stage['width'] > 360
        assert panel['top'] >= stage['bottom']
        page.move(20, 30, click=True)
    finally:
        page.browser.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})


@needs_browser
def test_two_networks_beside_each_other(browser, inspection, segmentor, image, tmp_path):
    other = make_inspection(segmentor, image)
    other.title = 'other'
    for call in other.calls:
        call.spatial_filter = call.spatial_filter.flip(1)
    file = tmp_path / 'pair.html'
    file.write_text(build_page([inspection, other], 'Before and after'), encoding='utf-8')
    browser.get(file.as_uri())
    page = Page(browser, inspection.size)
    page.wait(READY)
    page.move(30, 10, click=True)
    page.move(12, 40)
    found = page.blocks('spatial')
    for name, run in {'A': inspection, 'B': other}.items():
        call = run.call(LAST)
        channel = page.run('return ddfExplorer.models.channel.value')
        spatial, _ = expected(call, run, 12, 40, channel)
        np.testing.assert_allclose(found[f'{name}: pointer'], spatial, atol=tolerance(call)[0])
    assert not np.allclose(found['A: pointer'], found['B: pointer'], atol=0.05)
    assert len(page.text('cosine').split(',')) == 2
    assert 'A: random' in page.text('accuracy')
    page.choose('shown', 'similarity 1')
    pinned = other.pixel(other.call(LAST), 30, 10)
    similarity = statistics.similarity(other.call(LAST).spatial_filters(), *pinned).numpy()
    colours = mpl.colormaps['cividis']((similarity + 1) / 2, bytes=True)
    assert np.abs(page.overlay()[..., :3].astype(int) - colours[..., :3]).max() <= 6


@needs_browser
def test_it_says_where_all_channels_share_the_spatial_filter(browser, inspection, image, tmp_path):
    """The upsampled layer here has spatial filters alone, those of the backbone have both."""
    alone = make_inspection(build_segmentor(EXACT), image)
    file = tmp_path / 'alone.html'
    file.write_text(build_page([alone], 'Spatial filters alone'), encoding='utf-8')
    browser.get(file.as_uri())
    page = Page(browser, inspection.size)
    page.wait(READY)
    page.choose('layer', UP)
    page.wait("ddfExplorer.layers[0].operator === 'ddf_upsample'")
    page.choose('channel', 3)
    page.move(30, 10)
    assert page.text('effective-title') == 'Effective filter (the spatial one, in all channels)'
    _, of_effective = tolerance(alone.call(UP))
    spatial, effective = expected(alone.call(UP), alone, 30, 10, 3)
    np.testing.assert_array_equal(spatial, effective)
    found = page.blocks('effective', (5, 5))
    np.testing.assert_allclose(found['pointer'], effective, atol=of_effective)
    row, column = alone.pixel(alone.call(UP), 30, 10)
    weights = statistics.bilinear_weights(2, (5, 5))[2 * (row % 2) + column % 2]
    np.testing.assert_allclose(found['bilinear'], weights, atol=1e-6)
    # Without training the filters are those of interpolation.
    np.testing.assert_allclose(found['pointer'], weights, atol=of_effective)
    both = next(call.layer for call in alone.calls if call.layer.startswith('backbone'))
    page.choose('layer', both)
    page.wait("ddfExplorer.layers[0].operator === 'ddf'")
    page.move(31, 11)
    assert page.text('effective-title').startswith('Effective filter (spatial × channel ')


def test_the_page_is_one_file_with_nothing_to_load(page_file):
    text = page_file.read_text()
    assert len(text) < 3_000_000
    body = text[text.index('ddf-data') :]
    for loads in ('<script src', '<link', 'cdn.'):
        assert loads not in body
        assert loads not in text[: text.index('BEGIN bokeh')]
    assert '&lt;a&gt; &amp; &lt;/script&gt;' in text


def test_the_page_keeps_to_its_size(inspection, segmentor):
    """The filters of a large image get fewer bits, and pixels, until they fit."""
    rng = np.random.default_rng(0)
    large = make_inspection(segmentor, rng.integers(0, 256, (160, 224, 3), dtype=np.uint8))
    full = len(build_page([large], 'page'))
    limit = 2_000_000 + 150_000
    assert full > limit
    assert len(build_page([large], 'page', size_limit=limit)) <= limit
