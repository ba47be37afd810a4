"""Finds the checkpoint that `--resume` goes on from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...errors import UsageError, in_a_line
from .checkpoints import open_checkpoint


@dataclass
class Found:
    """Where a training goes on.

    Attributes:
        checkpoint: the file, or a folder as DeepSpeed saves them; None: at the beginning.
        seed: of the run that saved it, if it says so.
        note: what a user should know; empty where all is as they expect it.
    """

    checkpoint: Path | None = None
    seed: int | None = None
    note: str = ''


@dataclass
class _Search:
    """The checkpoints of a run, and why some cannot be used."""

    work_dir: Path
    template: str = 'iter_{}.pth'
    folders: list[Path] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    def newest_first(self) -> Iterator[Path]:
        names = {self.template, 'iter_{}.pth', 'epoch_{}.pth'}
        patterns = [re.escape(name).replace(r'\{\}', r'(\d+)') + '$' for name in names]
        files = {
            file: int(match[1])
            for folder in self.folders
            if folder.is_dir()
            for file in folder.iterdir()
            for pattern in patterns
            if (match := re.match(pattern, file.name))
        }
        return iter(sorted(files, key=lambda file: (files[file], file.stat().st_mtime))[::-1])

    def read(self, path: Path) -> Found | None:
        """What can be gone on from, or None, and the reason is among the unusable ones."""
        if path.is_dir():
            return Found(path)
        content, damage, refusal = open_checkpoint(path)
        meta = content.get('meta') if isinstance(content, dict) else None
        if isinstance(meta, dict) and 'iter' in meta:
            return Found(path, meta.get('seed'))
        if refusal:
            damage = in_a_line(refusal)
        damage = damage or 'it does not say after which iteration it was saved'
        self.unusable.append(f'{path} ({damage})')
        return None


def find_checkpoint_of(cfg: Config) -> Found:
    """The checkpoint that a config's run goes on from; see `find_checkpoint`."""
    return find_checkpoint(cfg.work_dir, (cfg.get('default_hooks') or {}).get('checkpoint'))


def find_checkpoint(work_dir: str | Path, hook: dict[str, Any] | None = None) -> Found:
    """The checkpoint that a run's `--resume` goes on from.

    It is the one that `last_checkpoint` names, or where that is missing or damaged the newest
    sound one.

    Args:
        work_dir: of the run.
        hook: the config of its CheckpointHook, for `out_dir` and `filename_tmpl`.

    Raises:
        UsageError: the run saved checkpoints, but training cannot go on from any of them.
    """
    hook = hook or {}
    search = _Search(Path(work_dir), hook.get('filename_tmpl') or 'iter_{}.pth')
    pointer = search.work_dir / 'last_checkpoint'
    named = pointer.read_text().strip() if pointer.is_file() else ''
    if named and (found := search.read(Path(named))):
        return found
    search.folders = [search.work_dir]
    if hook.get('out_dir'):
        search.folders.append(Path(hook['out_dir'], search.work_dir.absolute().name))
    for path in search.newest_first():
        if str(path) != named and (found := search.read(path)):
            found.note = f'going on from {path}, the newest sound checkpoint: {_why(search)}'
            return found
    if search.unusable:
        raise UsageError(
            f'--resume: no checkpoint of {work_dir} can be read: {"; ".join(search.unusable)}. '
            'Give another one with --cfg-options load_from=FILE, or start again without --resume'
        )
    best = sorted(file.name for file in search.work_dir.glob('best_*.pth'))
    if best:
        raise UsageError(
            f'--resume: {work_dir} holds {best[0]}, but no checkpoint that training could go on '
            'from: the best one has no optimizer state. Start again without --resume, or from its '
            f'weights with --cfg-options load_from={search.work_dir / best[0]}'
        )
    return Found(note=f'--resume: {work_dir} holds no checkpoint yet, starting at the beginning')


def _why(search: _Search) -> str:
    if search.unusable:
        return f'cannot be read: {"; ".join(search.unusable)}'
    pointer = search.work_dir / 'last_checkpoint'
    return f'{pointer} {"is empty" if pointer.exists() else "is missing"}'
