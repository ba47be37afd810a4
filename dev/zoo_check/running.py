"""Checks many models, each in a process of its own, and keeps the results."""

from __future__ import annotations

import json
import multiprocessing
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from rich.console import Console
from rich.progress import Progress

from .checking import Result, check_model
from .exporting import Exported, check_export

# What --export does or does not ask of a model, and the form of the answer
CHECKS: dict[bool, tuple[Callable[[str, str], Any], type[Any]]] = {
    False: (check_model, Result),
    True: (check_export, Exported),
}


def check_all(
    export: bool, configs: Iterable[str], out: Path, limit: float, threads: int, console: Console
) -> list[Any]:
    """The results of all, those that are in the file among them.

    Args:
        export: which of `CHECKS`.
        configs: of the zoo, relative to its root.
        out: file with the results, one line of JSON each; the new ones are added as they come.
        limit: seconds for one model.
        threads: of a model.
        console: shows the progress.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = out.read_text().splitlines() if out.exists() else []
    kind = CHECKS[export][1]
    known = {line['config']: kind(**line) for line in map(json.loads, lines)}
    results = []
    with open(out, 'a') as file, Progress(console=console) as progress:
        for config in progress.track(list(configs), description='Checking'):
            if config not in known:
                known[config] = check_isolated(export, config, limit, threads)
                file.write(json.dumps(asdict(known[config])) + '\n')
                file.flush()
            results.append(known[config])
    return results


def _work(export: bool, config: str, connection: Connection, threads: int) -> None:
    torch.set_num_threads(threads)
    warnings.simplefilter('ignore')
    # It reports the initialisation of every parameter.
    MMLogger.get_instance('check_zoo', log_level='ERROR')
    connection.send(asdict(CHECKS[export][0](config, f'mmseg::{config}')))


def check_isolated(export: bool, config: str, limit: float, threads: int) -> Any:
    """One of `CHECKS` in a process that may die or take too long."""
    kind = CHECKS[export][1]
    # Children of a server that has imported everything.
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['ddf_seg.swap', 'mmseg.models'])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(export, config, sender, threads))
    process.start()
    sender.close()
    try:
        if receiver.poll(limit):
            return kind(**receiver.recv())
        return kind(config, 'failed', f'not finished after {limit:.0f} s', seconds=limit)
    except EOFError:
        process.join()
        return kind(config, 'failed', f'the process died with exit code {process.exitcode}')
    finally:
        process.kill()
        process.join()
