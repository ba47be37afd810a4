"""Headers of images, and what reading them leaves of Pillow's settings."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
from PIL import Image

from ddf_seg.engine.images.headers import open_image, read_header


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    names = [str(tmp_path / f'{number}.png') for number in range(40)]
    for number, name in enumerate(names, 1):
        Image.new('L', (number, 2)).save(name)
    return names


def test_images_that_are_open_at_the_same_time_leave_pillow_as_it_was(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The images have more pixels than twice that, which Pillow refuses.
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1)
    filters = warnings.filters.copy()
    first, second = map(open_image, files[2:4])
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    # As long as one is open
    with open_image(files[4]) as third:
        assert third.size == (5, 2)
    second.__exit__(None, None, None)
    assert Image.MAX_IMAGE_PIXELS == 1
    assert warnings.filters == filters
    with pytest.raises(Image.DecompressionBombError):
        Image.open(files[2])


def test_threads_read_headers(files: list[str]) -> None:
    before = Image.MAX_IMAGE_PIXELS, warnings.filters.copy()
    with ThreadPoolExecutor(4) as pool:
        sizes = [header.size for header in pool.map(read_header, files)]
    assert sizes == [(number, 2) for number in range(1, 41)]
    assert (Image.MAX_IMAGE_PIXELS, warnings.filters) == before


def test_what_is_no_image_leaves_pillow_as_it_was(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS, warnings.filters.copy()
    (tmp_path / 'a.png').write_text('no image')
    with pytest.raises(OSError, match='cannot identify image file'):
        read_header(str(tmp_path / 'a.png'))
    assert (Image.MAX_IMAGE_PIXELS, warnings.filters) == before
