"""The page as a file, how quick it is, and whether everybody can use it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import CLASSES, make_inspection
from pages import SIZES, Page, needs_browser

from ddf_seg.errors import UsageError
from ddf_seg.visualization import FilterCall, Inspection
from ddf_seg.visualization.explorer import build_page


@pytest.fixture(scope='module')
def page_file(inspection, tmp_path_factory):
    file = tmp_path_factory.mktemp('page') / 'explorer.html'
    page = build_page([[inspection]], 'Filters of <a> & </script>')
    file.write_text(page, encoding='utf-8')
    return file


def test_it_is_one_file_with_nothing_to_load(page_file):
    text = page_file.read_text()
    assert len(text) < 1_000_000
    for loads in ('<script src', '<link rel="stylesheet', 'http://', 'https://', 'import('):
        assert loads not in text
    assert '&lt;a&gt; &amp; &lt;/script&gt;' in text


def test_it_keeps_to_its_size(inspection, segmentor):
    """The filters of a large image get fewer bits, and pixels, until they fit."""
    rng = np.random.default_rng(0)
    large = make_inspection(segmentor, rng.integers(0, 256, (160, 224, 3), dtype=np.uint8))
    full = len(build_page([[large]], 'page'))
    limit = 600_000 + 250_000
    assert full > limit
    assert len(build_page([[large]], 'page', size_limit=limit)) <= limit


def test_at_most_255_classes(inspection):
    """Ids are bytes in the page, and 255 is where there is no class."""

    def page(number: int) -> str:
        names = [f'class {i}' for i in range(number)]
        classes = replace(CLASSES, names=names, palette=np.zeros((number, 3), np.uint8))
        prediction = np.full(inspection.size, number - 1)
        run = replace(inspection, classes=classes, prediction=prediction, truth=None)
        return build_page([[run]], 'page')

    assert '"classes":[254]' in page(255)
    with pytest.raises(UsageError, match='expected at most 255 classes, got 256'):
        page(256)


# What computes the contrast of all texts that are seen, as WCAG 2.2 defines it
CONTRASTS = """
  const channel = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const behind = (part) => {
    for (; part; part = part.parentElement) {
      const colour = parse(getComputedStyle(part).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const part = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !part.checkVisibility()) continue;
    if (part.closest('script, :disabled')) continue;
    const [a, b] = [light(parse(getComputedStyle(part).color)), light(behind(part))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05),
      part.tagName, walker.currentNode.data.trim()]);
  }
  return found.filter(([ratio]) => ratio < 4.5);
"""
# Controls and regions without a name, ids twice, and labels of what is not there
UNNAMED = """
  const wrong = [];
  for (const part of document.querySelectorAll('button, select, input, [role], canvas, img')) {
    if (!part.checkVisibility() || part.closest('[aria-hidden=true]')) continue;
    const name = part.ariaLabel || part.textContent.trim() || part.labels?.[0]?.textContent.trim()
      || document.getElementById(part.getAttribute('aria-labelledby'))?.textContent || part.alt;
    const decoration = part.alt === '' || part.getAttribute('role') === 'status';
    if (!name && !decoration) wrong.push(part.outerHTML);
  }
  for (const name of ['aria-labelledby', 'aria-controls']) {
    for (const part of document.querySelectorAll(`[${name}]`)) {
      if (!document.getElementById(part.getAttribute(name))) wrong.push(part.outerHTML);
    }
  }
  const ids = [...document.querySelectorAll('[id]')].map((part) => part.id);
  if (new Set(ids).size < ids.length) wrong.push('an id twice');
  const small = [...document.querySelectorAll('button, select')].filter((part) =>
    part.checkVisibility() && part.getBoundingClientRect().height < 24);
  return [...wrong, ...small.map((part) => `small: ${part.outerHTML}`)];
"""


@needs_browser
@pytest.mark.parametrize('size', SIZES)
def test_everybody_can_use_it(browser, page_file, size):
    page = Page(browser, page_file, size)
    for _ in range(2):
        for tab in ('kinds', 'choose', 'about'):
            page.click(f'#tab-{tab}')
            page.run("explorer.set({pin: {x: 3, y: 3}, choice: 'border'})")
            page.show(overlay='prediction')
            assert page.run(CONTRASTS) == []
            assert page.run(UNNAMED) == []
        # Once more in the dark
        page.click('#theme')
    assert page.run('return document.documentElement.lang') == 'en'
    # The focus can be seen, and leads everywhere.
    page.run("document.querySelector('.stage').focus({focusVisible: true})")
    outline = page.run('return getComputedStyle(document.activeElement).outlineWidth')
    assert outline == '3px'


def large_inspection() -> Inspection:
    """1024×2048 pixels, and a layer of half that size with 5×5 filters."""
    rng = np.random.default_rng(0)
    coarse = rng.random((26, 52), dtype=np.float32)
    height, width = 512, 1024
    y, x = np.mgrid[:height, :width]
    blocks = torch.from_numpy(coarse[y // 20, x // 20])
    ramp = torch.linspace(-1, 1, 25)[:, None, None]
    noise = torch.from_numpy(rng.random((25, height, width), dtype=np.float32))
    logits = 4 * ramp * blocks + noise
    call = FilterCall(
        'up', 'ddf_upsample', torch.zeros(1, 4, height // 2, width // 2), torch.ones(1, 4, 5, 5),
        logits.softmax(0)[None], (5, 5), (1, 1), (1, 1), 2, 'mul',
    )  # fmt: skip
    image = np.repeat(np.repeat((255 * blocks.numpy()).astype(np.uint8), 2, 0), 2, 1)
    prediction = (image // 64).astype(np.int64)
    image = np.stack([image] * 3, -1)
    return Inspection(
        'large', image, prediction, prediction, CLASSES, [call], (1.0, 1.0), image.shape[:2]
    )


@needs_browser
def test_a_large_page_is_quick(browser, tmp_path):
    """Measured: first paint 0.1 s, hover 1 ms, overlays 20 to 70 ms; the limits leave room."""
    file = tmp_path / 'large.html'
    page = build_page([[large_inspection()]], 'large')
    assert 3_000_000 < len(page) <= 15_000_000
    file.write_text(page, encoding='utf-8')
    page = Page(browser, file)
    assert page.run("return performance.getEntriesByName('first-paint')[0].startTime") < 1000
    hovers = []
    for step in range(20):
        page.run('explorer.hoverTook = null; explorer.point(arguments[0])',
                 {'x': 50 + 90 * step, 'y': 40 + 45 * step})  # fmt: skip
        page.wait('explorer.hoverTook !== null')
        hovers.append(page.run('return explorer.hoverTook'))
    assert np.median(hovers) < 16
    for overlay in ('colours', 'similarity', 'prediction', 'kinds'):
        times = []
        for step in range(3):
            times.append(
                page.browser.execute_async_script(
                    """const [overlay, step, done] = arguments;
                       (async () => {
                         for (const layer of explorer.layers.values()) layer.cachedColours = null;
                         const [view] = explorer.state.views;
                         await explorer.set({pin: {x: 90 * step, y: 9},
                           views: [{...view, overlay: 'none'}]});
                         const started = performance.now();
                         await explorer.set({views: [{...view, overlay}]});
                         return performance.now() - started;
                       })().then(done);""",
                    overlay, step,
                )
            )  # fmt: skip
        # Two cores may be at work for others: 300 to 380 ms have been seen then.
        assert min(times) < 1000, (overlay, times)
    assert not page.errors()
