"""What a config says of labels in several places, which must agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mmengine.config import Config
from mmseg.models.losses.utils import get_class_weight
from torch import nn

from ....errors import UsageError
from ...lookup.configs import join, walk
from ...lookup.datasets import find_loader, leaves, nested, steps
from ...lookup.models import ignored_id, label_range, padding_of
from .findings import Finding, Severity
from .splits import Split


def find_setting_faults(cfg: Config, split: Split) -> Iterator[Finding]:
    """Where the settings for a split contradict each other."""
    if len(split.classes) != split.num_classes:
        yield Finding(
            Severity.ERROR, 'number-of-classes', split.name,
            f'the model has {split.num_classes} classes, {split.parts[0].name} has '
            f'{len(split.classes)}: set num_classes of the heads',
        )  # fmt: skip
    for message in reduce_zero_faults(split.dataset):
        yield Finding(Severity.ERROR, 'reduce-zero-label', split.name, message)
    if split.name == 'train':
        for path, head in _heads(cfg):
            faults = ignored_id_faults(
                split.dataset, _label_padding(cfg),
                head.get('num_classes') or split.num_classes,
                ignored_id(head.get('ignore_index')), path,
            )  # fmt: skip
            for fault in faults:
                yield Finding(fault.severity, 'ignored-ids', split.name, fault.message)
    for path, node in walk(cfg.get(f'{split.name}_evaluator'), f'{split.name}_evaluator'):
        ignored = node.get('ignore_index', 255)
        if str(node.get('type')).endswith('IoUMetric') and ignored != split.ignore_index:
            yield Finding(
                Severity.WARNING, 'ignored-ids', split.name,
                f'{path} leaves id {ignored} out of the score, the loss leaves out '
                f'{split.ignore_index}: set ignore_index of both',
            )  # fmt: skip


def find_model_faults(cfg: Config) -> Iterator[Finding]:
    """Where the settings of the model contradict each other."""
    for message in class_weight_faults(cfg):
        yield Finding(Severity.ERROR, 'class-weights', 'model', message)


def check_class_weights(cfg: Config) -> None:
    """Makes sure that every loss has as many class weights as its head has classes.

    Raises:
        UsageError: one has not.
    """
    for message in class_weight_faults(cfg):
        raise UsageError(message)


def class_weight_faults(cfg: Config) -> Iterator[str]:
    """The losses with more or fewer class weights than their head has classes."""
    for head_path, head in _heads(cfg):
        channels = head.get('out_channels') or head.get('num_classes')
        for path, loss in walk(head.get('loss_decode'), join(head_path, 'loss_decode')):
            if not (channels and loss.get('class_weight')):
                continue
            key = join(path, 'class_weight')
            try:
                number = len(get_class_weight(loss['class_weight']))
            except Exception as error:  # a file, of any kind that mmengine reads
                yield f'{key}: {loss["class_weight"]!r} cannot be read: {error}'
                continue
            if number != channels:
                yield (
                    f'{key} has {number} weights, {head_path} has {channels} classes: give every '
                    'class one (tools/check_dataset.py counts pixels and suggests them), or none: '
                    f'--cfg-options {key}=None'
                )


def check_reduce_zero(dataset: Any) -> None:
    """Makes sure that a dataset and its pipeline agree on reduce_zero_label.

    Raises:
        UsageError: they do not.
    """
    for message in reduce_zero_faults(dataset):
        raise UsageError(message)


def check_fills(model: nn.Module, dataset: Any) -> None:
    """Makes sure that padding gives training labels no id that is no class.

    Raises:
        UsageError: it does; the message names the setting.
    """
    num_classes, ignore_index = label_range(model)
    padding = padding_of(model)
    if num_classes is None:
        return
    value = padding and padding.seg_pad_val
    for fault in ignored_id_faults(dataset, value, num_classes, ignore_index, 'the head'):
        if fault.severity is Severity.ERROR:
            raise UsageError(fault.message)


def reduce_zero_faults(dataset: Any) -> Iterator[str]:
    """Where a dataset and the step that loads its labels differ in reduce_zero_label."""
    for leaf in leaves(dataset):
        given = getattr(find_loader(leaf, 'LoadAnnotations'), 'reduce_zero_label', None)
        if given is not None and given != getattr(leaf, 'reduce_zero_label', given):
            name = type(leaf).__name__
            yield (
                f'reduce_zero_label is {given} in LoadAnnotations of the pipeline, and '
                f'{leaf.reduce_zero_label} in {name}: set it in {name} alone'
            )


class IgnoredIdFault(NamedTuple):
    """An id that stands for no class, and is not the one that the loss ignores.

    Args:
        severity: an error where it is no class at all.
        message: where it comes from, and what to do.
    """

    severity: Severity
    message: str


def ignored_id_faults(
    dataset: Any, padding: int | None, num_classes: int, ignore_index: int, head: str
) -> Iterator[IgnoredIdFault]:
    """Where pixels get an id for what they do not show, and the loss ignores another one.

    Args:
        dataset: its pipelines pad and fill, and it maps what it ignores to 255.
        padding: what the data preprocessor pads labels with; None where it does not.
        num_classes: of the head.
        ignore_index: of the head.
        head: the head's name.
    """
    for source, value in {**_fills(dataset, padding), **_mapped(dataset, num_classes)}.items():
        if value == ignore_index:
            continue
        if 0 <= value < num_classes:
            yield IgnoredIdFault(
                Severity.WARNING,
                f'{source} is {value}, a class; {head} ignores {ignore_index}, and would learn '
                f'padded pixels as class {value}',
            )
        else:
            yield IgnoredIdFault(
                Severity.ERROR,
                f'{source} is {value}, {head} ignores {ignore_index}: {value} is no class, and '
                'the loss would fail. Set both to the same id, which must be none of the classes '
                'that are to be learned',
            )


def _fills(dataset: Any, padding: int | None) -> dict[str, int]:
    """What labels are padded or filled with, by where that is set."""
    found = {} if padding is None else {'seg_pad_val of model.data_preprocessor': padding}
    for item in nested(dataset):
        for step in steps(item):
            name = type(step).__name__
            pads = getattr(step, 'pad_val', None)
            if name == 'Pad' and isinstance(pads, dict):
                found['pad_val (seg) of Pad in the pipeline'] = pads.get('seg', 255)
            for key in ('seg_pad_val', 'seg_fill_in'):
                value = getattr(step, key, None)
                if isinstance(value, int):
                    found[f'{key} of {name} in the pipeline'] = value
    return found


def _mapped(dataset: Any, num_classes: int) -> dict[str, int]:
    """What datasets make of the ids that they ignore."""
    found = {}
    for leaf in leaves(dataset):
        name = type(leaf).__name__
        if getattr(leaf, 'reduce_zero_label', False):
            found[f'what reduce_zero_label of {name} makes of id 0'] = 255
        for old, new in (getattr(leaf, 'label_map', None) or {}).items():
            if new >= num_classes:
                found[f'what {name} makes of id {old}'] = new
    return found


def _label_padding(cfg: Config) -> int | None:
    preprocessor = (cfg.get('model') or {}).get('data_preprocessor') or {}
    if not (preprocessor.get('size') or preprocessor.get('size_divisor')):
        return None
    return int(preprocessor.get('seg_pad_val', 255))


def _heads(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """The heads of a config's model, with their dotted keys."""
    for key in ('decode_head', 'auxiliary_head'):
        node = (cfg.get('model') or {}).get(key)
        if isinstance(node, dict):
            yield f'model.{key}', node
        else:
            yield from ((f'model.{key}.{index}', head) for index, head in enumerate(node or ()))
