from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from ddf_seg.engine.weights.checkpoints import check_checkpoint, check_fit
from ddf_seg.errors import UsageError
from ddf_seg.layers import DDFPack, DDFUpPack

WEIGHTS = {'state_dict': {'weight': torch.arange(50_000.0)}}


class Harmful:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ('touch /tmp/harm',)


def truncate(path: Path, size: int) -> None:
    with open(path, 'r+b') as file:
        file.truncate(size)


@pytest.mark.parametrize('archive', [True, False], ids=['archive', 'legacy'])
def test_a_sound_checkpoint_passes_and_a_truncated_one_does_not(
    tmp_path: Path, archive: bool
) -> None:
    path = tmp_path / 'iter_2.pth'
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=archive)
    check_checkpoint(path, 'load_from')
    for size in (path.stat().st_size - 100, 5000, 10, 0):
        truncate(path, size)
        with pytest.raises(UsageError, match=r'load_from: .*iter_2\.pth .*cannot be read'):
            check_checkpoint(path, 'load_from')


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    page = tmp_path / 'page.pth'
    page.write_text('<html>404</html>')
    with pytest.raises(UsageError, match=r"neither an archive nor a pickle .* with '<html>404"):
        check_checkpoint(page, 'load_from')
    page.write_text('import os\nprint(1)\n')
    with pytest.raises(UsageError, match=r"neither an archive nor a pickle .* with 'import os'"):
        check_checkpoint(page, 'load_from')
    page.write_bytes(bytes(range(128, 256)))
    with pytest.raises(UsageError, match=r"neither an archive nor a pickle of torch's\. Copy"):
        check_checkpoint(page, 'load_from')
    with pytest.raises(UsageError, match='not a file'):
        check_checkpoint(tmp_path, 'load_from')


@pytest.mark.parametrize('archive', [True, False], ids=['archive', 'legacy'])
def test_what_could_run_code_is_refused_without_torchs_advice_to_run_it(
    tmp_path: Path, archive: bool
) -> None:
    path = tmp_path / 'objects.pth'
    for held in (Path('x'), Harmful()):
        torch.save({'meta': held, **WEIGHTS}, path, _use_new_zipfile_serialization=archive)
        with pytest.raises(UsageError) as error:
            check_checkpoint(path, 'load_from')
        message = str(error.value)
        name = 'pathlib' if isinstance(held, Path) else 'posix.system'
        assert re.match(f'load_from: checkpoint {path} is refused: .* holds {name}', message)
        assert 'weights_only' not in message
        assert '\n' not in message
    # What its reader trusts passes.
    torch.save({'meta': argparse.Namespace(lr=1), **WEIGHTS}, path)
    with torch.serialization.safe_globals([argparse.Namespace]):
        check_checkpoint(path, 'load_from')


def test_a_missing_checkpoint_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / 'iter_20.pth').touch()
    with pytest.raises(UsageError, match=r'iter_10\.pth does not exist; .* holds iter_20\.pth'):
        check_checkpoint(tmp_path / 'iter_10.pth', 'CHECKPOINT')


def test_a_checkpoint_of_another_model_does_not_fit() -> None:
    model = nn.Linear(3, 2)
    weights = model.state_dict()
    check_fit(model, {'state_dict': {f'module.{key}': weights[key] for key in weights}}, 'x.pth')
    check_fit(model, {**weights, 'extra': torch.zeros(1)}, 'x.pth')
    with pytest.raises(UsageError, match=r'x\.pth .* weight is \(4, 3\), expected \(2, 3\)'):
        check_fit(model, nn.Linear(3, 4).state_dict(), 'x.pth')
    with pytest.raises(UsageError, match=r'lacks bias\. Give'):
        check_fit(model, nn.Linear(3, 2, bias=False).state_dict(), 'x.pth')
    with pytest.raises(UsageError, match=r'lacks weight \(1 more do not fit\)'):
        check_fit(model, {}, 'x.pth')


@pytest.mark.parametrize('layer', [DDFPack, DDFUpPack])
def test_a_checkpoint_with_a_branch_more_does_not_fit(
    layer: type[DDFPack] | type[DDFUpPack],
) -> None:
    """Its spatial filters were trained to be multiplied by channel filters."""
    both = nn.Sequential(nn.Conv2d(3, 8, 1), layer(8)).state_dict()
    spatial = nn.Sequential(nn.Conv2d(3, 8, 1), layer(8, branches='spatial'))
    check_fit(spatial, spatial.state_dict(), 'x.pth')
    with pytest.raises(UsageError, match=r'x\.pth .* it has 1\.channel_branch\.1\.weight, of a br'):
        check_fit(spatial, both, 'x.pth')


def test_a_checkpoint_with_the_authors_keys_fits() -> None:
    """DDF-Up loads them; the check must see what the layer sees."""
    up = nn.Sequential(nn.Conv2d(3, 8, 1), DDFUpPack(8))
    parts = {'depthwise': '0', 'pointwise': '1.0', '1': '1', '3': '3', '4': '4'}
    theirs = {}
    for key, value in up.state_dict().items():
        _, _, rest = key.partition('_branch.')
        if not rest:
            theirs[key] = value
            continue
        part, _, name = rest.rpartition('.')
        for phase, piece in enumerate(value.chunk(4)):
            theirs[key.replace(rest, f'{phase}.{parts[part]}.{name}')] = piece
    kept = dict(theirs)
    up.load_state_dict(dict(theirs))
    check_fit(up, {'state_dict': theirs}, 'x.pth')
    assert theirs.keys() == kept.keys()
    del theirs['1.channel_branch.2.4.std']
    with pytest.raises(UsageError, match=r'lacks 1\.channel_branch\.4\.std'):
        check_fit(up, {'state_dict': theirs}, 'x.pth')


def test_filters_without_context_fit_those_with_it() -> None:
    def build(context: bool) -> DDFUpPack:
        return DDFUpPack(
            4, scale_factor=2, joint_channels=3, normalization='interpolation',
            branches='spatial', affinity_channels=2, context=context,
        )  # fmt: skip

    older, newer = (torch.nn.Sequential(build(context)) for context in (False, True))
    check_fit(newer, older.state_dict(), 'x.pth')
    partial = {k: v for k, v in newer.state_dict().items() if 'around' not in k}
    with pytest.raises(UsageError, match=r'it lacks .*around'):
        check_fit(newer, partial, 'x.pth')
    # A network without context would compute otherwise than what was trained.
    with pytest.raises(UsageError, match='of a branch that the layer lacks'):
        check_fit(older, newer.state_dict(), 'x.pth')
