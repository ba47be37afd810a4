"""The text of the config that a folder gets."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from .class_list import Classes
from .recipe import BATCH, Recipe

_TEXT = """\
# {title}
_base_ = [
    'ddf_seg::_base_/models/ddf_efficientnet-lite0.py',
    'mmseg::_base_/default_runtime.py',
    'ddf_seg::_base_/schedules/adamw.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)
{load_from}
# Checkpoints and logs; --work-dir names another folder.
work_dir = {work_dir}
data_root = {data_root}
classes = {classes}
palette = {palette}
crop_size = {crop}  # height, width

model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head={head},
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale={scale}, ratio_range=(0.75, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),{resize}
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
dataset = dict(
    type='BaseSegDataset',
    data_root=data_root,
    data_prefix=dict(img_path={images!r}, seg_map_path={labels!r}),
    img_suffix={suffix!r},
    seg_map_suffix='.png',
    metainfo=dict(classes=classes, palette=palette),
)
train_dataloader = dict(
    batch_size={batch},
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(**dataset, ann_file={lists[train]!r}, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, ann_file={lists[val]!r}, pipeline=test_pipeline),
)
{test}
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = [val_evaluator, dict(type='BoundaryIoUMetric', thinness=0.01)]

train_cfg = dict(max_iters={iterations}, val_interval={interval})
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end={warm_up}, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin={warm_up}, end={iterations}, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval={interval}))
"""
_TEST = """\
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, ann_file={file!r}, pipeline=test_pipeline),
)"""
_WEIGHTED_HEAD = """\
dict(
        num_classes={number},
        # In proportion to 1 / √share of the pixels: rare classes are learned early enough.
        loss_decode=dict(
            class_weight={weights},
        ),
    )"""


def beside(path: str) -> str:
    """A path from the config's own folder on, '/…', as Python: it holds wherever that is moved.

    mmengine puts the folder's name in as it is. Between these quotes it may have apostrophes.
    """
    return f'"""{{{{ fileDirname }}}}{path}"""'


def unwritable(path: str) -> str:
    """What keeps a config from standing in a folder of this path, or nothing."""
    # mmengine takes a backslash for the slash of other systems.
    found = [part for part in ('\\', '"""', '\n', '\r') if part in path]
    return found[0] if found else ''


def config_text(
    *,
    title: str,
    data_root: str,
    classes: Classes,
    recipe: Recipe,
    images: str,
    labels: str,
    suffix: str,
    lists: dict[str, str],
    load_from: str | None,
) -> str:
    """A config for a dataset.

    Args:
        title: its first comment.
        data_root: what the other paths are relative to, as Python.
        classes: names and colours.
        recipe: the numbers.
        images, labels: folders.
        suffix: of the images; '' where the lists have it.
        lists: files with the names of each split: 'train', 'val' and perhaps 'test'.
        load_from: the checkpoint to start from, if any.
    """
    head = f'dict(num_classes={len(classes.names)})'
    if recipe.class_weight:
        weights = _wrapped(list(map(str, recipe.class_weight)), '[', ']', indent=12)
        head = _WEIGHTED_HEAD.format(number=len(classes.names), weights=weights)
    resize = f"\n    dict(type='Resize', scale={recipe.scale}, keep_ratio=True),"
    test = (
        _TEST.format(file=lists['test']) if 'test' in lists else 'test_dataloader = val_dataloader'
    )
    return _TEXT.format(
        title=title,
        work_dir=beside('/work_dir'),
        data_root=data_root,
        classes=_wrapped([repr(name) for name in classes.names], '(', ')'),
        palette=_wrapped([str(list(colour)) for colour in classes.palette], '[', ']'),
        crop=recipe.crop,
        head=head,
        scale=recipe.scale,
        resize=resize if recipe.resize else '',
        load_from=f'load_from = {load_from!r}\n' if load_from else '',
        images=images,
        labels=labels,
        suffix=suffix,
        batch=BATCH,
        lists=lists,
        test=test,
        iterations=recipe.iterations,
        interval=recipe.interval,
        warm_up=min(100, recipe.iterations // 10),
    )


def _wrapped(items: Sequence[str], start: str, end: str, indent: int = 0) -> str:
    """Items in lines of a readable width."""
    lines, line = [], ''
    for item in items:
        if line and indent + len(line) + len(item) > 88:
            lines.append(line.rstrip())
            line = ''
        line += f'{item}, '
    lines.append(line.rstrip())
    space = '\n' + ' ' * indent
    return start + ''.join(f'{space}    {text}' for text in lines) + f'{space}{end}'


def class_table(classes: Classes) -> str:
    """classes.csv: what ids and colours mean."""
    table = StringIO(newline='')
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(['index', 'name', 'red', 'green', 'blue'])
    rows = zip(classes.names, classes.palette, strict=True)
    writer.writerows([index, name, *colour] for index, (name, colour) in enumerate(rows))
    return table.getvalue()
