"""What the tools show of mmengine's messages: what a person reads. The log file has them all."""

from __future__ import annotations

import functools
import logging
import re
from collections import Counter
from typing import Any

from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from mmengine.runner import Runner
from torch import nn

# Machine and libraries, the whole config and the order of hooks take 400 lines at the start, the
# options of each parameter another 400. The rest is upstream's own use of what it calls deprecated.
_FOR_THE_LOG_FILE = re.compile(
    r'\n-+\nSystem environment:|Config:\n|Hooks will be executed|Exp name: |paramwise_options -- '
    r'|\S+ is skipped since its requires_grad=False'
    r'|"FileClient" will be deprecated|"HardDiskBackend" is the alias'
    r'|IoUMetric got empty `self\.results`|The prefix is not set in metric|Loads checkpoint by '
)


class _ForPeople(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or not _FOR_THE_LOG_FILE.match(record.getMessage())


class ToolRunner(Runner):
    """A Runner whose screen shows less than its log file."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(_ForPeople())
        return logger

    def build_model(self, model: Any) -> nn.Module:
        built = super().build_model(model)
        if isinstance(built, BaseModule):
            # mmengine's takes two lines for each parameter.
            built._dump_init_info = functools.partial(_log_initialisation, built)
        return built


def _log_initialisation(model: BaseModule) -> None:
    groups = Counter(
        (name.partition('.')[0], model._params_init_info[parameter]['init_info'].strip())
        for name, parameter in model.named_parameters()
    )
    lines = [f'\n  {part}: {number} × {info}' for (part, info), number in groups.items()]
    MMLogger.get_current_instance().info(f'Initialisation of the parameters:{"".join(lines)}')
