"""From folders of drawn scenes, in several layouts, to configs that train."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
from folder_layouts import NUMBER, SIZE, save
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from mmseg.utils import register_all_modules
from scripts import ROOT

from ddf_seg.cli import init
from ddf_seg.engine.checks.dataset import Severity, check_all
from ddf_seg.engine.starting import Options, Start, start
from ddf_seg.errors import UsageError
from road_scenes import CLASSES


def begin(root: Path, **options: Any) -> Start:
    return start(Options(root, root / 'ddf_seg', **options))


def labels_of(config: Path, split: str) -> dict[int, np.ndarray]:
    """What the config's dataset loads, by the number in the picture's name."""
    init_default_scope('mmseg')
    dataset = DATASETS.build(Config.fromfile(config)[f'{split}_dataloader'].dataset)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return {
        int(re.findall(r'\d+', Path(info['img_path']).stem.removesuffix('_leftImg8bit'))[-1]): (
            cv2.imread(info['seg_map_path'], cv2.IMREAD_UNCHANGED)
        )
        for info in infos
    }


def test_every_layout_gives_the_scenes_own_ids(
    laid_out: Path, scenes: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    before = {file: file.read_bytes() for file in laid_out.rglob('*') if file.is_file()}
    names = [] if (laid_out / 'classes.txt').exists() else list(CLASSES)
    done = begin(laid_out, classes=names)
    assert done.classes.names == list(CLASSES)
    found = {**labels_of(done.config, 'train'), **labels_of(done.config, 'val')}
    assert sorted(found) == list(range(NUMBER))
    for number, label in found.items():
        np.testing.assert_array_equal(label, scenes[number][1])
    own = set((laid_out / 'ddf_seg').rglob('*'))
    assert {
        f: f.read_bytes() for f in laid_out.rglob('*') if f.is_file() and f not in own
    } == before
    assert not [file for file in laid_out.iterdir() if file.name.startswith('.')]


def test_the_command_it_ends_with_survives_a_shell(
    plain: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plain.rename(plain.with_name('my street'))
    given = ['ddf-seg init', str(folder), '--jobs', '1', '--classes', *CLASSES]
    monkeypatch.setattr(sys, 'argv', given)
    assert init.main() == 0
    command = capsys.readouterr().out.splitlines()[-1].removeprefix('to train:')
    assert shlex.split(command) == ['ddf-seg', 'train', str(folder / 'ddf_seg' / 'config.py')]


def test_a_config_passes_the_check_and_trains(plain: Path) -> None:
    register_all_modules()
    init_default_scope('mmseg')
    cfg = Config.fromfile(begin(plain, classes=CLASSES).config)
    assert cfg.load_from is None
    findings = check_all(cfg, 1).findings
    assert not [finding for finding in findings if finding.severity is Severity.ERROR]
    cfg.model.backbone.pop('init_cfg')
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    batch = [dataset[i] for i in range(2)]
    assert batch[0]['inputs'].shape[1:] == cfg.crop_size
    before = [parameter.detach().clone() for parameter in model.parameters()]
    losses = model.train_step(pseudo_collate(batch), wrapper)
    assert np.isfinite(losses['loss'].item())
    assert any((old != new).any() for old, new in zip(before, model.parameters(), strict=True))
    model.eval()
    sample = DATASETS.build(cfg.val_dataloader.dataset)[0]
    (result,) = model.test_step(pseudo_collate([sample]))
    assert result.pred_sem_seg.data.shape[1:] == SIZE


def test_the_template_of_the_docs_works(
    tmp_path: Path, scenes: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    page = (ROOT / 'docs/your-data.md').read_text()
    (template,) = re.findall(r'```python\n(_base_ = .*?)```', page, re.S)
    assert template.count("'data/mine'") == 1
    for number, (image, ids) in enumerate(scenes):
        split = 'train' if number < 4 else 'val'
        save(tmp_path / f'images/{split}/{number}.jpg', image)
        save(tmp_path / f'labels/{split}/{number}.png', ids % 3)
    config = tmp_path / 'config.py'
    config.write_text(template.replace('data/mine', str(tmp_path)))
    init_default_scope('mmseg')
    cfg = Config.fromfile(config)
    assert [f for f in check_all(cfg, 1).findings if f.severity is Severity.ERROR] == []
    (sample,) = pseudo_collate([DATASETS.build(cfg.train_dataloader.dataset)[0]])['inputs']
    assert sample.shape[1:] == cfg.crop_size
    assert MODELS.build({**cfg.model, 'backbone': {**cfg.model.backbone, 'init_cfg': None}})


@pytest.mark.parametrize('name', ["Bob's", '"mine"', """a 'b' "c" {{ d }} %s""", '#'])
def test_folders_may_have_quotes_in_their_names(plain: Path, name: str) -> None:
    root = plain.rename(plain.with_name(name))
    done = begin(root)
    cfg = Config.fromfile(done.config)
    assert Path(cfg.work_dir) == root / 'ddf_seg' / 'work_dir'
    assert Path(cfg.data_root).samefile(root)
    # The copy that a training leaves in its work dir
    copy = Config.fromstring(cfg.pretty_text, '.py')
    assert copy.work_dir == cfg.work_dir
    found = {**labels_of(done.config, 'train'), **labels_of(done.config, 'val')}
    assert sorted(found) == list(range(NUMBER))
    # A config that stands outside the folder names it by its whole path.
    outside = start(Options(root, root.with_name(f'{name} config')))
    assert Config.fromfile(outside.config).data_root == str(root)


def test_runs_of_two_folders_are_kept_apart(plain: Path, tmp_path: Path) -> None:
    other = tmp_path / 'other' / plain.name
    shutil.copytree(plain, other)
    folders = [Path(Config.fromfile(begin(root).config).work_dir) for root in (plain, other)]
    assert folders == [root / 'ddf_seg' / 'work_dir' for root in (plain, other)]


def test_numbers_fit_the_data(plain: Path) -> None:
    done = begin(plain, longest=64, load_from='ddf_seg::ddf_camvid.pth')
    # 128×96 becomes 64×48; 64 is the least that a crop has.
    assert done.recipe.scale == (64, 48)
    assert done.recipe.crop == (64, 64)
    cfg = Config.fromfile(done.config)
    assert cfg.val_dataloader.dataset.pipeline[1] == dict(
        type='Resize', scale=(64, 48), keep_ratio=True
    )
    assert cfg.train_cfg.max_iters == 300
    assert cfg.load_from == 'ddf_seg::ddf_camvid.pth'
    assert cfg.param_scheduler[-1].end == 300
    # Roads have hundreds of times the pixels of poles.
    weights = dict(zip(done.classes.names, done.recipe.class_weight or (), strict=True))
    assert weights['class_0'] < weights['class_5']
    assert cfg.model.decode_head.loss_decode.class_weight == done.recipe.class_weight


def test_masks_of_0_and_255_are_two_classes(
    tmp_path: Path, scenes: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    for number, (image, ids) in enumerate(scenes):
        save(tmp_path / f'images/{number}.png', image)
        save(tmp_path / f'masks/{number}.png', np.uint8(255) * (ids == 0))
    done = begin(tmp_path, classes=['other', 'road'])
    assert done.classes.names == ['other', 'road']
    assert done.recipe.class_weight is None
    for number, label in labels_of(done.config, 'train').items():
        np.testing.assert_array_equal(label, scenes[number][1] == 0)


def test_it_asks_for_names_where_somebody_is_there(plain: Path) -> None:
    # Ignored, a name that is taken and another one, the default, and no more answers
    answers = ['class_3\n', '-\n', 'class_3\n', 'roof\n', '\n']
    asked = []

    def ask(question: str) -> str | None:
        asked.append(question)
        return answers[len(asked) - 1] if len(asked) <= len(answers) else None

    done = begin(plain, ask=ask)
    assert done.classes.names[:4] == ['class_3', 'roof', 'class_3_', 'class_4']
    assert asked[0].startswith('id 0, ')
    assert len(asked) == 6
    assert done.classes.indices[1] == 255
    assert done.classes.indices[2] == 1


def test_nothing_is_overwritten(plain: Path) -> None:
    begin(plain)
    with pytest.raises(UsageError, match='exists, and nothing is overwritten'):
        begin(plain)
    # What it wrote is no part of the dataset.
    again = start(Options(plain, plain / 'again'))
    assert len(labels_of(again.config, 'train')) + len(labels_of(again.config, 'val')) == NUMBER


def test_nothing_is_left_behind_where_it_fails(plain: Path, monkeypatch: Any) -> None:
    def fail(*_: Any) -> None:
        raise OSError('disk full')

    monkeypatch.setattr('ddf_seg.engine.starting.starting.write_list', fail)
    with pytest.raises(UsageError, match='disk full'):
        begin(plain)
    assert sorted(path.name for path in plain.iterdir()) == ['images', 'masks']


def test_ids_with_gaps_and_pictures_in_two_formats(
    tmp_path: Path, scenes: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    for number, (image, ids) in enumerate(scenes):
        save(tmp_path / f'images/{number}.{"png" if number % 2 else "jpg"}', image)
        save(tmp_path / f'masks/{number}.png', np.where(ids == 0, np.uint8(7), np.uint8(26)))
    done = begin(tmp_path)
    assert done.classes.names == ['class_7', 'class_26']
    found = {**labels_of(done.config, 'train'), **labels_of(done.config, 'val')}
    assert sorted(found) == list(range(NUMBER))
    for number, label in found.items():
        np.testing.assert_array_equal(label, scenes[number][1] != 0)


def test_a_test_set_stays_apart(plain: Path) -> None:
    for kind in ('images', 'masks'):
        for file in sorted((plain / kind).iterdir()):
            folder = file.parent / ('test' if file.stem in '45' else 'train')
            folder.mkdir(exist_ok=True)
            file.rename(folder / file.name)
    (plain / 'masks/test/5.png').unlink()
    done = begin(plain)
    assert {split: len(pairs) for split, pairs in done.splits.items()} == {
        'train': 3, 'val': 1, 'test': 1,
    }  # fmt: skip
    assert sorted(labels_of(done.config, 'test')) == [4]


@pytest.mark.parametrize('with_test', [False, True])
def test_what_validates_does_not_train(
    plain: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    with_test: bool,
) -> None:
    """Pictures in the folder itself, and those of val/ below it."""
    folders = {'1': 'val', '4': 'val', '2': 'test' if with_test else ''}
    for kind in ('images', 'masks'):
        for file in sorted((plain / kind).iterdir()):
            folder = file.parent / folders.get(file.stem, '')
            folder.mkdir(exist_ok=True)
            file.rename(folder / file.name)
    monkeypatch.setattr(sys, 'argv', ['ddf-seg init', str(plain), '--jobs', '1'])
    assert init.main() == 0
    (said,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith('pictures: ')]
    numbers = '3 train, 2 val, 1 test' if with_test else '4 train, 2 val'
    assert said == f"pictures:    {numbers} (val is the folder's own, the others train)"
    config = plain / 'ddf_seg/config.py'
    assert sorted(labels_of(config, 'val')) == [1, 4]
    assert sorted(labels_of(config, 'train')) == ([0, 3, 5] if with_test else [0, 2, 3, 5])
    if with_test:
        assert sorted(labels_of(config, 'test')) == [2]


@pytest.mark.parametrize('linked', ['images', 'a picture', 'masks', 'all'])
def test_links_in_the_folder_may_lead_out_of_it(
    plain: Path, scenes: Any, tmp_path_factory: Any, linked: str
) -> None:
    root, elsewhere = plain, tmp_path_factory.mktemp('elsewhere')
    if linked == 'all':
        root = elsewhere / 'link'
        root.symlink_to(plain)
    else:
        path = plain / ('images/1.jpg' if linked == 'a picture' else linked)
        path.rename(elsewhere / 'another name')
        path.symlink_to(elsewhere / 'another name')
    done = begin(root, classes=CLASSES)
    found = {**labels_of(done.config, 'train'), **labels_of(done.config, 'val')}
    assert sorted(found) == list(range(NUMBER))
    for number, label in found.items():
        np.testing.assert_array_equal(label, scenes[number][1])
    errors = [
        f
        for f in check_all(Config.fromfile(done.config), 1).findings
        if f.severity is Severity.ERROR
    ]
    assert errors == []


@pytest.mark.parametrize('relative', [False, True])
def test_options_name_linked_folders(
    plain: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    for name in ('images', 'masks'):
        (plain / name).rename(elsewhere / name)
        (plain / f'my {name}').symlink_to(elsewhere / name)
    monkeypatch.chdir(plain.parent)
    root = Path(plain.name) if relative else plain
    given = [root, '--images', root / 'my images', '--masks', root / '..' / plain.name / 'my masks']
    monkeypatch.setattr(sys, 'argv', ['ddf-seg init', *map(str, given), '--jobs', '1'])
    assert init.main() == 0
    assert Config.fromfile(plain / 'ddf_seg/config.py').dataset.data_prefix == dict(
        img_path='my images', seg_map_path='ddf_seg/ids'
    )


def test_a_moved_folder_still_works(plain: Path, tmp_path_factory: Any) -> None:
    begin(plain)
    moved = tmp_path_factory.mktemp('elsewhere') / 'pictures'
    plain.rename(moved)
    assert labels_of(moved / 'ddf_seg/config.py', 'train')
