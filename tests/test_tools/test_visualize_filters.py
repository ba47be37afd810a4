from __future__ import annotations

import importlib.util
import re
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
from tool_runs import TOOLS

from ddf_seg.engine.tools import show_usage_errors

spec = importlib.util.spec_from_file_location('visualize_filters', TOOLS / 'visualize_filters.py')
assert spec is not None
assert spec.loader is not None
tool: Any = importlib.util.module_from_spec(spec)
sys.modules['visualize_filters'] = tool
spec.loader.exec_module(tool)

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
        code = show_usage_errors(tool.main)
        return code, capsys.readouterr().err

    return run


def write_image(path: Path, height: int = 45, width: int = 61) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), image)
    return path


def test_a_folder_with_a_page_of_each_image(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path / 'in' / 'a.png')
    write_image(tmp_path / 'in' / 'b.jpg', 33, 90)
    (tmp_path / 'in' / 'broken.png').write_text('no image')
    code, error = run(tmp_path / 'in', '--points', '3,4', '--html', '--shared-colours')
    assert code == 1
    assert '1 of 3 images could not be read' in error
    for name in ('a', 'b'):
        folder = tmp_path / 'out' / name
        found = {str(file.relative_to(folder)) for file in folder.rglob('*.p*')}
        layer = 'decode_head.refinements.0.ddf'
        expected = [f'{layer}/{kind}' for kind in ('points', 'maps', 'classes')]
        expected.append('overview')
        assert found == {f'{n}.{suffix}' for n in expected for suffix in ('png', 'pdf')}
        page = (folder / 'explorer.html').read_text()
        assert f'Filters of before.pth on {name}.' in page
        assert '"truth":null' in page


def test_the_datasets_own_image_has_its_ground_truth(
    tmp_path: Path, roads: Path, network: Path, run: Run
) -> None:
    scene = roads / 'roads/leftImg8bit/val/town/town_0_leftImg8bit.png'
    code, error = run(scene, '--html', '--points', '1,1', '--compare', network / 'after.pth')
    assert code == 0, error
    page = (tmp_path / 'out' / scene.stem / 'explorer.html').read_text()
    assert '"truth":{' in page
    assert 'before.pth and after.pth' in page
    layer = tmp_path / 'out' / scene.stem / 'decode_head.refinements.0.ddf'
    assert (layer / 'classes-B.png').exists()


def test_a_cascade(tmp_path: Path, network: Path, run: Run) -> None:
    """Its decode_head is a list; the last one says what the classes are."""
    config = tmp_path / 'cascade.py'
    config.write_text((network / 'ddf.py').read_text() + CASCADE)
    torch.save({'state_dict': init_model(str(config), device='cpu').state_dict()}, tmp_path / 'c')
    image = write_image(tmp_path / 'street.png')
    code, error = run(image, config=config, checkpoint=tmp_path / 'c')
    assert code == 0, error
    assert (tmp_path / 'out' / 'street' / 'decode_head.1.ddf_refinement.ddf').is_dir()


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
    label = write_image(tmp_path / 'label.png', 9, 9)
    plain = dict(config=roads / 'config.py', checkpoint=trained / 'iter_4.pth')
    cases = [
        (run(tmp_path / 'no.png'), r'no\.png does not exist'),
        (run(image, '--layer', 'decode_head.refinement'), r"'decode_head.refinement' makes no DDF"),
        (run(image, '--layer', 'x'), r'those that do: decode_head\.refinements\.0\.ddf'),
        (run(image, '--points', '61,0'), r'--points 61,0 lies outside the image of 61×45 pixels'),
        (run(image, '--points', '1,-1'), r'--points 1,-1 lies outside'),
        (run(image, '--channels', 4), r'--channels 4: decode_head.* has the channels 0 to 3'),
        (run(image, checkpoint=trained / 'iter_4.pth'), r'is of another model than the config'),
        (run(image, '--compare', 'no.pth'), r'no\.pth does not exist'),
        (run(image, '--device', 'cuda:77'), '--device cuda:77 is not available'),
        (run(image, '--ground-truth', label, label), 'a file for each of 1 images, got 2'),
        (run(image, '--ground-truth', tmp_path / 'no.png'), r'no\.png does not exist'),
        (run(image, '--ground-truth', label), r'ground truth has 9×9 pixels, expected 61×45'),
        (run(image, **plain), 'EncoderDecoder has no DDF layer'),
    ]
    for (code, error), expected in cases:
        assert code == 1, expected
        message = error.partition('error: ')[2]
        assert re.search(expected, message), error
        assert 'Traceback' not in message
    for wrong in (['--points', '3'], ['--max-size', '0']):
        with pytest.raises(SystemExit):
            run(image, *wrong)
