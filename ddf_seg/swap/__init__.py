"""Turns any config of mmsegmentation into its DDF counterpart.

A head that DDF has a class for gets that class; any other that classifies a feature map becomes a
`DDFGuidedHead`. Which levels guide, and how far apart they are, is found by running backbone and
neck once, on a small image and random weights.

- `planning`: what has to change in a config
- `heads`, `surroundings`: the rules for decode heads, and for backbones and necks
- `replacements`: what a class of ours says that it can stand in place of
- `probe`: channels and strides of a model's maps
- `writing`: the text of a config
- `upgrading`: a trained network's weights in its counterpart, and a schedule to go on training
"""

from __future__ import annotations

from .planning import Swap, plan_swap, swap_heads, swapped_config
from .upgrading import Upgrade, upgrade
from .writing import config_text

__all__ = [
    'Swap',
    'Upgrade',
    'config_text',
    'plan_swap',
    'swap_heads',
    'swapped_config',
    'upgrade',
]
