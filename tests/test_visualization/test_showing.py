"""What notebooks show."""

from __future__ import annotations

import base64
import html
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from networks import CLASSES
from pages import Page, needs_browser

from ddf_seg.visualization import capture_filters, explore
from ddf_seg.visualization.basis import FilterBasis


def test_captured_calls_show_themselves(segmentor, image):
    with torch.no_grad(), capture_filters(segmentor, ['decode_head']) as calls:
        segmentor(torch.randn(1, 3, 45, 61))
    shown = calls._repr_html_()
    assert shown.count('<tr>') == len(calls) + 1
    pictures = re.findall(r'alt="colours of the filters of ([\w.]+)" src="[^,]*,([^"]*)"', shown)
    assert [name for name, _ in pictures] == [call.layer for call in calls]
    for call, (_, content) in zip(calls, pictures, strict=True):
        bgr = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), 1)
        own = call.own_filters()
        expected = FilterBasis.fit([own]).colours(own)
        expected = cv2.resize(expected, bgr.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        # JPEG's hues are coarse.
        assert np.abs(bgr[..., ::-1].astype(int) - expected).mean() < 12
        assert f'{call.size[1]}×{call.size[0]}' in shown


@pytest.fixture(scope='module')
def exploration(segmentor, image):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return explore(segmentor, image, CLASSES)


@needs_browser
def test_a_notebook_shows_the_page(exploration, browser, tmp_path):
    """In a frame, without an address of its own."""
    shown = exploration._repr_html_()
    source = re.search(r'srcdoc="([^"]*)"', shown)[1]
    assert html.unescape(source) == exploration.page
    file = tmp_path / 'notebook.html'
    file.write_text(f'<!DOCTYPE html><meta charset="utf-8"><body>{shown}', encoding='utf-8')
    browser.get(file.as_uri())
    browser.switch_to.frame(0)
    page = Page.__new__(Page)
    page.browser = browser
    page.wait('window.explorer?.ready')
    page.run('explorer.point({x: 3, y: 4})')
    page.wait("document.getElementById('place').textContent === '3, 4'")
    page.wait('explorer.hash')
    assert not page.errors()
    browser.switch_to.default_content()


def test_the_page_of_a_file(exploration, segmentor, image, tmp_path):
    assert cv2.imwrite(str(tmp_path / 'street.png'), image)
    with DefaultScope.overwrite_default_scope('mmseg'):
        page = explore(segmentor, tmp_path / 'street.png', CLASSES)
    page.save(tmp_path / 'page.html')
    written = (tmp_path / 'page.html').read_text(encoding='utf-8')
    assert written.replace('street.png', 'image') == exploration.page
    with pytest.raises(FileNotFoundError, match=r'none\.png'):
        explore(segmentor, tmp_path / 'none.png', CLASSES)
    # OpenCV's own reader crashes on it.
    other = Path(os.fsdecode(os.fsencode(tmp_path / 'stra') + b'\xdfe.png'))
    other.write_bytes((tmp_path / 'street.png').read_bytes())
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert len(explore(segmentor, other, CLASSES).page) > 10_000
