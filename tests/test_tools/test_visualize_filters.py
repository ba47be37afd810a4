from __future__ import annotations

import errno
import functools
import itertools
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import init_model
from PIL import Image

from ddf_seg.cli import visualize
from ddf_seg.command_line import show_usage_errors
from ddf_seg.visualization import visualizing

Run = Callable[..., tuple[int, str]]
HEAD = """
model['decode_head'] = dict(
    type='DDFHead', in_channels=8, in_index=0, channels=4, num_classes=19,
    norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'))
"""

# OCR in two stages, the second refined by DDF.
CASCADE = """
stage = dict(
    in_channels=8, in_index=0, channels=4, num_classes=19, norm_cfg=dict(type='BN'),
    loss_decode=dict(type='CrossEntropyLoss'))
model.update(type='CascadeEncoderDecoder', num_stages=2, decode_head=[
    dict(stage, type='FCNHead'),
    dict(stage, type='DDFGuidedHead', head='OCRHead', ocr_channels=4)])
"""


@pytest.fixture(scope='module')
def network(roads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ddf.py, a config with a DDF head, and two checkpoints of it, untrained."""
    folder = tmp_path_factory.mktemp('network')
    (folder / 'ddf.py').write_text((roads / 'config.py').read_text() + HEAD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('DDF_DATA_ROOT', str(roads))
        cfg = Config.fromfile(folder / 'ddf.py')
        for seed, name in enumerate(('before', 'after')):
            torch.manual_seed(seed)
            model = init_model(cfg, device='cpu')
            torch.save({'state_dict': model.state_dict()}, folder / f'{name}.pth')
    return folder


@pytest.fixture
def run(
    network: Path,
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    def run(*arguments: object, config: object = '', checkpoint: object = '') -> tuple[int, str]:
        files = [config or network / 'ddf.py', checkpoint or network / 'before.pth']
        options = ['--out-dir', tmp_path / 'out', '--device', 'cpu']
        monkeypatch.setattr(sys, 'argv', ['tool', *map(str, [*options, *files, *arguments])])
        capsys.readouterr()
        code = show_usage_errors(visualize.main)
        return code, capsys.readouterr().err

    return run


def write_image(path: Path, height: int = 45, width: int = 61) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def overview_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the pictures of the layers, which take their time."""
    monkeypatch.setattr(visualizing, 'layer_pictures', lambda *_: iter(()))


@pytest.fixture
def classes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind of picture of each layer."""
    some = functools.partial(visualizing.layer_pictures, names=['classes'])
    monkeypatch.setattr(visualizing, 'layer_pictures', some)


def test_a_folder_with_a_page_of_each_image(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path / 'in' / 'a.png')
    write_image(tmp_path / 'in' / 'b.jpg', 33, 90)
    (tmp_path / 'in' / 'broken.png').write_text('no image')
    code, error = run(tmp_path / 'in', '--points', '3,4', '--html', '--shared-colours')
    assert code == 1
    assert '1 of 3 inputs could not be shown' in error
    for name in ('a', 'b'):
        folder = tmp_path / 'out' / name
        found = {str(file.relative_to(folder)) for file in folder.rglob('*.p*')}
        layer = 'decode_head.refinements.0.depthwise'
        expected = [f'{layer}/{kind}' for kind in ('points', 'maps', 'classes', 'channels')]
        expected.append('overview')
        assert found == {f'{n}.{suffix}' for n in expected for suffix in ('png', 'pdf')}
        page = (folder / 'explorer.html').read_text()
        assert f'Filters of before.pth on {name}.' in page
        assert '"truth":null' in page


@pytest.mark.usefixtures('classes_alone')
def test_the_datasets_own_image_has_its_ground_truth(
    tmp_path: Path, roads: Path, network: Path, run: Run
) -> None:
    scene = roads / 'roads/leftImg8bit/val/town/town_0_leftImg8bit.png'
    code, error = run(scene, '--html', '--points', '1,1', '--compare', network / 'after.pth')
    assert code == 0, error
    page = (tmp_path / 'out' / scene.stem / 'explorer.html').read_text()
    assert '"truth":{' in page
    assert 'before.pth and after.pth' in page
    layer = tmp_path / 'out' / scene.stem / 'decode_head.refinements.0.depthwise'
    assert (layer / 'classes-B.png').exists()


@pytest.mark.usefixtures('overview_alone')
def test_one_page_of_all_images(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path / 'in' / 'first.png')
    write_image(tmp_path / 'in' / 'second.png', 33, 90)
    code, error = run(tmp_path / 'in', '--one-page')
    assert code == 0, error
    pages = list((tmp_path / 'out').rglob('*.html'))
    assert pages == [tmp_path / 'out' / 'explorer.html']
    page = pages[0].read_text()
    assert 'Filters of before.pth on 2 images' in page
    for name, size in {'first.png': [45, 61], 'second.png': [33, 90]}.items():
        assert f'"name":"{name}","size":[{size[0]},{size[1]}]' in page


@pytest.mark.usefixtures('overview_alone')
@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (OSError(errno.ENOSPC, 'No space left on device'), '--out-dir: No space left on device'),
        (PermissionError(errno.EACCES, 'Permission denied'), '--out-dir: Permission denied'),
        (MemoryError('8 GB'), 'too large for the memory (MemoryError: 8 GB)'),
    ],
)
def test_a_page_of_all_images_that_cannot_be_written(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: Any) -> None:
        raise error

    write_image(tmp_path / 'in' / 'first.png')
    (tmp_path / 'in' / 'broken.png').write_text('no image')
    monkeypatch.setattr(visualizing, 'write_page', fail)
    code, said = run(tmp_path / 'in', '--one-page')
    assert code == 1
    out = tmp_path / 'out'
    _, _, message = said.partition('error: ')
    assert message.startswith(
        f'{reason}, {out}/explorer.html is not written; 1 of 2 inputs shown, see {out}\n'
        f'failed before:\n  {tmp_path}/in/broken.png: '
    )
    assert (out / 'first' / 'overview.png').exists()


@pytest.mark.usefixtures('overview_alone')
@pytest.mark.parametrize('name', ['...png', '..png', '.png'])
def test_an_image_of_dots_stays_in_its_folder(tmp_path: Path, run: Run, name: str) -> None:
    write_image(tmp_path / 'street.png').rename(tmp_path / name)
    code, error = run(tmp_path / name, '--html')
    assert code == 0, error
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob('*') if file.is_file()}
    results = {f'out/{name}/{result}' for result in ('overview.png', 'overview.pdf')}
    assert files == {name, f'out/{name}/explorer.html', *results}


@pytest.mark.usefixtures('overview_alone')
def test_results_are_no_inputs_and_images_are_as_trained(tmp_path: Path, run: Run) -> None:
    scene = write_image(tmp_path / 'in' / 'scene.png')
    image = Image.open(scene)
    exif = image.getexif()
    exif[0x112] = 6
    image.save(tmp_path / 'in' / 'turned.png', exif=exif)
    out = tmp_path / 'in' / 'out'
    for _ in range(2):
        code, error = run(tmp_path / 'in', '--out-dir', out, '--html')
        assert code == 0, error
        assert {folder.name for folder in out.iterdir()} == {'scene', 'turned'}
    assert f'note: {out}/scene and 1 more left out: results of an earlier run' in error
    assert '"size":[45,61]' in (out / 'scene' / 'explorer.html').read_text()
    assert '"size":[61,45]' in (out / 'turned' / 'explorer.html').read_text()


@pytest.mark.usefixtures('overview_alone')
def test_ctrl_c_keeps_what_is_finished(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('a.png', 'b.png', 'c.png'):
        write_image(tmp_path / 'in' / name)
    draw, calls = visualizing.draw_overview, itertools.count(1)

    def draw_overview(*arguments: Any, **options: Any) -> Any:
        if next(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return draw(*arguments, **options)

    monkeypatch.setattr(visualizing, 'draw_overview', draw_overview)
    code, error = run(tmp_path / 'in')
    assert code == 130
    assert error.endswith(f'interrupted, 1 of 3 inputs done, see {tmp_path / "out"}\n')
    files = {str(file.relative_to(tmp_path / 'out')) for file in (tmp_path / 'out').rglob('*.*')}
    assert files == {'a/overview.png', 'a/overview.pdf'}


@pytest.mark.usefixtures('overview_alone')
def test_one_image_that_fails_does_not_end_the_run(tmp_path: Path, network: Path, run: Run) -> None:
    config = tmp_path / 'sized.py'
    config.write_text(
        f"_base_ = '{network / 'ddf.py'}'\ntrain_dataloader = dict(dataset=dict(pipeline=["
        "dict(type='Resize', scale=(60, 45), keep_ratio=True)]))\n"
    )
    write_image(tmp_path / 'in' / 'a_small.png')
    write_image(tmp_path / 'in' / 'large.png', 180, 244)
    label = tmp_path / 'label.png'
    label.write_text('no image')
    small = tmp_path / 'small_label.png'
    assert cv2.imwrite(str(small), np.zeros((45, 61), np.uint8))
    points = ['--points', '1,1', '--points', '70,2']
    code, error = run(
        tmp_path / 'in', *points, '--ground-truth', small, '--ground-truth', label, config=config
    )
    assert code == 1
    assert 'a_small.png: --points 70,2 lies outside the image of 61×45 pixels' in error
    assert f'large.png: its ground truth {label} cannot be read' in error
    code, error = run(tmp_path / 'in', *points, config=config)
    assert code == 1
    assert '1 of 2 inputs could not be shown' in error
    assert (tmp_path / 'out' / 'large' / 'overview.png').exists()
    assert error.count('warning: ') == 1
    assert 'large.png reaches the network with 244×180 pixels' in error
    assert 'had 60×45 pixels. What comes out may be worthless: try --max-size 60' in error


def test_repeated_options_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ['--points', '1,2', '3,4', '--points', '5,6', '--channels', '0', '--channels', '1']
    given += ['--layer', 'a', '--layer', 'b', '--ground-truth', 'x', '--ground-truth', 'y']
    monkeypatch.setattr(sys, 'argv', ['tool', 'config', 'checkpoint', 'image', *given])
    args = visualize.parse_args()
    assert args.points == [(1, 2), (3, 4), (5, 6)]
    assert args.channels == [0, 1]
    assert args.layer == ['a', 'b']
    assert args.ground_truth == [Path('x'), Path('y')]


@pytest.mark.usefixtures('classes_alone')
def test_a_cascade(tmp_path: Path, network: Path, run: Run) -> None:
    """Its decode_head is a list; the last one says what the classes are."""
    config = tmp_path / 'cascade.py'
    config.write_text((network / 'ddf.py').read_text() + CASCADE)
    torch.save({'state_dict': init_model(str(config), device='cpu').state_dict()}, tmp_path / 'c')
    image = write_image(tmp_path / 'street.png')
    code, error = run(image, config=config, checkpoint=tmp_path / 'c')
    assert code == 0, error
    assert (tmp_path / 'out' / 'street' / 'decode_head.1.ddf_refinement').is_dir()


@pytest.mark.usefixtures('overview_alone')
def test_large_images_are_shrunk_and_points_with_them(tmp_path: Path, run: Run) -> None:
    image = write_image(tmp_path / 'large.png', 90, 120)
    label = np.zeros((90, 120), np.uint8)
    assert cv2.imwrite(str(tmp_path / 'label.png'), label)
    code, error = run(
        image, '--max-size', 60, '--points', '119,89', '--html',
        '--ground-truth', tmp_path / 'label.png',
    )  # fmt: skip
    assert code == 0, error
    page = (tmp_path / 'out' / 'large' / 'explorer.html').read_text()
    assert '"size":[45,60]' in page
    assert '"truth":{' in page


def test_mistakes_end_with_one_message(
    tmp_path: Path, roads: Path, trained: Path, network: Path, run: Run
) -> None:
    image = write_image(tmp_path / 'street.png')
    colours = write_image(tmp_path / 'colours.png')
    label = tmp_path / 'label.png'
    assert cv2.imwrite(str(label), np.zeros((9, 9), np.uint8))
    plain = dict(config=roads / 'config.py', checkpoint=trained / 'iter_4.pth')
    cases = [
        (run(tmp_path / 'no.png'), r'no\.png does not exist'),
        (run(image, '--layer', 'decode_head.refinement'), r"'decode_head.refinement' makes no DDF"),
        (run(image, '--layer', 'x'), r'those that do: decode_head\.refinements\.0\.depthwise'),
        (run(image, '--points', '61,0'), r'--points 61,0 lies outside the image of 61×45 pixels'),
        (run(image, '--points', '1,-1'), r'--points 1,-1 lies outside'),
        (run(image, '--channels', 4), r'--channels 4: decode_head.* has the channels 0 to 3'),
        (run(image, checkpoint=trained / 'iter_4.pth'), r'is of another model than the config'),
        (run(image, '--compare', 'no.pth'), r'no\.pth does not exist'),
        (run(image, '--device', 'cuda:77'), '--device cuda:77 is not available'),
        (run(image, '--ground-truth', label, label), 'a file for each of 1 images, got 2'),
        (run(image, '--ground-truth', tmp_path / 'no.png'), r'no\.png does not exist'),
        (run(image, '--ground-truth', label), r'ground truth has 9×9 pixels, expected 61×45'),
        (
            run(image, '--ground-truth', colours),
            r'colours\.png: expected a label of height × width class ids',
        ),
        (run(image, **plain), 'EncoderDecoder has no DDF layer'),
        (
            run(image, '--out-dir', image),
            r'--out-dir: expected a folder, but .*street\.png is a file',
        ),
    ]
    for (code, error), expected in cases:
        assert code == 1, expected
        message = error.partition('error: ')[2]
        assert re.search(expected, message), error
        assert 'Traceback' not in message
    for wrong in (['--points', '3'], ['--max-size', '0']):
        with pytest.raises(SystemExit):
            run(image, *wrong)
