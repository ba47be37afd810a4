"""Clocks, ceilings and memory: how everything in the benchmark is measured."""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from ddf_seg.errors import UsageError, in_a_line

from . import resident

Run = Callable[[], Any]
# Shorter samples than this drown in the clock's and the scheduler's noise.
_LEAST_SAMPLE = 1e-3
_LEAST_ROUNDS = 5
_MOST_ROUNDS = 101


@dataclass(frozen=True)
class Ceilings:
    """What the device can do, measured.

    Attributes:
        fma_rate: float32 multiply-adds per second, on all threads in use.
        bandwidth: bytes per second, read and written, of a copy far larger than the caches.
        cache: bytes of the last-level cache.
    """

    fma_rate: float
    bandwidth: float
    cache: int


@dataclass(frozen=True)
class Settings:
    """Where and for how long to measure: seconds per side-by-side comparison."""

    device: torch.device
    seconds: float
    threads: int


def _sample(device: torch.device, run: Run, count: int) -> float:
    """Seconds that one of `count` calls takes; on a GPU each finds an L2 cache of other values."""
    if device.type == 'cuda':
        other = torch.empty(2 * last_level_cache(device), dtype=torch.uint8, device=device)
        events = []
        for _ in range(count):
            other.zero_()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            events.append((start, end))
        torch.cuda.synchronize(device)
        return sum(start.elapsed_time(end) for start, end in events) / 1e3 / count
    begin = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - begin) / count


def _captured(run: Run) -> Run:
    """The call as a CUDA graph, without the host's part of it, which exceeds a small map's time."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # what libraries choose and allocate at first
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def side_by_side(
    settings: Settings, contestants: Mapping[str, Run], graphs: bool = True
) -> dict[str, float]:
    """Median seconds of each contestant, all of them taking turns, round by round.

    Args:
        settings: device, and the seconds that all rounds together may take.
        contestants: name to a call without arguments.
        graphs: on a GPU, run them as CUDA graphs, without the host's part of a call.
    """
    if graphs and settings.device.type == 'cuda':
        contestants = {name: _captured(run) for name, run in contestants.items()}
    samples = _in_turns(
        settings, contestants, lambda run, count: _sample(settings.device, run, count)
    )
    return {name: statistics.median(each) for name, each in samples.items()}


@dataclass(frozen=True)
class Timing:
    """A call on the CPU.

    Attributes:
        seconds: the median.
        faults: page faults without reading from a disk, on average; each provides a page, or a
            huge page.
    """

    seconds: float
    faults: float


def with_faults(settings: Settings, contestants: Mapping[str, Run]) -> dict[str, Timing]:
    """As `side_by_side`, with the page faults of a call."""

    def sample(run: Run, count: int) -> Timing:
        before = resident.faults()
        seconds = _sample(settings.device, run, count)
        return Timing(seconds, (resident.faults() - before) / count)

    samples = _in_turns(settings, contestants, sample)
    return {
        name: Timing(
            statistics.median(each.seconds for each in timings),
            statistics.fmean(each.faults for each in timings),
        )
        for name, timings in samples.items()
    }


Sampled = TypeVar('Sampled')


def _in_turns(
    settings: Settings, contestants: Mapping[str, Run], sample: Callable[[Run, int], Sampled]
) -> dict[str, list[Sampled]]:
    """The samples of each contestant, which take turns, round by round, after a first call."""
    counts = {}
    for name, run in contestants.items():
        run()
        once = min(_sample(settings.device, run, 1) for _ in range(2))
        counts[name] = max(1, round(_LEAST_SAMPLE / max(once, 1e-7)))
    samples: dict[str, list[Sampled]] = {name: [] for name in contestants}
    begin = time.perf_counter()
    for done in range(_MOST_ROUNDS):
        for name, run in contestants.items():
            samples[name].append(sample(run, counts[name]))
        if done + 1 >= _LEAST_ROUNDS and time.perf_counter() - begin > settings.seconds:
            break
    return samples


@contextmanager
def full_float32() -> Iterator[None]:
    """cuBLAS and cuDNN compute in float32 itself, not in TF32, whose 10 bits no comparison of
    values at 1e-4 passes; what was set before is set again after."""
    settings: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [each.allow_tf32 for each in settings]
    for each in settings:
        each.allow_tf32 = False
    try:
        yield
    finally:
        for each, value in zip(settings, before, strict=True):
            each.allow_tf32 = value


def measure_ceilings(settings: Settings) -> Ceilings:
    """The multiply-add rate of torch's own matrix product, and the bandwidth of its copy."""
    device = settings.device
    cache = last_level_cache(device)
    side = 8192 if device.type == 'cuda' else 768
    sides = (side // 2, side * 2 // 3, side)
    factors = {n: torch.randn(2, n, n, device=device) for n in sides}
    products = {str(n): lambda x=x: torch.mm(x[0], x[1]) for n, x in factors.items()}
    seconds = side_by_side(settings, products)
    source = torch.ones(4 * cache // 4, device=device)
    target = torch.empty_like(source)
    copy = side_by_side(settings, {'copy': lambda: target.copy_(source)})['copy']
    return Ceilings(max(n**3 / seconds[str(n)] for n in sides), 2 * source.nbytes / copy, cache)


def last_level_cache(device: torch.device) -> int:
    """Bytes of the last-level cache; 32 MiB where the system does not say."""
    if device.type == 'cuda':
        return torch.cuda.get_device_properties(device).L2_cache_size
    name = 'SC_LEVEL3_CACHE_SIZE'
    size = os.sysconf(name) if name in os.sysconf_names else 0
    caches = Path('/sys/devices/system/cpu/cpu0/cache')
    if size <= 0 and caches.is_dir():
        sizes = [path.read_text().strip() for path in caches.glob('index*/size')]
        units = {'K': 1 << 10, 'M': 1 << 20}
        size = max((int(each[:-1]) * units[each[-1]] for each in sizes), default=0)
    return size if size > 0 else 32 << 20


def device_named(name: str) -> torch.device:
    """'cpu', 'cuda', 'cuda:1'.

    Raises:
        UsageError: there is no such device.
    """
    try:
        return torch.empty(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f'--device: expected cpu or cuda, where torch has it, got {name}: {in_a_line(error)}'
        ) from error


def machine(device: torch.device) -> str:
    """The processor's name."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def peak_beyond_result(make: Callable[[], tuple[Run, Run]], device: torch.device) -> int:
    """Bytes that a call needs at its peak beyond its inputs and its result.

    On a CPU a process of its own runs it, and its peak of resident memory is read, so that memory
    of any allocator counts and none is left over from earlier calls.

    Args:
        make: a picklable function that returns a small call, which loads code and starts threads,
            and the call to measure; both return a tensor or a tuple of tensors.
        device: where they run.
    """
    if device.type == 'cuda':
        small, run = make()
        small()
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        size = _bytes(run())
        return torch.cuda.max_memory_allocated(device) - before - size
    context = multiprocessing.get_context('spawn')
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_resident_peak, args=(send, make))
    process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError as error:
        raise RuntimeError('the process that measures memory has died, see above') from error
    finally:
        process.join()


def _resident_peak(send: Any, make: Callable[[], tuple[Run, Run]]) -> None:
    small, run = make()
    small()
    resident.check_system()
    resident.forget_peak()
    before = resident.resident()
    result = run()
    send.send(resident.peak() - before - _bytes(result))


def _bytes(result: Any) -> int:
    tensors = result if isinstance(result, tuple) else (result,)
    return sum(tensor.nbytes for tensor in tensors)
