"""Prepares a config's test part for what tools/test.py is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from ...errors import UsageError
from ..lookup.classes import arguments, resolve
from ..lookup.configs import walk


@dataclass
class TestRequest:
    """What tools/test.py is asked for.

    Attributes:
        tta: whether to augment the test images, by the config's `tta_pipeline`.
        out: folder for predicted ids.
        show: whether to show pictures of the predictions on the screen.
        show_dir: folder for such pictures.
    """

    tta: bool = False
    out: str | None = None
    show: bool = False
    show_dir: str | None = None


def prepare_pictures(cfg: Config) -> None:
    """Makes sure that the config draws predictions; mmseg's defaults where it has no drawing."""
    cfg.setdefault('default_hooks', {}).setdefault(
        'visualization', dict(type='SegVisualizationHook')
    )
    cfg.setdefault(
        'visualizer',
        dict(
            type='SegLocalVisualizer',
            name='visualizer',
            vis_backends=[dict(type='LocalVisBackend')],
        ),
    )


def prepare_test(cfg: Config, request: TestRequest) -> list[str]:
    """Adapts data and evaluators of a test to what is asked for, and to what the test set has.

    Without labels nothing can be scored: the steps that load them and the evaluators that need them
    go. mmseg's own test.py knows one evaluator and sets with labels only.

    Args:
        cfg: the config, which is changed.
        request: what is asked for.

    Returns:
        What a user should know of it.

    Raises:
        UsageError: nothing would come out, or the config has no test-time augmentation.
    """
    labelled = has_labels(cfg)
    if request.tta:
        _augment(cfg)
    evaluators = cfg.get('test_evaluator') or []
    evaluators = list(evaluators) if isinstance(evaluators, (list, tuple)) else [evaluators]
    if not labelled:
        for _, node in walk(cfg.test_dataloader):
            if 'pipeline' in node:
                node['pipeline'] = _without_labels(node['pipeline'])
        evaluators = [metric for metric in evaluators if metric.get('format_only')]
    if request.out:
        _write_ids(evaluators, request.out)
    cfg.test_evaluator = evaluators
    if labelled:
        return []
    if not (evaluators or request.show or request.show_dir):
        raise UsageError(
            'the test set has no labels (no seg_map_path in its data_prefix, or no LoadAnnotations '
            'in its pipeline), so there is nothing to score. For its predictions: --out DIR, for '
            'pictures of them: --show-dir DIR'
        )
    return ['the test set has no labels: it is predicted, not scored']


def has_labels(cfg: Config) -> bool:
    """Whether all datasets of a test have labels, and load them."""
    for _, node in walk(cfg.test_dataloader):
        prefix = node.get('data_prefix')
        if isinstance(prefix, dict) and prefix.get('seg_map_path') is None:
            # mmseg joins folders only.
            prefix.pop('seg_map_path', None)
            return False
        if node.get('pipeline') and not any(map(_loads_labels, node['pipeline'])):
            return False
    return True


def _loads_labels(step: Any) -> bool:
    return any('LoadAnnotations' in str(node.get('type')) for _, node in walk(step))


def _without_labels(steps: list[Any]) -> list[Any]:
    """A pipeline, or the groups of steps of a TestTimeAug, without the steps that load labels."""
    kept: list[Any] = []
    for step in steps:
        if isinstance(step, (list, tuple)):
            if group := _without_labels(list(step)):
                kept.append(group)
        elif 'transforms' in step:
            kept.append({**step, 'transforms': _without_labels(step['transforms'])})
        elif not _loads_labels(step):
            kept.append(step)
    return kept


def _augment(cfg: Config) -> None:
    for key in ('tta_model', 'tta_pipeline'):
        if key not in cfg:
            raise UsageError(
                f'--tta: the config has no {key}, which says how to augment test images; '
                'mmseg::_base_/datasets/cityscapes.py has a tta_pipeline to copy, and the model is '
                "tta_model = dict(type='SegTTAModel')"
            )
    for _, node in walk(cfg.test_dataloader.dataset):
        if 'pipeline' in node:
            node['pipeline'] = cfg.tta_pipeline
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model


def _write_ids(evaluators: list[Any], out: str) -> None:
    """Has the first evaluator that can write predictions do so, or one that does nothing else."""
    for metric in evaluators:
        if 'output_dir' in _arguments(metric.get('type')):
            break
    else:
        metric = dict(type='IoUMetric', format_only=True)
        evaluators.append(metric)
    metric['output_dir'] = out
    if 'keep_results' in _arguments(metric['type']):
        metric['keep_results'] = True


def _arguments(name: Any) -> set[str]:
    kind = resolve(name)
    return set(arguments(kind)) if kind else set()
