"""Finds label ids that are no class, before they reach the loss or the score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from mmseg.models import SegDataPreProcessor
from mmseg.registry import HOOKS
from torch import Tensor, nn

from ..dataset_check.findings import Severity
from ..dataset_check.scan import scan
from ..dataset_check.settings import ignored_id_faults, reduce_zero_faults
from ..dataset_check.splits import read_part
from ..dataset_files import check_dataset_files
from ..dataset_walk import leaves
from ..errors import UsageError
from ..explanations import explain_filled_ids, explain_foreign_ids
from ..labels import foreign_ids, label_ids, label_range


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Raises on labels that the model cannot take, and names file or setting.

    Those are missing files, ids outside the classes, padding with an id that is no class, and
    images of a batch that differ in size. Without it a missing file shows after minutes, from
    within a data loader's worker; the loss fails with ``Target 11 is out of bounds`` (on a GPU with
    a device-side assertion), and mmseg's IoUMetric leaves such pixels out without a word.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        # A loop that this run does not need is still its config.
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            if isinstance(loop, BaseLoop):
                dataset = loop.dataloader.dataset
                check_dataset_files(dataset)
                for message in reduce_zero_faults(dataset):
                    raise UsageError(message)
        if isinstance(runner._train_loop, BaseLoop):
            _check_fills(runner.model, runner._train_loop.dataloader.dataset)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        padding = _padding_of(runner.model)
        # How another data preprocessor makes a batch is its own matter.
        if padding is not None and padding.size is not None:
            _check_shapes(data_batch, 'train', padding.size)
        _check_ids(runner.model, runner.train_dataloader.dataset, data_batch)

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        _check_shapes(data_batch, 'val')
        _check_ids(runner.model, runner.val_dataloader.dataset, data_batch)

    def before_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        _check_shapes(data_batch, 'test')
        _check_ids(runner.model, runner.test_dataloader.dataset, data_batch)


def _check_fills(model: nn.Module, dataset: Any) -> None:
    """Make sure that padding gives labels no id that is no class."""
    num_classes, ignore_index = label_range(model)
    padding = _padding_of(model)
    if num_classes is None:
        return
    value = None if padding is None else padding.seg_pad_val
    for fault in ignored_id_faults(dataset, value, num_classes, ignore_index, 'the head'):
        if fault.severity is Severity.ERROR:
            raise UsageError(fault.message)


def _check_shapes(data_batch: Any, split: str, least: Sequence[int] = (0, 0)) -> None:
    """Make sure that the images of a batch have one size, or are padded to one.

    Args:
        data_batch: The batch.
        split: Of which dataloader.
        least: Height and width that smaller images are padded to.
    """
    inputs = data_batch.get('inputs') if isinstance(data_batch, dict) else None
    if not isinstance(inputs, list) or not all(isinstance(item, Tensor) for item in inputs):
        return
    sizes = [
        tuple(max(pair) for pair in zip(item.shape[-2:], least[-2:], strict=True))
        for item in inputs
    ]
    other = next((index for index, size in enumerate(sizes) if size != sizes[0]), None)
    if other is None:
        return
    samples = data_batch['data_samples']
    found = ' and '.join(
        f'{sizes[index][1]}×{sizes[index][0]} ({samples[index].get("img_path")})'
        for index in (0, other)
    )
    remedy = (
        f'mmseg does not pad them: --cfg-options {split}_dataloader.batch_size=1'
        if split != 'train'
        else 'let the pipeline crop them to one size (RandomCrop)'
    )
    raise UsageError(
        f'{split}_dataloader: images of a batch differ in size after the pipeline, {found}: '
        f'{remedy}'
    )


def _padding_of(model: Any) -> SegDataPreProcessor | None:
    """The data preprocessor of a segmentor, if it pads the images and labels of a batch."""
    while is_model_wrapper(model):
        model = model.module
    preprocessor = getattr(model, 'data_preprocessor', None)
    if isinstance(preprocessor, SegDataPreProcessor) and (
        preprocessor.size or preprocessor.size_divisor
    ):
        return preprocessor
    return None


def _check_ids(model: nn.Module, dataset: Any, data_batch: Any) -> None:
    """Make sure that labels have no ids but the classes and the ignored one."""
    if not isinstance(data_batch, dict):
        return
    num_classes, ignore_index = label_range(model)
    if num_classes is None:
        return
    for sample in _flatten(data_batch.get('data_samples')):
        if 'gt_sem_seg' not in sample:
            continue
        label = sample.gt_sem_seg.data
        ids = foreign_ids(label, num_classes, ignore_index)
        if not ids:
            continue
        file = sample.get('seg_map_path', '(a label without seg_map_path)')
        held = _ids_in_file(dataset, file)
        if held and not held.keys() & set(ids):
            raise UsageError(explain_filled_ids(file, ids, num_classes, ignore_index))
        raise UsageError(
            explain_foreign_ids(
                file,
                [held.get(index, index) for index in ids],
                num_classes,
                ignore_index,
                type(dataset).__name__,
                seen=held.values() or label_ids(label),
            )
        )


def _ids_in_file(dataset: Any, file: str) -> dict[int, int]:
    """The ids in a label file, by what its dataset makes of them; none if it cannot be read."""
    for leaf in leaves(dataset):
        if not hasattr(leaf, 'get_data_info'):
            continue
        part = read_part(leaf)
        for pair in part.pairs:
            if pair.label == file:
                return {part.class_of(index): index for index in scan(pair).pixels}
    return {}


def _flatten(samples: Any) -> Sequence[Any]:
    """Test-time augmentation packs the views of an image in a list of their own."""
    if samples is None:
        return []
    return [view for item in samples for view in (item if isinstance(item, list) else [item])]
