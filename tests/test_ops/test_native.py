"""The compiled library: instruction sets, threads, processes, and what if it is missing."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import Call
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import ddf_seg.ops
from ddf_seg.ops import ddf, native, reference

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / 'ops'
PACKAGE_PARENT = Path(ddf_seg.__file__).parents[1]
needs_library = pytest.mark.skipif(
    not ddf_seg.ops.is_native_available(), reason='the operators are not compiled here'
)


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own that finds the same ddf_seg."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={
            **os.environ,
            'PYTHONPATH': str(PACKAGE_PARENT),
            'OMP_NUM_THREADS': '1',
            **environment,
        },
        capture_output=True,
        text=True,
        # Not where the checkout's ddf_seg would come first
        cwd=HERE,
        timeout=500,
        check=False,
    )


# --- instruction sets ----------------------------------------------------------------------------


def capabilities() -> list[str]:
    """The instruction sets that the library and the machine have."""
    path = native.library_path('cpu')
    if not ddf_seg.ops.is_native_available():
        return ['default']
    library = ctypes.CDLL(str(path))
    library.ddf_seg_cpu_capability.restype = ctypes.c_char_p
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ('default', 'avx2', 'avx512'):
            patch.setenv(native.CAPABILITY_VARIABLE, name)
            if library.ddf_seg_cpu_capability().decode() == name:
                found.append(name)
    return found


ON_EVERY_INSTRUCTION_SET = (
    'ddf',
    'ddf_upsample',
    'filter_norm_op',
    'depthwise_pointwise',
    'depthwise_pointwise_gradients',
    'interpolation_softmax',
    'native_memory',
)


@needs_library
@pytest.mark.parametrize('capability', capabilities())
def test_forced_instruction_set_passes_the_operator_tests(capability: str) -> None:
    """All of them, because narrow maps take shorter vectors where none are forced."""
    result = run_python(
        *('-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-k', 'dispatched'),
        *(str(HERE / f'test_{name}.py') for name in ON_EVERY_INSTRUCTION_SET),
        **{native.CAPABILITY_VARIABLE: capability},
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]


@needs_library
@pytest.mark.parametrize('capability', capabilities())
def test_forced_instruction_set_is_used(capability: str) -> None:
    code = 'from ddf_seg.ops import native; print(native.load("cpu"))'
    result = run_python('-c', code, **{native.CAPABILITY_VARIABLE: capability})
    assert result.stdout.strip() == f'compiled (CPU, {capability})'


@needs_library
def test_unknown_instruction_set_is_an_error() -> None:
    wanted = 'avx512 '
    result = run_python('-c', 'import ddf_seg.ops', **{native.CAPABILITY_VARIABLE: wanted})
    assert result.returncode == 1
    (message,) = result.stderr.strip().splitlines()[-1:]
    assert message.startswith('RuntimeError: DDF_SEG_CPU_CAPABILITY: expected one of ')
    assert message.endswith(f', got {wanted!r}')


# --- without the library -------------------------------------------------------------------------

TWICE = """
import warnings, torch
from ddf_seg.ops import ddf, is_native_available
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    for _ in range(2):
        print(ddf(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 3, 3), torch.ones(1, 9, 2, 2)).sum())
print(is_native_available())
for warning in caught:
    print(warning.message)
"""


def run_copy(folder: Path, library: bytes | None) -> list[str]:
    """The lines that TWICE prints with a copy of the package whose library is another one."""
    package = folder / 'ddf_seg'
    shutil.copytree(Path(native.__file__).parent, package / 'ops')
    shutil.copy(str(ddf_seg.__file__), package)
    if library is not None:
        (package / native.library_path('cpu').name).write_bytes(library)
    result = run_python('-c', TWICE, PYTHONPATH=str(folder))
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_without_the_library_it_runs_in_plain_torch_and_says_so_once(tmp_path: Path) -> None:
    """DDF of ones: each of the four pixels sees all four."""
    first, second, available, *warnings = run_copy(tmp_path, None)
    assert (first, second, available) == ('tensor(16.)', 'tensor(16.)', 'False')
    (warning,) = warnings
    library = tmp_path / 'ddf_seg' / native.library_path('cpu').name
    assert warning.startswith(f'ddf_seg.ops runs in plain torch: {library} does not exist')
    assert 'pip install --no-build-isolation' in warning


def test_a_library_that_does_not_load_is_reported(tmp_path: Path) -> None:
    first, _, available, *warnings = run_copy(tmp_path, b'no library')
    assert (first, available) == ('tensor(16.)', 'False')
    (warning,) = warnings
    assert f'does not load under torch {torch.__version__}' in warning


@needs_library
def test_an_installed_library_is_loaded_without_sources(tmp_path: Path) -> None:
    library = native.library_path('cpu').read_bytes()
    assert run_copy(tmp_path / 'installed', library)[2] == 'True'
    # Another package of this name beside it
    (tmp_path / 'beside/ops').mkdir(parents=True)
    assert run_copy(tmp_path / 'beside', library)[2] == 'True'


@needs_library
@pytest.mark.skipif(not SOURCES.is_dir(), reason='a wheel is tested without the sources')
def test_a_library_of_other_sources_is_not_loaded(tmp_path: Path) -> None:
    """Its operators may take other arguments than the modules give: a crash, without a message."""
    library, checkout = native.library_path('cpu').read_bytes(), tmp_path / 'checkout'
    shutil.copytree(SOURCES, checkout / 'ops')
    header = checkout / 'ops/kernels/problem.h'
    if os.name == 'posix':
        # What Emacs leaves beside a file that is being edited
        header.with_name('.#problem.h').symlink_to('somebody@somewhere.1')
    assert run_copy(checkout, library)[2] == 'True'
    shutil.rmtree(checkout / 'ddf_seg')
    header.write_text(header.read_text() + '// changed\n')
    first, _, available, *warnings = run_copy(checkout, library)
    assert (first, available) == ('tensor(16.)', 'False')
    (warning,) = warnings
    assert f'was compiled from other sources than those in {checkout / "ops"}' in warning
    assert 'pip install --no-build-isolation' in warning


# --- threads and processes -----------------------------------------------------------------------


def large_call(kind: str, layout: str) -> Call:
    """Enough work for several threads, and sizes that no number of threads divides."""
    upsample = kind == 'ddf_upsample'
    return Call(
        batch=1 if upsample else 2,
        channels=26,
        groups=2,
        size=(37, 41) if upsample else (61, 83),
        out_size=(75, 82) if upsample else (61, 83),
        kernel_size=3,
        dilation=1,
        kernel_combine='mul',
        layouts=(layout, 'contiguous', layout),
        stride=None if upsample else 1,
        scale_factor=2 if upsample else 1,
        phased=upsample,
    )


def run_all(case: Call, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """The output and all gradients."""
    operator = ddf if case.stride is not None else ddf_seg.ops.ddf_upsample
    tensors = case.tensors(dtype, requires_grad=True)
    output = operator(*tensors, **case.arguments)
    return (output.detach(), *torch.autograd.grad(output, tensors, case.grad_output(dtype)))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """torch.set_num_threads, until the end of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@needs_library
@pytest.mark.parametrize('kind', ['ddf', 'ddf_upsample'])
@pytest.mark.parametrize('layout', ['contiguous', 'channels_last'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_same_bits_on_1_2_3_and_7_threads(
    threads: Callable[[int], None], kind: str, layout: str, dtype: torch.dtype
) -> None:
    results = []
    for count in (1, 2, 3, 7, 7):
        threads(count)
        results.append(run_all(large_call(kind, layout), dtype))
    for other in results[1:]:
        for name, one, several in zip('OXFS', results[0], other, strict=True):
            assert torch.equal(one, several), name


@needs_library
def test_calls_from_several_python_threads(threads: Callable[[int], None]) -> None:
    """Each Python thread calls with its own sizes, over and over; nothing gets mixed up."""
    threads(2)
    cases = [
        large_call(kind, layout)
        for kind in ('ddf', 'ddf_upsample')
        for layout in ('contiguous', 'channels_last')
    ]
    expected = [run_all(case) for case in cases]
    failures: list[str] = []
    start = threading.Barrier(len(cases))

    def work(case: Call, want: tuple[Tensor, ...]) -> None:
        start.wait()
        for _ in range(8):
            got = run_all(case)
            if not all(torch.equal(a, b) for a, b in zip(got, want, strict=True)):
                failures.append(str(case))

    workers = [
        threading.Thread(target=work, args=pair) for pair in zip(cases, expected, strict=True)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def _send_all(connection: Any, case: Call) -> None:
    # As torch's own operators, and as its DataLoader does: GNU's OpenMP does not survive a fork.
    torch.set_num_threads(1)
    connection.send([x.numpy() for x in run_all(case)])


@needs_library
@pytest.mark.filterwarnings('ignore:.*fork.*:DeprecationWarning')
def test_fork_after_use(threads: Callable[[int], None]) -> None:
    threads(2)
    case = large_call('ddf', 'contiguous')
    expected = run_all(case)
    context = multiprocessing.get_context('fork')
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_send_all, args=(send, case))
    child.start()
    assert receive.poll(60), 'the forked process hangs'
    for got, want in zip(receive.recv(), expected, strict=True):
        assert torch.equal(torch.from_numpy(got), want)
    child.join(60)
    assert child.exitcode == 0
    # The parent goes on.
    assert torch.equal(run_all(case)[0], expected[0])


class Filtered(Dataset[Tensor]):
    """Samples that are filtered where they are loaded."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Tensor:
        x = torch.arange(600.0).view(1, 2, 15, 20).add(index).sin()
        return ddf(x, torch.full((1, 2, 3, 3), 0.5), torch.ones(1, 9, 15, 20))[0]


@needs_library
@pytest.mark.parametrize('method', ['fork', 'spawn'])
@pytest.mark.filterwarnings('ignore:.*fork.*:DeprecationWarning')
def test_in_the_workers_of_a_data_loader(threads: Callable[[int], None], method: str) -> None:
    threads(2)
    run_all(large_call('ddf', 'contiguous'))
    dataset = Filtered()
    loader = DataLoader(
        dataset, batch_size=2, num_workers=2, multiprocessing_context=method, timeout=120
    )
    batches = torch.cat(list(loader))
    assert torch.equal(batches, torch.stack([dataset[i] for i in range(len(dataset))]))


# --- more than 2^31 elements ---------------------------------------------------------------------


@pytest.mark.slow
@needs_library
@pytest.mark.parametrize('layout', ['contiguous', 'channels_last'])
def test_more_than_2_to_the_31_elements(layout: str) -> None:
    """10 GB. Compared with plain torch in the far corner, and for the filter with plain sums."""
    side, channels = 5800, 64
    to = torch.channels_last if layout == 'channels_last' else torch.contiguous_format
    shape = (1, channels, side, side)

    def random(*size: int, memory_format: torch.memory_format) -> Tensor:
        empty = torch.empty(size, dtype=torch.bfloat16, memory_format=memory_format)
        return empty.uniform_(-1, 1)

    x = random(*shape, memory_format=to)
    assert x.numel() > 2**31
    f = random(1, channels, 3, 3, memory_format=torch.contiguous_format)
    s = random(1, 9, side, side, memory_format=to)
    arguments = ([3, 3], [1, 1], [1, 1], 'mul')
    corner = (slice(None), slice(-2, None), slice(-9, None), slice(-11, None))
    near = (slice(None), slice(None), slice(-9, None), slice(-11, None))
    inside = (slice(None), slice(None), slice(1, None), slice(1, None))

    output = ddf(x, f, s)
    want = reference.ddf_forward(x[corner], f[:, -2:], s[near], *arguments)
    torch.testing.assert_close(output[corner][inside], want[inside], rtol=1e-2, atol=1e-2)
    del output

    upstream = torch.ones(1, 1, 1, 1, dtype=x.dtype).expand(shape)
    gradients = torch.ops.ddf_seg.ddf_backward(upstream, x, f, s, *arguments, [True] * 3)
    want_x, _, _ = reference.ddf_backward(
        upstream[corner], x[corner], f[:, -2:], s[near], *arguments, [True, False, False]
    )
    torch.testing.assert_close(gradients[0][corner][inside], want_x[inside], rtol=2e-2, atol=2e-2)
    _, _, want_s = reference.ddf_backward(
        upstream[near], x[near], f, s[near], *arguments, [False, False, True]
    )
    torch.testing.assert_close(gradients[2][near][inside], want_s[inside], rtol=2e-2, atol=2e-2)
    for channel in (0, channels - 1):
        rows = zip(x[0, channel].split(500), s[0, 4].split(500), strict=True)
        centre = sum((a.float() * b.float()).sum().double() for a, b in rows)
        torch.testing.assert_close(
            gradients[1][0, channel, 1, 1].double(), centre, rtol=1e-2, atol=1.0
        )
