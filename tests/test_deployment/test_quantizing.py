"""OpenVINO's files in half precision and in int8, and the images that calibrate it."""

from __future__ import annotations

from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from toy import ABOUT, Toy

from ddf_seg.deployment.exporting import convert_to_openvino, export_program, write_program
from ddf_seg.deployment.network import Interface
from ddf_seg.deployment.quantizing import calibration_images
from ddf_seg.errors import UsageError
from ddf_seg.runtime import Segmenter, import_openvino


class Convolved(Toy):
    """A product of two convolutions, as of features and filters."""

    def __init__(self) -> None:
        super().__init__(mean=[120.0] * 3, std=[60.0] * 3)
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 64, 5, padding=2), nn.Conv2d(64, 3, 3, padding=1)

    def encode_decode(self, x: Tensor, metas: object) -> Tensor:
        y = self.first(x)
        return self.second(y * y.sigmoid())


@pytest.fixture(scope='module')
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp('convolved') / 'network.onnx'
    program = export_program(Convolved(), None, Interface(output='scores'))
    write_program(program, 'onnx', file, ABOUT)
    return file


def photos(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 1, 8, 10, 3), dtype=np.uint8)
    return list(coarse.repeat(8, 2).repeat(8, 3))


def test_int8_is_in_the_convolutions_alone_and_near(onnx_file: Path, tmp_path: Path) -> None:
    pytest.importorskip('nncf', reason='the extra int8 is not installed')
    plain, small = tmp_path / 'plain.xml', tmp_path / 'small.xml'
    convert_to_openvino(onnx_file, plain, ABOUT)
    convert_to_openvino(onnx_file, small, ABOUT, 'int8', photos(8))
    model = import_openvino().Core().read_model(small)
    quantised = [node for node in model.get_ops() if node.get_type_name() == 'FakeQuantize']
    assert len(quantised) >= 2
    for node in quantised:
        (user,) = node.output(0).get_target_inputs()
        assert user.get_node().get_type_name() == 'Convolution'
    assert small.with_suffix('.bin').stat().st_size < 0.4 * plain.with_suffix('.bin').stat().st_size
    image = photos(9)[8][0]
    found, expected = (Segmenter(file, threads=1)(image) for file in (small, plain))
    assert 0 < np.abs(found - expected).mean() < 0.02 * (expected.max() - expected.min())


def test_half_precision_halves_the_file(onnx_file: Path, tmp_path: Path) -> None:
    plain, half = tmp_path / 'plain.xml', tmp_path / 'half.xml'
    convert_to_openvino(onnx_file, plain, ABOUT)
    convert_to_openvino(onnx_file, half, ABOUT, 'fp16')
    assert half.with_suffix('.bin').stat().st_size < 0.6 * plain.with_suffix('.bin').stat().st_size
    image = photos(1)[0][0]
    found, expected = (Segmenter(file, threads=1)(image) for file in (half, plain))
    assert 0 < np.abs(found - expected).max() < 1e-3 * (expected.max() - expected.min())


def config(train: object) -> Config:
    return Config(dict(train_dataloader=train))


def test_images_come_from_the_training_set_or_a_folder(tmp_path: Path) -> None:
    for folder in ('train', 'labels', 'own'):
        (tmp_path / folder).mkdir()
    for name, colour in (('train/a', (10, 20, 30)), ('train/b', (1, 2, 3)), ('own/c', (4, 5, 6))):
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.full((6, 8, 3), colour, np.uint8))
    dataset = dict(
        type='BaseSegDataset', data_root=str(tmp_path), img_suffix='.png',
        data_prefix=dict(img_path='train', seg_map_path='labels'),
        pipeline=[dict(type='RandomCrop', crop_size=(4, 4)), dict(type='PackSegInputs')],
    )  # fmt: skip
    cfg = config(dict(dataset=dataset))
    # As in a new process: the pipeline's transforms are mmseg's, and nobody has said so yet.
    with DefaultScope.overwrite_default_scope('mmengine'):
        images = calibration_images(cfg, None, None, 1, Interface())
    assert sorted(x[0, 0, 0].tolist() for x in images) == [[1, 2, 3], [10, 20, 30]]
    assert {x.shape for x in images} == {(1, 6, 8, 3)}
    (image,) = calibration_images(cfg, tmp_path / 'own', (12, 20), 3, Interface('nchw', 'rgb'))
    assert image.shape == (3, 3, 12, 20)
    assert image[2, :, 5, 5].tolist() == [6, 5, 4]


@pytest.mark.parametrize('count', [1, 99, 100, 101, 199, 250])
def test_images_are_spread_over_all_of_a_folder(tmp_path: Path, count: int) -> None:
    for number in range(count):
        cv2.imwrite(str(tmp_path / f'{number:03}.png'), np.full((1, 1, 3), number, np.uint8))
    images = calibration_images(config(None), tmp_path, None, 1, Interface())
    numbers = [int(image[0, 0, 0, 0]) for image in images]
    assert len(numbers) == min(count, 100)
    steps = np.diff([*numbers, count])
    assert numbers[0] == 0
    assert steps.min() >= 1
    # As even as whole numbers are
    assert steps.max() - steps.min() <= 1


def test_int8_without_images_says_where_it_looked(tmp_path: Path) -> None:
    dataset = dict(type='BaseSegDataset', data_root=str(tmp_path / 'none'), ann_file='list.txt')
    for train, message in ((None, 'no train_dataloader'), (dict(dataset=dataset), r'list\.txt')):
        with pytest.raises(UsageError, match=rf'^--precision int8 .*--calibration.*{message}'):
            calibration_images(config(train), None, None, 1, Interface())
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(UsageError, match=r'^--calibration: .*a\.png'):
        calibration_images(config(None), tmp_path, None, 1, Interface())
