"""Builds the compiled operators (`ops/`) into the package; metadata lives in setup.cfg.

The library is not a Python module: `ddf_seg.ops.native` hands it to torch.ops.load_library. It
uses nothing of Python and of torch only the stable ABI, so one build serves Python >= 3.10 and
torch >= 2.10. Where there is no compiler, or no torch to compile against, the package installs
without it and runs in plain torch.

Environment:
    DDF_SEG_BUILD_NATIVE: 1 to fail if the library cannot be built, 0 not to build it.
    DDF_SEG_BUILD_FLAGS: further compiler and linker flags, e.g. -fsanitize=address.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

WANTED = os.environ.get('DDF_SEG_BUILD_NATIVE', 'auto')
EXTRA_FLAGS = shlex.split(os.environ.get('DDF_SEG_BUILD_FLAGS', ''))
# The oldest torch that the library runs on: 2.10, the first with a stable parallel_for.
TORCH_TARGET_VERSION = 0x020A000000000000

COMMON_FLAGS = ['-std=c++17', '-fvisibility=hidden', '-g0', '-Wall', '-Wextra', '-Wno-psabi']
# GCC's own AVX-512 headers trip -Wmaybe-uninitialized.
KERNEL_FLAGS = ['-O3', '-fno-math-errno', '-fno-trapping-math', '-Wno-maybe-uninitialized']
# capability -> (C++ namespace, bytes of a vector, flags); which one runs is chosen at load.
CAPABILITIES: dict[str, tuple[str, int, list[str]]] = {'default': ('baseline', 16, [])}
if platform.machine().lower() in ('x86_64', 'amd64'):
    avx2 = ['-mavx2', '-mfma', '-mf16c']
    avx512 = [*avx2, '-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512dq']
    CAPABILITIES['avx2'] = ('avx2', 32, avx2)
    CAPABILITIES['avx512'] = ('avx512', 64, [*avx512, '-mprefer-vector-width=512'])


def torch_directory() -> Path | None:
    """Where torch is installed, without importing it."""
    spec = importlib.util.find_spec('torch')
    return Path(spec.origin).parent if spec is not None and spec.origin else None


class BuildNative(build_ext):
    """Compiles the kernels once per instruction set and links them with the binding."""

    def build_extension(self, ext: Extension) -> None:
        try:
            self.build_library(ext)
        except Exception as error:  # whatever a missing or unsuitable compiler raises
            if WANTED == '1':
                raise
            print(
                f'ddf_seg: the compiled operators were not built ({error}); the package runs in '
                'plain torch. They need a C++17 compiler (g++ >= 9 or clang >= 11): install one, '
                'then install again with --no-build-isolation.',
                file=sys.stderr,
            )

    def build_library(self, ext: Extension) -> None:
        torch = torch_directory()
        if torch is None or not (torch / 'include/torch/csrc/stable/library.h').is_file():
            raise RuntimeError('no torch >= 2.10 to compile against; use --no-build-isolation')
        build = Path(self.build_temp)
        macros = [f'-DDDF_WITH_{name.upper()}' for name in CAPABILITIES if name != 'default']
        binding = ['-O2', f'-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION:#x}']
        jobs = [
            (
                'ops/kernels/kernels.cpp',
                build / name,
                [
                    *KERNEL_FLAGS,
                    *flags,
                    f'-DDDF_NAMESPACE={namespace}',
                    f'-DDDF_CAPABILITY={name}',
                    f'-DDDF_VECTOR_BYTES={width}',
                ],
            )
            for name, (namespace, width, flags) in CAPABILITIES.items()
        ]
        jobs.append(('ops/kernels/capability.cpp', build, ['-O2', *macros]))
        jobs.append(
            ('ops/binding/ddf_cpu.cpp', build, [*binding, '-isystem', str(torch / 'include')])
        )

        def compile_one(job: tuple[str, Path, list[str]]) -> list[str]:
            source, directory, flags = job
            return self.compiler.compile(
                [source],
                output_dir=str(directory),
                extra_postargs=[*COMMON_FLAGS, *flags, *EXTRA_FLAGS],
                depends=ext.depends,
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = [path for paths in pool.map(compile_one, jobs) for path in paths]
        self.compiler.link_shared_object(
            objects,
            self.get_ext_fullpath(ext.name),
            libraries=['torch_cpu'],
            library_dirs=[str(torch / 'lib')],
            extra_postargs=EXTRA_FLAGS,
            target_lang='c++',
        )


def extensions() -> list[Extension]:
    """The library, unless it is unwanted or there is nothing to compile it against."""
    if WANTED == '0':
        return []
    if torch_directory() is None:
        message = 'ddf_seg: no torch to compile the operators against; use --no-build-isolation'
        if WANTED == '1':
            raise SystemExit(message)
        print(f'{message}. The package runs in plain torch.', file=sys.stderr)
        return []
    headers = [str(path) for path in Path('ops').rglob('*.h')]
    sources = [str(path) for path in Path('ops').rglob('*.cpp')]
    return [Extension('ddf_seg._C_cpu', sources=sources, depends=headers, py_limited_api=True)]


modules = extensions()
setup(
    ext_modules=modules,
    cmdclass={'build_ext': BuildNative},
    options={'bdist_wheel': {'py_limited_api': 'cp310'}} if modules else {},
)
