"""The CUDA kernels compiled by a C++ compiler and run on the CPU (`cuda_emulation/`)."""

from __future__ import annotations

import ctypes
import math
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from cases import Call
from filelock import FileLock
from naive import pair
from on_gpu import on_gpu
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
EMULATION = Path(__file__).resolve().parent / 'cuda_emulation'
COMPILER = os.environ.get('CXX', 'g++')
DTYPES = {
    torch.float64: 'float64',
    torch.float32: 'float32',
    torch.float16: 'float16',
    torch.bfloat16: 'bfloat16',
}
# The loops are those of another type: float64 has float32's, float16 has bfloat16's, with other
# reads and writes. Compiling and running them is left to the slow tests.
SLOW_DTYPES = (torch.float64, torch.float16)
SANITIZED = ('float32', 'float16')  # element types
SANITIZERS = ('-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-g')


def compiler_missing() -> str:
    """Why the kernels cannot be compiled here; empty if they can."""
    if shutil.which(COMPILER) is None:
        return f'the CUDA kernels are not emulated: no C++ compiler ({COMPILER})'
    return ''


# Where kernels run, as parameters of a fixture
BY_EMULATION = pytest.param(
    'emulation', marks=pytest.mark.skipif(bool(compiler_missing()), reason=compiler_missing())
)
BY_GPU = pytest.param('GPU', marks=on_gpu)


def slow_marks(dtype: torch.dtype) -> list[pytest.MarkDecorator]:
    """Of what is emulated in this type."""
    return [pytest.mark.slow] if dtype in SLOW_DTYPES else []


EACH_DTYPE = pytest.mark.parametrize(
    'dtype', [pytest.param(d, marks=slow_marks(d), id=str(d)) for d in DTYPES]
)


def in_each_dtype(*places: str | pytest.ParameterSet) -> pytest.MarkDecorator:
    """Parameters of the fixture `run` together with `dtype`."""
    each = []
    for place in places:
        name, marks = (place, []) if isinstance(place, str) else (place.values[0], [*place.marks])
        for dtype in DTYPES:
            further = slow_marks(dtype) if place is BY_EMULATION else []
            each.append(pytest.param(name, dtype, marks=[*marks, *further], id=f'{name}-{dtype}'))
    return pytest.mark.parametrize(('run', 'dtype'), each, indirect=['run'])


def build(
    directory: Path,
    dtypes: Sequence[str] = tuple(DTYPES.values()),
    flags: Sequence[str] = (),
    kernels: Path = ROOT / 'ops/kernels',
    program: bool = False,
) -> Path:
    """Compiles the kernels of these element types and the emulation.

    Args:
        kernels: where they lie; a copy with a defect, say.
        program: a program that reads calls from stdin instead of a library.
    """
    common = [COMPILER, '-std=c++17', '-O1', '-fPIC', '-Wall', '-Wextra', '-Werror']
    # A product and a sum without rounding in between, as nvcc makes them
    common += ['-march=native', '-ffp-contract=fast']
    common += ['-Wno-unknown-pragmas', f'-I{EMULATION}', f'-I{kernels}', *flags]
    common += ['-DDDF_DRIVER'] if program else []
    common += [f'-DDDF_WITH_{dtype}' for dtype in dtypes]
    sources = [
        *(
            (source, f'{source.stem}-{dtype}.o', [f'-DDDF_DTYPE={dtype}'])
            for source in sorted((kernels / 'cuda').glob('*.cu'))
            for dtype in dtypes
        ),
        (kernels / 'cuda/launch.cpp', 'launch.o', []),
        (EMULATION / 'emulation.cpp', 'emulation.o', []),
        (EMULATION / 'driver.cpp', 'driver.o', []),
    ]

    def compile_one(source: tuple[Path, str, list[str]]) -> str:
        path, name, own = source
        target = str(directory / name)
        subprocess.run(
            [*common, *own, '-x', 'c++', '-c', str(path), '-o', target],
            check=True,
            timeout=300,
        )
        return target

    directory.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
    target = directory / ('driver' if program else 'emulation.so')
    link = [] if program else ['-shared']
    subprocess.run(
        [COMPILER, *objects, *link, *flags, '-ldl', '-o', str(target)], check=True, timeout=120
    )
    return target


def build_once(
    factory: pytest.TempPathFactory,
    name: str,
    dtypes: Sequence[str] = tuple(DTYPES.values()),
    flags: Sequence[str] = (),
    program: bool = False,
) -> Path:
    """`build` in a folder of this name that the workers of pytest-xdist share."""
    folder = factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        folder = folder.parent
    with FileLock(folder / f'{name}.lock'):
        target = folder / name / ('driver' if program else 'emulation.so')
        return target if target.is_file() else build(folder / name, dtypes, flags, program=program)


def run_program(program: Path, lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program)], input=lines, capture_output=True, text=True, timeout=120, check=False
    )


def _like(values: Tensor, shape: Sequence[int]) -> Tensor:
    """NaNs of this shape, in the memory format that the operators give to what goes with it."""
    last = (
        values.dim() == 4
        and not values.is_contiguous()
        and values.is_contiguous(memory_format=torch.channels_last)
    )
    empty = torch.empty(
        tuple(shape),
        dtype=values.dtype,
        device=values.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )
    return empty.fill_(torch.nan)


# As driver.cpp numbers them
FORWARD, BACKWARD, SOFTMAX, NORM, GAIN = range(5)


@dataclass
class Request:
    """One run of the launchers: (features, channel filter, spatial filter, output, gradients).

    Or (logits, query, key, rows, columns, output, gradient of the logits); or (filters, gradient
    of the output or None, output or gradient, scale, std, mean, None); or (weight, weight after it
    or None, gain, None, …).
    """

    numbers: list[int]
    tensors: list[Tensor | None]
    operation: int  # one of FORWARD, BACKWARD, SOFTMAX, NORM, GAIN

    @classmethod
    def of(
        cls,
        call: Call,
        inputs: Sequence[Tensor | None],
        grad_output: Tensor | None = None,
        mask: Sequence[bool] = (True, True, True),
    ) -> Request:
        """Forward, or backward if there is a `grad_output`; of one filter if the other is None."""
        x, channel_filter, spatial_filter = inputs
        assert x is not None
        combine = ('mul', 'add').index(call.kernel_combine)
        if channel_filter is None:
            combine = 2
        elif spatial_filter is None:
            combine = 3
            # As the binding does
            taps = math.prod(pair(call.kernel_size))
            zero = torch.zeros((), dtype=x.dtype, device=x.device)
            inputs = (x, channel_filter, zero.expand(call.batch, taps, *call.out_size))
            mask = (*mask[:2], False)
        if grad_output is None:
            output = _like(x, (*x.shape[:2], *call.out_size))
            tensors = [*inputs, output, None, None, None]
        else:
            gradients = [
                _like(t, t.shape) if m and t is not None else None
                for t, m in zip(inputs, mask, strict=True)
            ]
            tensors = [*inputs, grad_output, *gradients]
        kernel, stride = pair(call.kernel_size), pair(call.stride or 1)
        numbers = [list(DTYPES).index(x.dtype), combine]
        numbers += [call.batch, call.channels, call.groups, *call.size, *call.out_size]
        numbers += [*kernel, *pair(call.dilation), *stride, call.scale_factor]
        for i, tensor in enumerate(tensors):
            is_filter = i in (1, 5)
            strides = [0] * 4 if tensor is None else list(tensor.stride())
            if is_filter and len(strides) == 4:
                strides.insert(1, 0)
            numbers += strides
        operation = FORWARD if grad_output is None else BACKWARD
        return cls([int(n) for n in numbers], tensors, operation)

    @classmethod
    def of_softmax(
        cls,
        logits: Tensor,
        query: Tensor | None,
        key: Tensor | None,
        rows: Tensor,
        columns: Tensor,
        scale: int,
        grad_output: Tensor | None = None,
    ) -> Request:
        """`interpolation_softmax`, or its gradient if there is a `grad_output`."""
        batch, channels, *size = logits.shape
        maps, k = rows.shape[0] - 2, rows.shape[1]
        groups = channels // k**2
        gradient = None if grad_output is None else _like(logits, logits.shape)
        output = grad_output
        if output is None:
            output = _like(logits, (batch, maps * channels, *size))
        # As the binding fills it in
        numbers = [list(DTYPES).index(logits.dtype), batch, maps, groups, k]
        if query is None or key is None:
            numbers += [0, 1, *size, 0, 0]
        else:
            numbers += [query.shape[1] // groups, scale, *size, *key.shape[2:]]
        for tensor in (logits, query, key, output, gradient):
            numbers += [0] * 4 if tensor is None else tensor.stride()
        return cls(numbers, [logits, query, key, rows, columns, output, gradient], SOFTMAX)

    @classmethod
    def of_norm(
        cls,
        filters: Tensor,
        taps: int,
        gain: float,
        eps: float,
        scale: Tensor | None,
        std: Tensor | None,
        mean: Tensor | None,
        grad_output: Tensor | None = None,
    ) -> Request:
        """`filter_norm`, or its gradient if there is a `grad_output`."""
        batch, channels, *size = filters.shape
        output = _like(filters, filters.shape)
        numbers = [list(DTYPES).index(filters.dtype), batch, channels // taps, taps, *size]
        numbers += struct.unpack('2q', struct.pack('2d', gain, eps))
        for tensor in (filters, grad_output, output):
            numbers += [0] * 4 if tensor is None else tensor.stride()
        return cls(numbers, [filters, grad_output, output, scale, std, mean, None], NORM)

    @classmethod
    def of_gain(cls, weight: Tensor, after: Tensor | None) -> Request:
        """`weight_gain` of contiguous weights."""
        numbers = [list(DTYPES).index(weight.dtype), 1 if after is None else 2]
        for x in (weight, after):
            numbers += [0, 1] if x is None else [x.numel(), x.shape[0]]
        return cls(numbers, [weight, after, torch.full((), torch.nan), *[None] * 4], GAIN)

    @property
    def results(self) -> list[Tensor | None]:
        if self.operation == SOFTMAX:
            return [self.tensors[5] if self.tensors[6] is None else self.tensors[6]]
        if self.operation in (NORM, GAIN):
            return self.tensors[2:3]
        return self.tensors[4:] if self.operation == BACKWARD else self.tensors[3:4]

    def line(self, short: dict[int, int] | None = None, missing_shared: int = 0) -> str:
        """For the program's stdin; `short`: elements by which an allocation is too small."""
        words = [self.operation, missing_shared, len(self.numbers), *self.numbers]
        for i, tensor in enumerate(self.tensors):
            size = 0
            if tensor is not None:
                last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
                size = (last + 1) * tensor.element_size()
            missing = (short or {}).get(i, 0) * (tensor.element_size() if tensor is not None else 0)
            words += [size, missing]
        return ' '.join(map(str, words)) + '\n'


class Emulation:
    """The launchers on the emulated device, for some element types."""

    def __init__(self, path: Path, dtypes: Sequence[torch.dtype] = tuple(DTYPES)) -> None:
        self.dtypes = dtypes
        self.library = ctypes.CDLL(str(path))
        self.library.emulation_barriers.restype = ctypes.c_int64
        self.library.emulation_launched.restype = ctypes.c_char_p
        self._set()

    def _set(
        self,
        seed: int = 0,
        grid_limit: int = 65535,
        dropped_barrier: int = -1,
        dry: bool = False,
        multiprocessors: int = 108,
    ) -> None:
        self.library.emulation_options(
            ctypes.c_uint(seed),
            ctypes.c_int64(grid_limit),
            ctypes.c_int64(dropped_barrier),
            ctypes.c_bool(dry),
            ctypes.c_int(multiprocessors),
        )

    @contextmanager
    def options(self, **options: int | bool) -> Iterator[None]:
        self._set(**options)  # type: ignore[arg-type]
        try:
            yield
        finally:
            self._set()

    def error(self, request: Request) -> int:
        """Runs it; the cudaError_t."""
        numbers = (ctypes.c_int64 * len(request.numbers))(*request.numbers)
        pointers = (ctypes.c_void_p * 7)(
            # Tensors without memory (meta, for dry runs) have an address all the same.
            *(None if t is None else t.data_ptr() or 16 for t in request.tensors)
        )
        code: int = self.library.emulation_run(numbers, pointers, request.operation)
        return code

    def run(self, request: Request) -> list[Tensor | None]:
        code = self.error(request)
        assert code == 0, f'cudaError {code}'
        return request.results

    def barriers(self) -> int:
        """How many the threads of a block passed since the last call."""
        count: int = self.library.emulation_barriers()
        return count

    def launched(self) -> set[str]:
        """Symbols of the kernels that were launched since the last call."""
        return set(self.library.emulation_launched().decode().split())
