"""Keeps the last checkpoint until the next one is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from ...errors import UsageError
from ..weights.checkpoints import find_damage


class _Removals:
    """A file backend that removes nothing yet, but remembers what to remove."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.asked: list[tuple[Callable[[str], None], str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.asked.append((self.backend.remove, path))

    def rmtree(self, path: str) -> None:
        self.asked.append((self.backend.rmtree, path))


# Under mmengine's name in mmseg's registry, where configs of mmseg look first.
@HOOKS.register_module(name='CheckpointHook')
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's CheckpointHook, which loses nothing to a kill or a full disk.

    mmengine's (0.10.7, onedl-mmengine 0.10.12) removes an old checkpoint before the new one is
    written: with `max_keep_ckpts=1` the only one, and the best one before a better. Here the old
    one goes when the new one is whole. A best checkpoint that is damaged or gone when training
    resumes no longer counts.
    """

    file_backend: Any

    def before_train(self, runner: Runner) -> None:
        for metric in self.save_best or ():
            # mmengine's names for one metric and for several
            suffix = '' if len(self.key_indicators) == 1 else f'_{metric}'
            self._check_best(runner, f'best_ckpt{suffix}', f'best_score{suffix}')
        super().before_train(runner)

    @staticmethod
    def _check_best(runner: Runner, checkpoint: str, score: str) -> None:
        known = runner.message_hub
        named = known.get_info(checkpoint)
        if named is None or '://' in named:
            return
        path = Path(named)
        if not path.exists() and (moved := Path(runner.work_dir, path.name)).exists():
            path = moved
            known.update_info(checkpoint, str(path))
        # DeepSpeed and FSDP save folders.
        if path.is_dir():
            return
        if damage := find_damage(path):
            runner.logger.warning(
                f'The best checkpoint {path} ({score} {known.pop_info(score)}) cannot be read: '
                f'{damage}. It no longer counts: the next validation saves the best one anew.'
            )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        with self._removing_when_done():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        if not self.save_best:  # nor a file_backend, where a runner only validates
            return
        with self._removing_when_done():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_when_done(self) -> Iterator[None]:
        removals = _Removals(self.file_backend)
        self.file_backend = removals
        try:
            yield
        except OSError as error:
            raise UsageError(
                f'a checkpoint cannot be written to {self.out_dir}: {error}. Those that were saved '
                'before are still there; make room, and go on from the last one with --resume'
            ) from error
        finally:
            self.file_backend = removals.backend
        kept = {self.last_ckpt, *self._best()}
        for remove, path in removals.asked:
            if path not in kept:
                remove(path)

    def _best(self) -> list[str | None]:
        if hasattr(self, 'best_ckpt_path_dict'):
            return list(self.best_ckpt_path_dict.values())
        return [getattr(self, 'best_ckpt_path', None)]
