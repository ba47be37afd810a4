"""A page in a real browser, as its reader sees and handles it."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager

import numpy as np
import pytest

CHROMIUM, DRIVER = shutil.which('chromium'), shutil.which('chromedriver')
SIZES = {'desk': (1400, 900), 'phone': (390, 844)}
_FLAGS = [
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--window-size=1400,1050',
]  # fmt: skip
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason='the page is tested in chromium: apt install chromium chromium-driver',
)


@contextmanager
def open_browser(profile):
    webdriver = pytest.importorskip('selenium.webdriver')
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*_FLAGS, f'--user-data-dir={profile}']:
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """A page that is open in the browser."""

    def __init__(self, browser, file, size='desk', address=''):
        self.browser = browser
        self.touch = size == 'phone'
        width, height = SIZES[size]
        metrics = dict(width=width, height=height, deviceScaleFactor=1, mobile=self.touch)
        browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
        browser.execute_cdp_cmd('Emulation.setTouchEmulationEnabled', {'enabled': self.touch})
        # The same page with another address would only be told of it.
        browser.get('about:blank')
        browser.get(file.as_uri() + address)
        self.wait('window.explorer?.ready')

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition, *arguments):
        end = time.monotonic() + 60
        while not self.run(f'return {condition}', *arguments):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    def text(self, element):
        return self.run('return document.getElementById(arguments[0]).textContent', element)

    def click(self, selector):
        from selenium.webdriver.common.by import By

        self.browser.find_element(By.CSS_SELECTOR, selector).click()
        self.settle()

    def settle(self):
        """Until what was asked for is shown."""
        self.browser.execute_async_script(
            'const done = arguments[0]; explorer.set({}).then(() => requestAnimationFrame(() =>'
            'requestAnimationFrame(done)));'
        )

    def choose(self, selector, value):
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.select import Select

        Select(self.browser.find_element(By.CSS_SELECTOR, selector)).select_by_value(value)
        self.settle()

    def show(self, layer=None, overlay=None, view=0):
        """Clicks a layer of the strip, and chooses what lies over a view."""
        if layer is not None:
            self.click(f'#strip button[data-layer="{layer}"]')
        if overlay is not None:
            self.choose(f'.view:nth-child({view + 1}) select', overlay)

    def place(self, x, y, view=0):
        """A pixel's centre in the window."""
        left, top = self.run(
            """const view = explorer.views[arguments[0]];
               const box = view.stage.getBoundingClientRect();
               return [box.left + view.left + (arguments[1] + 0.5) * view.scale,
                 box.top + view.top + (arguments[2] + 0.5) * view.scale];""",
            view, x, y,
        )  # fmt: skip
        return round(left), round(top)

    def point(self, x, y, click=False, view=0):
        """Points at a pixel with the mouse, or touches it."""
        from selenium.webdriver.common.action_chains import ActionBuilder
        from selenium.webdriver.common.actions.pointer_input import PointerInput

        kind = 'touch' if self.touch else 'mouse'
        actions = ActionBuilder(self.browser, mouse=PointerInput(kind, kind))
        actions.pointer_action.move_to_location(*self.place(x, y, view))
        if click or self.touch:
            actions.pointer_action.click()
        actions.perform()
        self.wait("document.getElementById('place').textContent === arguments[0]", f'{x}, {y}')
        self.settle()

    def keys(self, *keys):
        from selenium.webdriver.common.by import By

        self.browser.find_element(By.CSS_SELECTOR, '.view .stage').send_keys(*keys)
        self.settle()

    def tables(self, within):
        """The filters of tables, by caption, from their cells."""
        found = {}
        for caption, rows in self.run(
            """return [...document.querySelectorAll(arguments[0] + ' table')].map((table) => [
                 table.caption.textContent, [...table.rows].map((row) => [...row.cells].map(
                   (cell) => [cell.dataset.value, cell.textContent]))]);""",
            within,
        ):
            cells = np.array(rows)
            values = cells[..., 0].astype(float)
            if values.shape[1] <= 7:
                shown = np.vectorize(lambda t: float(t.replace('−', '-')))(cells[..., 1])
                np.testing.assert_allclose(shown, 100 * values, atol=0.501)
            else:
                assert not cells[..., 1].any()
            found[caption] = values
        return found

    def filters(self, point='pointer', view=0):
        return self.tables(f'[data-row="{point} {view}"]')

    def overlay(self, view=0, canvas='picture'):
        """The pixels of what lies over a view, (H, W, 4)."""
        values, height, width = self.run(
            """const canvas = explorer.views[arguments[0]][arguments[1]];
               const {data} = canvas.getContext('2d')
                 .getImageData(0, 0, canvas.width, canvas.height);
               return [Array.from(data), canvas.height, canvas.width];""",
            view, canvas,
        )  # fmt: skip
        return np.array(values, np.uint8).reshape(height, width, 4)

    def chosen(self, view=0):
        """Which pixels of the map are lit up: what has no veil."""
        return self.overlay(view, 'veil')[..., 3] == 0

    def box(self, selector):
        return self.run(
            'return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()', selector
        )

    def errors(self):
        return [entry for entry in self.browser.get_log('browser') if entry['level'] == 'SEVERE']
