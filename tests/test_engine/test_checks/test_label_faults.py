"""Labels in another encoding, of another size, or with ids that are no class are named."""

from __future__ import annotations

from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_roads import find, make_config, make_more, write_label

from ddf_seg.engine.checks.dataset import (
    Severity,
    check_all,
    check_quickly,
    exit_code,
    format_report,
)
from ddf_seg.errors import UsageError


def test_sizes_and_encodings(roads: Path) -> None:
    folder = roads / 'labels/train'
    cv2.imwrite(str(folder / '0.png'), np.zeros((10, 8), np.uint8))
    cv2.imwrite(str(folder / '1.png'), np.zeros((8, 10, 3), np.uint8))
    cv2.imwrite(str(folder / '2.png'), np.full((8, 10), 7 * 256 + 1, np.uint16))
    cv2.imwrite(str(roads / 'labels/val/0.png'), np.ones((8, 10), np.uint16))
    result = check_all(make_config(roads), 1)
    found = {(finding.kind, finding.split): finding for finding in result.findings}
    assert set(found) == {
        ('sizes-differ', 'train'),
        ('colour-labels', 'train'),
        ('wide-labels', 'train'),
        ('wide-labels', 'val'),
    }
    assert '8×10 for an image of 10×8' in found['sizes-differ', 'train'].message
    assert 'mode RGB' in found['colour-labels', 'train'].message
    assert found['colour-labels', 'train'].files == [str(folder / '1.png')]
    assert 'up to 1793' in found['wide-labels', 'train'].message
    assert found['wide-labels', 'train'].severity is Severity.ERROR
    assert found['wide-labels', 'val'].severity is Severity.WARNING
    assert exit_code(result) == 4


def test_ids_that_are_no_class(roads: Path) -> None:
    label = np.zeros((8, 10), np.uint8)
    label[0], label[1, :4] = 7, 3
    for index in (1, 3):
        cv2.imwrite(str(roads / f'labels/train/{index}.png'), label)
    finding = find(make_config(roads))['foreign-ids']
    assert finding.files == [str(roads / f'labels/train/{index}.png') for index in (1, 3)]
    for part in ('3 (8 pixels), 7 (20 pixels)', 'expected 0 to 2', '3 classes', 'BaseSegDataset'):
        assert part in finding.message
    with pytest.raises(UsageError, match='holds label id 3, 7: expected'):
        check_quickly(make_config(roads), ('train',))
    # A palette's indices are ids.
    image = Image.fromarray(np.full((8, 10), 2, np.uint8))
    image.putpalette([9, 9, 9] * 256)
    for index in (1, 3):
        image.save(roads / f'labels/train/{index}.png')
    assert find(make_config(roads)) == {}


def test_the_datasets_own_mapping_counts(roads: Path) -> None:
    # reduce_zero_label: 0 is ignored, 1 and 2 become 0 and 1.
    result = check_all(make_config(roads, reduce_zero_label=True), 1)
    assert result.statistics['train'].pixels.tolist() == [50, 50, 0]
    assert result.statistics['train'].ignored == 250 + 50
    assert [finding.kind for finding in result.findings] == ['unseen-classes'] * 2
    assert 'cannot be learned: car' in result.findings[0].message
    assert exit_code(result) == 3


def test_a_label_of_colours_outside_the_sample(roads: Path) -> None:
    make_more(roads, 70)
    write_label(roads / 'labels/train/031.png', np.zeros((8, 10, 3), np.uint8))
    with pytest.raises(UsageError, match=r'1 label with several channels .*031\.png'):
        check_quickly(make_config(roads), ('train',))


def test_a_split_without_a_class(roads: Path) -> None:
    for file in (roads / 'labels/train').iterdir():
        write_label(file, np.full((8, 10), 255, np.uint8))
    finding = find(make_config(roads))['no-class']
    assert finding.severity is Severity.ERROR
    assert 'none of the labels has a pixel of a class: 100.0 % of the' in finding.message
    assert '100.0 % of the pixels ignored' in format_report(check_all(make_config(roads), 1))
    with pytest.raises(UsageError, match='none of the labels has a pixel'):
        check_quickly(make_config(roads), ('train',))


def test_masks_of_0_and_255(roads: Path) -> None:
    make_more(roads, 30)
    for file in (roads / 'labels').glob('*/*.png'):
        mask = np.zeros((8, 10), np.uint8)
        mask[:3] = 255
        write_label(file, mask)
    cfg = make_config(roads, metainfo={'classes': ('other', 'road')})
    cfg.model.decode_head.num_classes = 2
    findings = [item for item in check_all(cfg, 1).findings if item.kind == 'single-class']
    assert [(item.split, item.severity) for item in findings] == [
        ('train', Severity.ERROR),
        ('val', Severity.WARNING),
    ]
    for part in ('37.5 % of the pixels are ignored', 'road cannot be learned', 'Write 1 where'):
        assert part in findings[0].message
    # A sample may miss what is rare.
    warnings = check_quickly(cfg, ('train',))
    assert any('24 labels that could be read' in text and 'Write 1' in text for text in warnings)


def test_ids_that_are_shifted_by_one(roads: Path) -> None:
    for file in (roads / 'labels').glob('*/*.png'):
        label = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert label is not None
        write_label(file, np.where(label == 255, 255, label + 1))
    result = check_all(make_config(roads), 1)
    message = next(item.message for item in result.findings if item.kind == 'foreign-ids')
    assert 'Ids from 1 to 3 for 3 classes: shifted by one?' in message
    assert 'reduce_zero_label=True' in message
    # The remedy
    assert check_all(make_config(roads, reduce_zero_label=True), 1).findings == []
    # Not every foreign id is one too many.
    write_label(
        roads / 'labels/train/0.png', np.array([[0, 3]], np.uint8).repeat(8, 0).repeat(5, 1)
    )
    result = check_all(make_config(roads), 1)
    message = next(item.message for item in result.findings if item.kind == 'foreign-ids')
    assert 'shifted by one' not in message
