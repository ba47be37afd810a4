"""What configs of mmsegmentation cost, and their DDF counterparts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from ddf_seg.analysis.models import complexity
from ddf_seg.command_line import markdown_table
from ddf_seg.engine.config_file import load_config
from ddf_seg.engine.lookup.configs import kind_of
from ddf_seg.swap import swap_heads
from ddf_seg.swap.probe import build, for_size, without_pretrained

from .measure import Run, Settings, machine, side_by_side

HEAD = ['config', 'becomes', 'parameters, M', 'multiply-adds, G', 'ms / image', 'ratio']


def compare(configs: Sequence[str], shape: tuple[int, int], settings: Settings) -> str:
    """Parameters, multiply-adds and times of configs and of what `swap_heads` makes of them.

    A config and its counterpart take turns, with random weights, without auxiliary heads, from an
    image to scores of its size.

    Args:
        configs: files, or a package's configs: mmseg::….
        shape: height and width of the image.
        settings: where they run, and for how many seconds each pair does.

    Returns:
        A table in Markdown, and the machine below.

    Raises:
        UsageError: a config cannot be read, swapped, built or run on a bare image.
    """
    lines = []
    for name in configs:
        original = load_config(name)
        init_default_scope(original.get('default_scope', 'mmseg'))
        pair = {'original': original, 'swapped': swap_heads(original)}
        costs = [complexity(cfg.model.to_dict(), shape) for cfg in pair.values()]
        runs = {of: _image(cfg, shape, settings.device) for of, cfg in pair.items()}
        seconds = side_by_side(settings, runs)
        kinds = [_kinds(cfg.model.decode_head) for cfg in pair.values()]
        lines.append(_line(name, kinds, costs, [seconds[of] for of in pair]))
    where = f'{machine(settings.device)}, {settings.threads} threads, torch {torch.__version__}'
    return f'{markdown_table(HEAD, lines)}\n\n{shape[0]}×{shape[1]}; {where}'


def _kinds(heads: Any) -> str:
    """Of one head, or of several in a row."""
    return ', '.join(map(kind_of, heads if isinstance(heads, list) else [heads]))


def _line(
    name: str, kinds: Sequence[str], costs: Sequence[tuple[int, int]], seconds: Sequence[float]
) -> list[str]:
    (before, parameters_before), (after, parameters_after) = costs
    return [
        name.rpartition('/')[2].removesuffix('.py'),
        ' → '.join(kinds),
        f'{parameters_before / 1e6:.2f} → {parameters_after / 1e6:.2f}',
        f'{before / 1e9:.3g} → {after / 1e9:.3g} ({100 * (after / before - 1):+.1f} %)',
        ' → '.join(f'{1e3 * each:.3g}' for each in seconds),
        f'{seconds[1] / seconds[0]:.2f}',
    ]


def _image(cfg: Config, shape: tuple[int, int], device: torch.device) -> Run:
    """From an image to scores of its size."""
    model = for_size(without_pretrained(cfg.model.to_dict()), shape)
    model['auxiliary_head'] = None
    # Whole, whatever window the config slides over an image.
    model['test_cfg'] = dict(mode='whole')
    network: Any = build(model).to(device)
    x = torch.rand(1, 3, *shape, device=device)
    about: list[dict[str, Any]] = [dict(img_shape=shape, ori_shape=shape, pad_shape=shape)]

    @torch.no_grad()
    def run() -> Tensor:
        scores: Tensor = network.encode_decode(x, about)
        return scores

    return run
