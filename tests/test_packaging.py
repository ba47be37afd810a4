"""What an installation from source or from a wheel holds, and what it can do in an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from processes import run_loaded
from scripts import ROOT

BUILD = 'import setuptools.build_meta as build; print(build.build_{kind}({folder!r}))'
NOT_COPIED = shutil.ignore_patterns('__pycache__', '*.so')


class Built(NamedTuple):
    """What was built, from the sources alone.

    Attributes:
        sdist: unpacked.
        wheel: unpacked, as pip would install it.
        said: what setuptools said meanwhile.
    """

    sdist: Path
    wheel: Path
    said: str


def run(folder: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, 'DDF_SEG_BUILD_NATIVE': '0', 'OMP_NUM_THREADS': '1', **more}
    environment.pop('DDF_DATA_ROOT', None)
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope='module')
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A source distribution, and from that alone a wheel without compiled operators."""
    folder = tmp_path_factory.mktemp('packaging')
    checkout, out = folder / 'checkout', folder / 'out'
    checkout.mkdir()
    out.mkdir()
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, checkout)
    for name in ('ddf_seg', 'road_scenes', 'ops', 'configs', 'tools', 'checkpoints', 'tests'):
        shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=NOT_COPIED)
    done = run(checkout, '-c', BUILD.format(kind='sdist', folder=str(out)))
    with tarfile.open(out / done.stdout.splitlines()[-1]) as archive:
        archive.extractall(folder, filter='data')
    (sdist,) = folder.glob('ddf_seg-*')
    made = run(sdist, '-c', BUILD.format(kind='wheel', folder=str(out)))
    with zipfile.ZipFile(out / made.stdout.splitlines()[-1]) as archive:
        archive.extractall(folder / 'site')
    return Built(sdist, folder / 'site', done.stdout + done.stderr + made.stdout + made.stderr)


def files_below(folder: Path, *patterns: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for pattern in patterns
        for path in folder.glob(pattern)
        if path.is_file()
    }


def test_configs_tools_and_weights_are_in_it(built: Built) -> None:
    inside = built.wheel / 'ddf_seg/.mim'
    expected = files_below(ROOT, 'configs/**/*.[py]*', 'tools/**/*.py', 'tools/*.sh')
    expected = {name: text for name, text in expected.items() if '__pycache__' not in name}
    expected |= files_below(ROOT, 'checkpoints/*.pth', 'model-index.yml')
    assert len(expected) > 70
    assert files_below(inside, '**/*') == expected
    assert not any(path.is_symlink() for path in inside.rglob('*'))


def test_it_holds_the_packages_whole_and_nothing_else(built: Built) -> None:
    for name in ('ddf_seg', 'road_scenes'):
        patterns = [f'{name}/**/*.{ending}' for ending in ('py', 'csv', 'html', 'css', 'js')]
        expected = files_below(ROOT, *patterns)
        expected = {k: text for k, text in expected.items() if '/.mim/' not in k}
        found = files_below(built.wheel, *patterns)
        assert {k: text for k, text in found.items() if '/.mim/' not in k} == expected
    (info,) = built.wheel.glob('*.dist-info')
    assert {path.name for path in built.wheel.iterdir()} == {'ddf_seg', 'road_scenes', info.name}


def test_the_operators_sources_are_in_the_sdist(built: Built) -> None:
    patterns = [f'ops/**/*.{ending}' for ending in ('h', 'cuh', 'cpp', 'cu')]
    assert files_below(built.sdist, *patterns) == files_below(ROOT, *patterns)


def test_setuptools_has_nothing_to_complain_of(built: Built) -> None:
    # That Python is told to write no bytecode is the environment's affair.
    lines = [line for line in built.said.splitlines() if 'byte-compiling' not in line]
    assert [line for line in lines if 'warn' in line.lower() or 'deprecat' in line.lower()] == []


def test_it_stands_alone_in_an_empty_folder(built: Built, tmp_path: Path) -> None:
    """The trained network segments the scenes that the package draws."""
    done = run_loaded(
        f"""
        import os
        from pathlib import Path
        os.chdir({str(tmp_path)!r})
        os.environ.pop('DDF_DATA_ROOT', None)
        from ddf_seg.cli import main, predict
        # Plain torch takes its time.
        predict.DEMO_SCENES, predict.DEMO_SIZE = 2, (180, 240)
        sys.argv = ['ddf-seg', 'predict', '--demo', '--device', 'cpu']
        assert main() == 0
        site = Path(sys.path[0]).resolve()
        packages = ('ddf_seg', 'road_scenes')
        ours = [m for n, m in sys.modules.items() if n.partition('.')[0] in packages]
        assert len(ours) > 50
        assert all(Path(module.__file__).resolve().is_relative_to(site) for module in ours), site
        """,
        built.wheel,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith('\n2 of 2 inputs segmented, see predictions\n')
    assert len(list(tmp_path.glob('predictions/ids/*.png'))) == 2


@pytest.mark.parametrize(
    'command',
    [
        ['setup.py', 'build_ext', '--inplace'],
        ['-c', "import setuptools.build_meta as build; build.build_editable('out')"],
        [
            '-c',
            'import setuptools.build_meta as build; '
            "build.build_editable('out', {'editable_mode': 'strict'})",
        ],
    ],
    ids=['inplace', 'editable', 'strict'],
)
def test_a_compiler_that_fails_leaves_plain_torch(tmp_path: Path, command: list[str]) -> None:
    """Both libraries fail, and the installation into the sources goes on."""
    shutil.copy(ROOT / 'setup.py', tmp_path)
    shutil.copytree(ROOT / 'ops', tmp_path / 'ops')
    (tmp_path / 'ddf_seg/ops').mkdir(parents=True)
    shutil.copy(ROOT / 'ddf_seg/ops/sources.py', tmp_path / 'ddf_seg/ops')
    (tmp_path / 'ddf_seg/__init__.py').touch()
    (tmp_path / 'setup.cfg').write_text(
        '[metadata]\nname = ddf_seg\nversion = 1\n[options]\npackages = ddf_seg\n'
    )
    # As on a machine with a GPU: there is a CUDA library to build, and its compiler fails, too.
    setup = (tmp_path / 'setup.py').read_text()
    for name, value in (('cuda_wanted', 'True'), ('find_nvcc', "Path('/bin/false')")):
        setup = setup.replace('\nmodules = ', f'\n{name} = lambda: {value}\nmodules = ')
    (tmp_path / 'setup.py').write_text(setup)
    (tmp_path / 'out').mkdir()
    done = run(tmp_path, *command, DDF_SEG_BUILD_NATIVE='auto', FORCE_CUDA='', CC='false')
    assert 'ddf_seg: the compiled operators were not built' in done.stderr
    assert 'ddf_seg: the CUDA kernels were not built' in done.stderr
    assert not list(tmp_path.rglob('*.so'))
    if command[0] == '-c':
        assert list(tmp_path.glob('out/*.whl'))
