"""Configs as mmengine puts them down, without yapf's layout."""

from __future__ import annotations


def leave_configs_plain() -> None:
    """Have mmengine write configs as plain Python: for tests that do not read them.

    It lays a config out for people with every log, dump and checkpoint, and takes longer than the
    few iterations of a test's training.
    """
    from mmengine.config import config

    config.FormatCode = lambda text, **_: (text, True)
