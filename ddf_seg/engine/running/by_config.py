"""Trains what is no segmentor with mmengine's runner: classifiers, upsamplers of depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checks.output_folder import check_folder
from ..config_file import read_config
from ..explanations import explained
from .runners import build_training


def train_by_config(
    config: str, options: dict[str, Any] | None, work_dir: str | None, resume: bool
) -> None:
    """Trains what a config says, such as configs/classification/… or configs/depth_upsampling/….

    Args:
        config: file, or a package's own.
        options: of --cfg-options.
        work_dir: for checkpoints and logs; None: the config's, or work_dirs/ and the config's name.
        resume: go on from the last sound checkpoint in it.

    Raises:
        UsageError: something that the config names is missing, damaged, or does not fit; or another
            training uses the work dir.
    """
    cfg = read_config(config, options)
    name = Path(config.rpartition('::')[2]).stem
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs', name))
    check_folder(cfg.work_dir, '--work-dir')
    cfg.resume = resume
    with explained(cfg):
        build_training(cfg, options or {}).train()
