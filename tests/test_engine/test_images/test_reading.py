"""Images are read as a config's pipeline reads them; names that are no text do no harm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
from PIL import Image

from ddf_seg.engine.images.pictures import UnreadableError, to_picture, why_unreadable
from ddf_seg.engine.images.reading import ImageReader
from ddf_seg.engine.predicting.videos import plain_name

LOAD = dict(type='LoadImageFromFile')
SCENE = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def write_oriented(path: Path, orientation: int) -> None:
    """The scene, with a word on how to turn it."""
    image = Image.fromarray(SCENE[..., ::-1])
    exif = image.getexif()
    exif[0x112] = orientation
    image.save(path, exif=exif)


# What EXIF's orientations ask for: 3 half a turn, 6 a quarter clockwise, 8 back.
TURNS = {1: 0, 3: 2, 6: -1, 8: 1}


@pytest.mark.parametrize('orientation', TURNS)
def test_the_config_decides_on_orientation(tmp_path: Path, orientation: int) -> None:
    write_oriented(tmp_path / 'x.png', orientation)
    turned = np.rot90(SCENE, TURNS[orientation])
    np.testing.assert_array_equal(ImageReader(LOAD)(tmp_path / 'x.png'), turned)
    stored = ImageReader({**LOAD, 'color_type': 'color_ignore_orientation'})
    np.testing.assert_array_equal(stored(tmp_path / 'x.png'), SCENE)
    pillow = ImageReader({**LOAD, 'imdecode_backend': 'pillow'})
    np.testing.assert_array_equal(pillow(tmp_path / 'x.png'), turned)


def test_colours_and_number_type_are_the_configs(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'x.png'), SCENE)
    read = ImageReader({**LOAD, 'color_type': 'grayscale', 'to_float32': True})
    image = read(tmp_path / 'x.png')
    assert image.shape == (6, 9)
    assert image.dtype == np.float32
    # The file's decoder rounds otherwise.
    np.testing.assert_allclose(read.convert(SCENE), image, atol=1)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """OpenCV's own functions crash on such a name."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9.png'))
    content = cv2.imencode('.png', SCENE)[1].tobytes()
    path.write_bytes(content)
    np.testing.assert_array_equal(ImageReader(LOAD)(path), SCENE)
    with plain_name(path) as name:
        assert name.isascii()
        assert Path(name).read_bytes() == content
    target = path.with_name('new' + path.name)
    with plain_name(target) as name:
        Path(name).write_bytes(b'new')
    assert target.read_bytes() == b'new'


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_what_cannot_be_read_says_why(tmp_path: Path, backend: str) -> None:
    read = ImageReader({**LOAD, 'imdecode_backend': backend})
    (tmp_path / 'text.png').write_text('no image')
    (tmp_path / 'empty.png').touch()
    (tmp_path / 'link.png').symlink_to('nowhere.png')
    for name, reason in (
        ('text.png', '.*no image.*(OpenCV cannot decode|Pillow does not know)'),
        ('empty.png', 'empty file'),
        ('none.png', 'missing'),
        ('link.png', r'a link to nowhere\.png, which is missing'),
        ('', 'a folder'),
    ):
        with pytest.raises(UnreadableError, match=f'^{reason}'):
            read(tmp_path / name)
    skipping = ImageReader({**LOAD, 'imdecode_backend': backend, 'ignore_empty': True})
    with pytest.raises(UnreadableError, match='missing'):
        skipping(tmp_path / 'none.png')


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    path = str(tmp_path / 'x.png')
    Path(path).write_bytes(b'x')
    error = PermissionError(13, 'Permission denied', path)
    assert why_unreadable(path, error) == 'Permission denied'


def test_memory_that_is_lacking_is_not_the_images_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        error = cv2.error('Failed to allocate 9 bytes')
        error.code, error.err = cv2.Error.StsNoMem, 'Failed to allocate 9 bytes'
        raise error

    cv2.imwrite(str(tmp_path / 'x.png'), SCENE)
    monkeypatch.setattr(cv2, 'imdecode', refuse)
    with pytest.raises(MemoryError, match='allocate'):
        ImageReader(LOAD)(tmp_path / 'x.png')
    with pytest.raises(cv2.error) as error:
        cv2.imdecode(np.zeros(9, np.uint8), cv2.IMREAD_COLOR)
    assert why_unreadable(str(tmp_path / 'x.png'), error.value) == 'too large for the memory'


def test_every_image_can_be_shown() -> None:
    grey = SCENE[..., 0]
    np.testing.assert_array_equal(to_picture(SCENE), SCENE)
    np.testing.assert_array_equal(to_picture(SCENE.astype(np.float32)), SCENE)
    np.testing.assert_array_equal(to_picture(grey), np.stack([grey] * 3, 2))
    np.testing.assert_array_equal(to_picture(grey[..., None]), np.stack([grey] * 3, 2))
    np.testing.assert_array_equal(to_picture(SCENE.astype(np.uint16) * 257), SCENE)
    four = np.dstack([SCENE, grey])
    np.testing.assert_array_equal(to_picture(four), SCENE)
