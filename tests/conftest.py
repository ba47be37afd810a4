"""Lets test files import the modules beside them, and those in this folder.

Several folders may have a test_reading.py: pytest's import mode 'importlib' allows it, and leaves
the path to look for modules alone.
"""

import functools
import gc
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from plain_configs import leave_configs_plain

_HERE = Path(__file__).parent
sys.path += [str(folder) for folder in sorted(_HERE.rglob('test_*')) if folder.is_dir()]
# A shell starts what it runs in the background with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What takes long and comes to the same each time, once for all tests."""
    # Garbage in what was imported: mmengine searches for it for every dataset.
    gc.collect()
    gc.freeze()
    # For a config by its name, mmengine reads the metafiles of the whole zoo.
    if utils := sys.modules.get('mmengine.config.utils'):
        utils.load = functools.cache(utils.load)
    if 'mmengine.config.config' in sys.modules:
        leave_configs_plain()


@pytest.fixture(autouse=True)
def forget_loggers() -> Iterator[None]:
    """mmengine keeps its loggers, and these write to what was stdout when they were made."""
    yield
    if logging := sys.modules.get('mmengine.logging'):
        logging.MMLogger._instance_dict.clear()
