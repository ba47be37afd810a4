"""Builds the compiled operators (`ops/`) into the package; metadata lives in setup.cfg.

The libraries are not Python modules: `ddf_seg.ops.native` hands them to torch.ops.load_library.
They use nothing of Python and of torch only the stable ABI, so one build serves Python >= 3.10 and
torch >= 2.10. Where there is no compiler, or no torch to compile against, the package installs
without them and runs in plain torch. The CUDA library holds CUDA's runtime and is loaded only where
torch has CUDA, so one wheel serves CPU-only torch and torch for CUDA alike.

Configs, tools and the trained network go into the package's `.mim` as in OpenMMLab's packages; in
a checkout, links stand there.

Environment:
    DDF_SEG_BUILD_NATIVE: 1 to fail if a library cannot be built, 0 to build none.
    DDF_SEG_BUILD_FLAGS: further compiler and linker flags for the CPU's, e.g. -fsanitize=address.
    FORCE_CUDA: 1 to build the CUDA library without a GPU too, and to fail if that is impossible,
        0 not to build it; by default it is built where torch sees a GPU.
    CUDA_HOME: the CUDA toolkit, where nvcc is not on the PATH.
    TORCH_CUDA_ARCH_LIST: as for torch, e.g. '8.6;9.0+PTX'; by default every architecture from 7.5
        on that nvcc knows (see CUDA_ARCHITECTURES).
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.modified import newer_group

CPU_LIBRARY = 'ddf_seg._C_cpu'
CUDA_LIBRARY = 'ddf_seg._C_cuda'
WANTED = os.environ.get('DDF_SEG_BUILD_NATIVE', 'auto')
EXTRA_FLAGS = shlex.split(os.environ.get('DDF_SEG_BUILD_FLAGS', ''))
# The oldest torch that the library runs on: 2.10, the first with a stable parallel_for.
TORCH_TARGET_VERSION = 0x020A000000000000

COMMON_FLAGS = ['-std=c++17', '-fvisibility=hidden', '-g0', '-Wall', '-Wextra', '-Wno-psabi']
KERNEL_FLAGS = ['-O3', '-fno-math-errno', '-fno-trapping-math']
# A quarter of the compiler's time, for versions of loops that never run; and GCC's own AVX-512
# headers trip -Wmaybe-uninitialized and -Wuninitialized.
GCC_FLAGS = ['-fno-version-loops-for-strides', '-Wno-maybe-uninitialized', '-Wno-uninitialized']
# capability -> (C++ namespace, bytes of a vector, flags); which one runs is chosen at load.
CAPABILITIES: dict[str, tuple[str, int, list[str]]] = {'default': ('baseline', 16, [])}
if platform.machine().lower() in ('x86_64', 'amd64'):
    avx2 = ['-mavx2', '-mfma', '-mf16c']
    avx512 = [*avx2, '-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512dq']
    # Processors without AVX2 are too rare to let everybody compile for them at length.
    CAPABILITIES['default'] = ('baseline', 16, ['-O2'])
    CAPABILITIES['avx2'] = ('avx2', 32, avx2)
    CAPABILITIES['avx512'] = ('avx512', 64, [*avx512, '-mprefer-vector-width=512'])
# The last one as PTX too, for what comes after it.
CUDA_ARCHITECTURES = ('7.5', '8.0', '8.6', '8.9', '9.0', '10.0', '12.0')
CUDA_FLAGS = ['-std=c++17', '-O3', '--Werror=all-warnings', '-Xcompiler=-fPIC,-fvisibility=hidden']


# What lies beside the package, and goes into the `.mim` of an installed one
BESIDE = (
    *('model-index.yml', 'checkpoints/*.pth'),
    *('configs/**/*.py', 'configs/*.yaml', 'tools/**/*.py', 'tools/*.sh'),
)


def torch_directory() -> Path | None:
    """Where torch is installed, without importing it."""
    spec = importlib.util.find_spec('torch')
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def element_types() -> list[str]:
    """The operators' element types, from where the kernels have them."""
    header = Path('ops/kernels/problem.h')
    found = re.findall(r'\bX\((\w+), \w+\)', header.read_text())
    if not found:
        raise RuntimeError(f'{header}: expected a list of element types, X(name, name in torch)')
    return found


def of_sources() -> str:
    """The flag by which a library says what it was compiled from."""
    return f'-DDDF_SOURCES={runpy.run_path("ddf_seg/ops/sources.py")["digest"](Path("ops"))}'


def cuda_wanted() -> bool:
    """Whether to build the CUDA library: as FORCE_CUDA says, or where torch sees a GPU."""
    forced = os.environ.get('FORCE_CUDA', '')
    if forced in ('0', '1'):
        return forced == '1'
    torch = torch_directory()
    if torch is None or not any((torch / 'lib').glob('*torch_cuda*')):
        return False
    from torch.cuda import is_available

    return is_available()


def find_nvcc() -> Path:
    """CUDA's compiler, where torch looks for it to build its extensions.

    Raises:
        RuntimeError: there is none, or torch is not built for CUDA.
    """
    torch = torch_directory()
    if torch is None or not (torch / 'lib/libtorch_cuda.so').is_file():
        raise RuntimeError(
            f'expected a CUDA build of torch to link against, got the one in {torch}'
        )
    from torch.utils.cpp_extension import CUDA_HOME

    nvcc = Path(CUDA_HOME or '/usr/local/cuda') / 'bin/nvcc'
    if not nvcc.is_file():
        raise RuntimeError(
            f'expected the CUDA compiler at {nvcc}: install the CUDA toolkit, or name its folder '
            'in CUDA_HOME'
        )
    return nvcc


def report_no_cuda(error: Exception) -> None:
    """An end to the build where CUDA was asked for; a warning where it was not."""
    if WANTED == '1' or os.environ.get('FORCE_CUDA') == '1':
        raise SystemExit(f'ddf_seg: the CUDA kernels cannot be built: {error}') from error
    print(
        f'ddf_seg: the CUDA kernels were not built ({error}); CUDA tensors are left to '
        'plain torch.',
        file=sys.stderr,
    )


def architecture_flags(nvcc: Path) -> list[str]:
    """nvcc's flags for TORCH_CUDA_ARCH_LIST, by default all of CUDA_ARCHITECTURES that it knows."""
    from torch.utils.cpp_extension import _get_cuda_arch_flags

    if not os.environ.get('TORCH_CUDA_ARCH_LIST'):
        listed = subprocess.run(
            [nvcc, '--list-gpu-code'], capture_output=True, text=True, check=True
        ).stdout.split()
        known = [a for a in CUDA_ARCHITECTURES if f'sm_{a.replace(".", "")}' in listed]
        os.environ['TORCH_CUDA_ARCH_LIST'] = ';'.join(known) + '+PTX'
    return _get_cuda_arch_flags()


class BuildPython(build_py):
    """Copies what lies beside the package into it, too."""

    def build_packages(self) -> None:
        super().build_packages()
        if self.editable_mode:
            return
        for pattern in BESIDE:
            for file in sorted(Path().glob(pattern)):
                target = Path(self.build_lib, 'ddf_seg/.mim', file)
                self.mkpath(str(target.parent))
                self.copy_file(str(file), str(target))


class BuildNative(build_ext):
    """Compiles the kernels, once per instruction set or element type, and links the bindings."""

    def finalize_options(self) -> None:
        super().finalize_options()
        # Both libraries side by side: each has a few kernels that take long.
        self.parallel = self.parallel or True
        self.unbuilt: list[Extension] = []

    def build_extensions(self) -> None:
        super().build_extensions()
        # setuptools copies into the sources, for an editable installation, all that is listed.
        self.extensions = [ext for ext in self.extensions if ext not in self.unbuilt]

    def build_extension(self, ext: Extension) -> None:
        if ext.name == CUDA_LIBRARY:
            try:
                self.build_cuda_library(ext)
            except (OSError, RuntimeError, ValueError, subprocess.CalledProcessError) as error:
                report_no_cuda(error)
                self.unbuilt.append(ext)
            return
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
            self.unbuilt.append(ext)

    def get_export_symbols(self, ext: Extension) -> list[str]:
        # No Python modules, so they have no PyInit function, which Windows would export.
        return []

    def take_clang_cl(self) -> None:
        """On Windows: MSVC has no vector extensions; its linker and libraries serve clang-cl."""
        clang = shutil.which('clang-cl')
        if clang is None:
            raise RuntimeError('no clang-cl: install LLVM, or the Clang tools of Visual Studio')
        self.compiler.initialize()
        self.compiler.cc = clang

    def build_library(self, ext: Extension) -> None:
        torch = torch_directory()
        if torch is None or not (torch / 'include/torch/csrc/stable/library.h').is_file():
            raise RuntimeError('no torch >= 2.10 to compile against; use --no-build-isolation')
        build = Path(self.build_temp)
        windows = self.compiler.compiler_type == 'msvc'
        if windows:
            self.take_clang_cl()
        command = self.compiler.cc if windows else self.compiler.compiler_so[0]
        macros = [f'-DDDF_WITH_{name.upper()}' for name in CAPABILITIES if name != 'default']
        version = subprocess.run(
            [command, '--version'], capture_output=True, text=True, check=True
        ).stdout
        kernels = [*KERNEL_FLAGS, *([] if 'clang' in version else GCC_FLAGS)]
        binding = ['-O2', f'-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION:#x}', of_sources()]
        jobs = [
            (
                'ops/kernels/cpu/kernels.cpp',
                build / f'{name}-{d}',
                [
                    *kernels,
                    *flags,
                    f'-DDDF_NAMESPACE={namespace}',
                    f'-DDDF_CAPABILITY={name}',
                    f'-DDDF_VECTOR_BYTES={width}',
                    f'-DDDF_DTYPE={d}',
                ],
            )
            # The longest first, so that all processors finish together.
            for d in reversed(element_types())
            for name, (namespace, width, flags) in reversed(CAPABILITIES.items())
        ]
        jobs.append(('ops/kernels/cpu/capability.cpp', build, ['-O2', *macros]))
        jobs.append(
            ('ops/binding/ddf_cpu.cpp', build, [*binding, '-isystem', str(torch / 'include')])
        )

        def compile_one(job: tuple[str, Path, list[str]]) -> list[str]:
            source, directory, flags = job
            flags = [*COMMON_FLAGS, *flags, *EXTRA_FLAGS]
            return self.compiler.compile(
                [source],
                output_dir=str(directory),
                extra_postargs=[f'/clang:{flag}' for flag in flags] if windows else flags,
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

    def build_cuda_library(self, ext: Extension) -> None:
        nvcc, torch = find_nvcc(), torch_directory()
        assert torch is not None
        architectures = architecture_flags(nvcc)
        names = os.environ['TORCH_CUDA_ARCH_LIST'].replace(';', ' ')
        # Objects for other architectures are other objects.
        build = Path(self.build_temp) / f'cuda-{names.replace(" ", "_")}'
        build.mkdir(parents=True, exist_ok=True)
        binding = [
            *(f'-isystem={torch / "include"}', f'-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION:#x}'),
            *('-DUSE_CUDA', f'-DDDF_CUDA_ARCHITECTURES={names}', of_sources()),
        ]
        kernels = sorted(Path('ops/kernels/cuda').glob('*.cu'))
        jobs = [
            *(
                (str(source), f'{source.stem}-{d}.o', [f'-DDDF_DTYPE={d}', *architectures])
                for source in kernels
                for d in element_types()
            ),
            ('ops/kernels/cuda/launch.cpp', 'launch.o', []),
            ('ops/binding/ddf_cuda.cpp', 'ddf_cuda.o', binding),
        ]

        def compile_one(job: tuple[str, str, list[str]]) -> str:
            source, name, flags = job
            target = str(build / name)
            # The binding names them all.
            others = ext.sources if 'binding' in source else ()
            if newer_group([source, 'setup.py', *ext.depends, *others], target):
                command = [str(nvcc), *CUDA_FLAGS, *flags, '-c', source, '-o', target]
                print(shlex.join(command), flush=True)
                subprocess.run(command, check=True)
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_one, jobs))
        target = self.get_ext_fullpath(ext.name)
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        # The runtime is linked in and hidden: torch's own, of another version perhaps, stays apart.
        link = ['-shared', '-cudart=static', '-Xlinker=--exclude-libs,ALL']
        torch_libraries = [f'-L{torch / "lib"}', '-ltorch_cpu', '-ltorch_cuda']
        subprocess.run([nvcc, *link, *objects, '-o', target, *torch_libraries], check=True)


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
    headers = [str(path) for path in Path('ops').rglob('*') if path.suffix in ('.h', '.cuh')]
    sources = [str(path) for path in Path('ops').rglob('*') if path.suffix in ('.cpp', '.cu')]
    names = [CPU_LIBRARY]
    if cuda_wanted():
        try:
            find_nvcc()
            names.append(CUDA_LIBRARY)
        except RuntimeError as error:
            report_no_cuda(error)
    return [
        Extension(name, sources=sources, depends=headers, py_limited_api=True) for name in names
    ]


modules = extensions()
setup(
    ext_modules=modules,
    cmdclass={'build_ext': BuildNative, 'build_py': BuildPython},
    options={'bdist_wheel': {'py_limited_api': 'cp310'}} if modules else {},
)
