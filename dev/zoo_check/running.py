"""Checks many models, each in a process of its own, and keeps the results."""

from __future__ import annotations

import json
import multiprocessing
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from rich.console import Console
from rich.progress import Progress

from .checking import Result, check_model


def check_all(
    configs: Iterable[str], out: Path, limit: float, threads: int, console: Console
) -> list[Result]:
    """The results of all, those that are in the file among them.

    Args:
        configs: of the zoo, relative to its root.
        out: file with the results, one line of JSON each; the new ones are added as they come.
        limit: seconds for one model.
        threads: of a model.
        console: shows the progress.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = out.read_text().splitlines() if out.exists() else []
    known = {line['config']: Result(**line) for line in map(json.loads, lines)}
    results = []
    with open(out, 'a') as file, Progress(console=console) as progress:
        for config in progress.track(list(configs), description='Checking'):
            if config not in known:
                known[config] = check_isolated(config, limit, threads)
                file.write(json.dumps(asdict(known[config])) + '\n')
                file.flush()
            results.append(known[config])
    return results


def _work(config: str, connection: Connection, threads: int) -> None:
    torch.set_num_threads(threads)
    warnings.simplefilter('ignore')
    # It reports the initialisation of every parameter.
    MMLogger.get_instance('check_zoo', log_level='ERROR')
    connection.send(asdict(check_model(config, f'mmseg::{config}')))


def check_isolated(config: str, limit: float, threads: int) -> Result:
    """`check_model` in a process that may die or take too long."""
    # Children of a server that has imported everything.
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['ddf_seg.swap', 'mmseg.models'])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(config, sender, threads))
    process.start()
    sender.close()
    try:
        if receiver.poll(limit):
            return Result(**receiver.recv())
        return Result(config, 'failed', f'not finished after {limit:.0f} s', seconds=limit)
    except EOFError:
        process.join()
        return Result(config, 'failed', f'the process died with exit code {process.exitcode}')
    finally:
        process.kill()
        process.join()
