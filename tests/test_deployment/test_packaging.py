"""A network compiled by AOTInductor: in Python, and in the C++ program of examples/."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from exported import run_without
from scripts import ROOT
from torch import Tensor, nn
from torch._inductor import config
from toy import NORMALISED, Toy

import ddf_seg
from ddf_seg.decoders.upsampling import GuidedUpsample
from ddf_seg.deployment.exporting import METADATA, check_target, export_program, write_program
from ddf_seg.deployment.network import ImageSegmentor, Metadata
from ddf_seg.engine.predicting.programs import ProgramSegmenter
from ddf_seg.errors import UsageError
from ddf_seg.layers import DDFPack
from ddf_seg.ops import is_native_available

ABOUT = Metadata(['a', 'b', 'c', 'd'], [[0, 0, 0]] * 4, 1, 'small')
LIBRARY = Path(ddf_seg.__file__).with_name('_C_cpu.abi3.so')
needs_compiler = pytest.mark.skipif(
    shutil.which('g++') is None or not is_native_available(),
    reason='needs g++ and the compiled operators',
)


class Small(Toy):
    """Four classes by a DDF and a guided DDF-Up, whose affinity has no compiled kernel."""

    def __init__(self) -> None:
        super().__init__(bgr_to_rgb=True, **NORMALISED)
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.ddf = DDFPack(6)
        self.up = GuidedUpsample(6, 6, 2, dict(mode='bilinear'), guide_channels=3)
        self.classify = nn.Conv2d(6, 4, 1)

    def encode_decode(self, x: Tensor, metas: list[dict[str, Any]]) -> Tensor:
        scores: Tensor = self.classify(self.up(self.ddf(self.down(x)), x))
        return scores


@dataclass
class Package:
    """A package, an image for it, and the class ids that PyTorch gives."""

    file: Path
    image: np.ndarray
    ids: np.ndarray


@pytest.fixture(scope='module')
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    torch.manual_seed(0)
    model = Small().eval()
    for parameter in model.up.parameters():
        nn.init.normal_(parameter, std=0.3)
    image = torch.randint(0, 256, (1, 33, 40, 3), dtype=torch.uint8)
    file = tmp_path_factory.mktemp('package') / 'network.pt2'
    # What calls the kernels is short, and g++ takes half as long without optimising it.
    with config.patch({'aot_inductor.compile_wrapper_opt_level': 'O0'}):
        write_program(export_program(model, (33, 40)), 'aoti', file, ABOUT)
    with torch.no_grad():
        ids = ImageSegmentor(model)(image)[0].numpy()
    assert np.unique(ids).size == 4
    return Package(file, image[0].numpy(), ids)


@needs_compiler
def test_python_runs_it_without_openmmlab(package: Package, tmp_path: Path) -> None:
    np.save(tmp_path / 'image.npy', package.image)
    code = (
        'import json, numpy as np, torch, ddf_seg.ops\n'
        f'network = torch._inductor.aoti_load_package({str(package.file)!r})\n'
        "ids = network(torch.from_numpy(np.load('image.npy'))[None])\n"
        "np.save('ids.npy', ids.numpy()[0])\n"
        f"assert json.loads(network.get_metadata()[{METADATA!r}])['config'] == 'small'\n"
    )
    run_without(['mmengine', 'mmseg', 'cv2'], code, tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / 'ids.npy'), package.ids)


@needs_compiler
def test_predict_names_the_form_that_it_takes(package: Package) -> None:
    with pytest.raises(UsageError, match=r'network\.pt2: a package of --format aoti, .* pt2$'):
        ProgramSegmenter(package.file)


@pytest.fixture(scope='module')
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ program, built as docs/deployment.md says."""
    if shutil.which('cmake') is None:
        pytest.skip('needs cmake')
    build = tmp_path_factory.mktemp('build')
    prefix = f'-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}'
    for command in (
        ['cmake', '-S', str(ROOT / 'examples/cpp'), '-B', str(build), prefix],
        ['cmake', '--build', str(build)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / 'segment'


def run_program(program: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    # No Python, and none of its modules
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, env={}, capture_output=True, text=True, check=False)


@needs_compiler
def test_a_program_in_cpp_gives_the_same_ids(
    package: Package, program: Path, tmp_path: Path
) -> None:
    photo, ids = tmp_path / 'photo.ppm', tmp_path / 'ids.pgm'
    cv2.imwrite(str(photo), package.image)
    done = run_program(program, package.file, LIBRARY, photo, ids)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(cv2.imread(str(ids), cv2.IMREAD_UNCHANGED), package.ids)


@needs_compiler
def test_a_program_in_cpp_says_what_is_wrong(
    package: Package, program: Path, tmp_path: Path
) -> None:
    photo, turned, cut = (tmp_path / f'{name}.ppm' for name in ('photo', 'turned', 'cut'))
    cv2.imwrite(str(photo), package.image)
    cv2.imwrite(str(turned), package.image.transpose(1, 0, 2))
    cut.write_bytes(photo.read_bytes()[:-1])
    ids = tmp_path / 'ids.pgm'
    for arguments, message in (
        ((package.file, LIBRARY, turned), 'expected: 33, but got: 40'),
        ((package.file, LIBRARY, cut), 'the file ends too early'),
        ((package.file, LIBRARY, package.file), r'expected a binary PPM'),
        ((package.file, tmp_path / 'none.so', photo), 'none.so: cannot open'),
        ((photo, LIBRARY, photo), 'zip archive'),
    ):
        done = run_program(program, *arguments, ids)
        assert done.returncode == 1
        assert message in done.stderr
        assert 'frame #' not in done.stderr
    assert not ids.exists()


def test_without_a_compiler_it_says_so(tmp_path: Path) -> None:
    # pytest's monkeypatch would delete the setting of the config, which is a class.
    with (
        config.patch({'cpp.cxx': ('no-such-compiler',)}),
        pytest.raises(
            UsageError, match=r'^--format aoti: .*install g\+\+.*--format pt2 needs none'
        ),
    ):
        check_target(tmp_path / 'a.pt2', 'aoti')
