from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ddf_seg.engine.weights.resuming import find_checkpoint
from ddf_seg.errors import UsageError


def save(path: Path, step: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    torch.save({'meta': {'iter': step, 'seed': 7}, 'state_dict': {'w': torch.ones(10_000)}}, path)
    return path


def make_run(folder: Path) -> Path:
    # Written in another order than they were trained, as a copied folder may be
    for step in (30, 100, 20):
        save(folder / f'iter_{step}.pth', step)
    save(folder / 'best_mIoU_iter_30.pth', 30)
    last = folder / 'iter_100.pth'
    (folder / 'last_checkpoint').write_text(str(last))
    return last


def truncate(path: Path) -> None:
    with open(path, 'r+b') as file:
        file.truncate(1000)


def test_where_nothing_was_saved_it_starts_at_the_beginning_and_says_so(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / 'missing'):
        found = find_checkpoint(folder)
        assert found.checkpoint is None
        assert f'{folder} holds no checkpoint yet' in found.note


def test_the_named_one_is_taken_without_a_word(tmp_path: Path) -> None:
    last = make_run(tmp_path)
    found = find_checkpoint(tmp_path)
    assert (found.checkpoint, found.seed, found.note) == (last, 7, '')
    # Somebody went back.
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_20.pth'))
    assert find_checkpoint(tmp_path).checkpoint == tmp_path / 'iter_20.pth'


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        (None, 'last_checkpoint is missing'),
        ('', 'last_checkpoint is empty'),
        ('/moved/away/iter_100.pth', '/moved/away/iter_100.pth (it does not exist)'),
    ],
)
def test_where_the_name_leads_nowhere_the_newest_is_taken(
    tmp_path: Path, name: str | None, reason: str
) -> None:
    last = make_run(tmp_path)
    pointer = tmp_path / 'last_checkpoint'
    if name is None:
        pointer.unlink()
    else:
        pointer.write_text(name)
    found = find_checkpoint(tmp_path)
    assert found.checkpoint == last
    assert f'going on from {last}' in found.note
    assert found.note.endswith(reason)


def test_a_damaged_one_is_passed_over_and_named(tmp_path: Path) -> None:
    last = make_run(tmp_path)
    truncate(last)
    torch.save({'state_dict': {}}, tmp_path / 'iter_30.pth')
    found = find_checkpoint(tmp_path)
    assert found.checkpoint == tmp_path / 'iter_20.pth'
    for part in (f'{last} (', 'iter_30.pth (it does not say after which iteration'):
        assert part in found.note
    truncate(tmp_path / 'iter_20.pth')
    with pytest.raises(UsageError, match=r'iter_100\.pth \(.*iter_30.*iter_20.*without --resume'):
        find_checkpoint(tmp_path)


def test_a_best_one_alone_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    best = save(tmp_path / 'best_mIoU_iter_30.pth', 30)
    with pytest.raises(UsageError, match=f'load_from={best}'):
        find_checkpoint(tmp_path)


def test_checkpoints_elsewhere_and_of_another_name_are_found(tmp_path: Path) -> None:
    work_dir = tmp_path / 'run'
    save(work_dir / 'it3.ckpt', 3)
    hook = {'out_dir': str(tmp_path / 'store'), 'filename_tmpl': 'it{}.ckpt'}
    assert find_checkpoint(work_dir, hook).checkpoint == work_dir / 'it3.ckpt'
    (tmp_path / 'store').mkdir()
    newer = save(tmp_path / 'store' / 'run' / 'it12.ckpt', 12)
    assert find_checkpoint(work_dir, hook).checkpoint == newer
