"""Each cell in a process of its own, which is told when to run."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ddf_seg.errors import UsageError, in_a_line

from .. import resident
from .forms import Cell, load


class CellFailure(Exception):
    """Why a cell has no result."""


@dataclass(frozen=True)
class Turn:
    """One image: seconds by the clock, of processor time, and pages that were faulted in."""

    wall: float
    cpu: float
    faults: int


@dataclass(frozen=True)
class Started:
    """What a process says before its first turn.

    Attributes:
        ids: of its first image, (1, H, W).
        seconds: to load the form and run two images.
        loaded: bytes that were resident before the first image.
    """

    ids: np.ndarray
    seconds: float
    loaded: int


class Running:
    """The process of a cell. It waits between its turns.

    Args:
        cell: what it runs.
        image: (1, H, W, 3), on which.
        limit: seconds until it has to have run its first image.

    Raises:
        CellFailure: it cannot run, and why.
    """

    def __init__(self, cell: Cell, image: np.ndarray, limit: float) -> None:
        self.cell = cell
        self._isolated = _Isolated(_serve, cell, image)
        self.started: Started = self._isolated.receive(limit)
        self._limit = limit

    def turn(self) -> Turn:
        """Runs the image once."""
        self._isolated.connection.send('run')
        turn: Turn = self._isolated.receive(self._limit)
        return turn

    def stop(self) -> int:
        """Ends the process, and returns its peak of resident bytes since the first image."""
        self._isolated.connection.send('stop')
        peak: int = self._isolated.receive(self._limit)
        self._isolated.end()
        return peak

    def kill(self) -> None:
        self._isolated.end()


def isolated(function: Callable[..., Any], *arguments: Any, limit: float) -> Any:
    """What a function returns, run in a process of its own.

    Raises:
        CellFailure: it raised something, died, or took longer than `limit` seconds.
    """
    process = _Isolated(_call, function, *arguments)
    try:
        return process.receive(limit)
    finally:
        process.end()


class _Isolated:
    """A process that answers by a connection."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        # A fresh interpreter: what the parent has imported would count for all.
        context = multiprocessing.get_context('spawn')
        self.connection, child = context.Pipe()
        self._process = context.Process(target=_answer, args=(child, function, *arguments))
        self._process.start()
        child.close()

    def receive(self, limit: float) -> Any:
        try:
            if not self.connection.poll(limit):
                self.end()
                raise CellFailure(f'not finished after {limit:.0f} s')
            answer = self.connection.recv()
        except (EOFError, ConnectionResetError) as error:
            self._process.join()
            code = self._process.exitcode
            raise CellFailure(f'the process died with exit code {code}') from error
        if isinstance(answer, CellFailure):
            self.end()
            raise answer
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.join()


def _answer(connection: Connection, function: Callable[..., Any], *arguments: Any) -> None:
    # The report's, not that of NNCF's progress bars
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    # OpenMMLab's, in every process
    warnings.simplefilter('ignore')
    try:
        function(connection, *arguments)
    except UsageError as error:
        connection.send(CellFailure(str(error)))
    except Exception as error:
        connection.send(CellFailure(in_a_line(error)))


def _call(connection: Connection, function: Callable[..., Any], *arguments: Any) -> None:
    connection.send(function(*arguments))


def _serve(connection: Connection, cell: Cell, image: np.ndarray) -> None:
    begin = time.perf_counter()
    run = load(cell)
    loaded = resident.resident()
    resident.forget_peak()
    ids = run(image)
    run(image)
    connection.send(Started(ids, time.perf_counter() - begin, loaded))
    while connection.recv() == 'run':
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        wall, cpu = time.perf_counter(), time.process_time()
        run(image)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        connection.send(Turn(wall, cpu, faults))
    connection.send(resident.peak())
