"""Which files are inputs, and what their results are called."""

from __future__ import annotations

import os
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest

from ddf_seg.engine.images import IMAGES, VIDEOS
from ddf_seg.engine.predicting.inputs import find_inputs
from ddf_seg.engine.predicting.results import result_paths
from ddf_seg.errors import UsageError


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names(folder: Path) -> dict[str, str]:
    found = find_inputs([folder], IMAGES | VIDEOS, result_paths).names
    return {str(file.relative_to(folder)): str(name) for file, name in found.items()}


def test_links_are_followed_and_hidden_files_left_out(tmp_path: Path) -> None:
    other = make(tmp_path / 'other', 'town/far.png')
    folder = make(
        tmp_path / 'in', 'near.JPG', '._near.JPG', '.hidden/x.png', 'x.jpg/inside.png', 'notes.txt'
    )
    (folder / 'link').symlink_to(other)
    (folder / 'broken.png').symlink_to('nowhere')
    # Each would be followed forever.
    (folder / 'x.jpg' / 'up').symlink_to('..')
    (folder / 'x.jpg' / 'self').symlink_to('self')
    (other / 'town' / 'back').symlink_to(folder)
    os.mkfifo(folder / 'pipe.png')
    assert names(folder) == {
        'broken.png': 'broken',
        'link/town/far.png': 'link/town/far',
        'near.JPG': 'near',
        'x.jpg/inside.png': 'x.jpg/inside',
    }


def test_a_folder_that_cannot_be_listed_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path, 'a.png', 'locked/b.png')
    listed = Path.iterdir

    def refuse(path: Path) -> object:
        if path.name == 'locked':
            raise PermissionError(13, 'Permission denied')
        return listed(path)

    monkeypatch.setattr(Path, 'iterdir', refuse)
    inputs = find_inputs([folder], IMAGES)
    assert list(inputs.names) == [folder / 'a.png']
    assert inputs.unreadable == {folder / 'locked': 'Permission denied'}


@pytest.mark.parametrize(
    'files',
    [
        ['a.jpg', 'a.png'],
        ['a25.avi', 'a25/000000.png'],
        # The results of the second are what the first one would be called with its suffix.
        ['a.png', 'a.jpg', 'a.png.webp'],
        ['x.png.avi', 'x.jpg'],
        ['x.jpg', 'x.png/y.png'],
        ['x.avi', 'x.mp4/y.png'],
        ['x.avi', 'x.png', 'x.avi.png/000000.png', 'x/y.png'],
        ['x.jpg', 'x.png', 'x.jpg.png/y.png', 'x.jpg.webp'],
    ],
)
def test_no_result_overwrites_another(tmp_path: Path, files: list[str]) -> None:
    found = find_inputs([make(tmp_path / 'in', *files)], IMAGES | VIDEOS, result_paths).names
    assert len(found) == len(files)
    written: list[Path] = []
    for file, name in found.items():
        ids = [name / '000000.png'] if file.suffix == '.avi' else [Path(f'{name}.png')]
        overlays = [Path(f'{name}.mp4')] if file.suffix == '.avi' else [Path(f'{name}.png')]
        written += [Path('ids') / path for path in ids]
        written += [Path('overlays') / path for path in overlays]
    out = tmp_path / 'out'
    # A file system has the last word: no file twice, none where a folder stands.
    for path in written:
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        with open(out / path, 'x'):
            pass


def test_names_stay_plain_where_nothing_clashes(tmp_path: Path) -> None:
    folder = make(tmp_path, 'a25.avi', 'a25/000000.png', 'b.png', 'c.jpg', 'c.png')
    assert names(folder) == {
        'a25.avi': 'a25.avi',
        'a25/000000.png': 'a25/000000',
        'b.png': 'b',
        'c.jpg': 'c.jpg',
        'c.png': 'c.png',
    }


def test_images_of_one_name_from_two_places(tmp_path: Path) -> None:
    sources = [make(tmp_path, 'a/x.png', 'b/x.png') / folder for folder in ('a', 'b')]
    found = find_inputs([*sources, sources[0] / 'x.png'], IMAGES).names
    assert list(found) == [folder / 'x.png' for folder in sources]
    assert len(set(found.values())) == 2


@pytest.mark.parametrize('name', ['...png', '..png'])
def test_a_name_of_dots_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    (result,) = find_inputs([make(tmp_path, name) / name], IMAGES).names.values()
    assert str(result) == name


def test_results_are_no_inputs(tmp_path: Path) -> None:
    folder = make(
        tmp_path,
        'a.png',
        'out/ids/a.png', 'out/overlays/a.png', 'out/scenes/0.png',
        'filters/a/overview.png', 'filters/a/overview.pdf', 'filters/a/head/points.png',
        # A user's own
        'ids/b.png', 'overview.png',
    )  # fmt: skip
    # A user's own, with a table of theirs
    make(tmp_path, 'mine/ids/c.png')
    (tmp_path / 'mine' / 'classes.csv').write_text('name,id\n')
    (tmp_path / 'out' / 'classes.csv').write_text('id,name,red,green,blue\r\n0,road,1,2,3\r\n')
    inputs = find_inputs([folder], IMAGES)
    found = {str(file.relative_to(folder)) for file in inputs.names}
    assert found == {'a.png', 'ids/b.png', 'mine/ids/c.png', 'out/scenes/0.png', 'overview.png'}
    left_out = {str(path.relative_to(folder)) for path in inputs.results}
    assert left_out == {'filters/a', 'out/ids', 'out/overlays'}
    assert 'filters/a and 2 more left out' in inputs.note
    with pytest.raises(UsageError, match=r'holds no image .*left out: results of an earlier run'):
        find_inputs([folder / 'filters'], IMAGES)
