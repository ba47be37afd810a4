from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import mmengine.config.utils
import pytest


@pytest.fixture(autouse=True, scope='session')
def read_metafiles_once() -> Iterator[None]:
    """For every 'mmseg::…' in a `_base_`, mmengine reads all of mmseg's metafiles anew: 0.2 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load', cache(mmengine.config.utils.load))
        yield
