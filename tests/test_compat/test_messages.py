"""Standard output is the user's."""

from __future__ import annotations

from processes import run_loaded

CODE = """
import logging
{before}
from mmengine.logging import print_log, MMLogger
import mmengine.runner.runner as user
print_log('Could not import OneDL', level=logging.DEBUG)
user.print_log('Could not import that', level=logging.DEBUG)
print_log('for the user')
print_log('a warning', level=logging.WARNING)
print_log('to nobody', logger='silent')
MMLogger.get_instance('a')
print_log('to the log', 'current', logging.ERROR)
"""


def test_messages_for_developers_are_not_printed() -> None:
    """What the maintained forks say on import, and mmengine prints."""
    lines = [
        line
        for line in run_loaded(CODE.format(before='')).stdout.splitlines()
        if 'ERROR' not in line
    ]
    assert lines == ['Could not import OneDL', 'Could not import that', 'for the user', 'a warning']
    # Nor is anything on import, on either family of packages.
    mended = run_loaded(CODE.format(before='import mmengine.runner, ddf_seg.openmmlab'))
    assert mended.returncode == 0, mended.stderr
    *lines, logged = mended.stdout.splitlines()
    assert lines == ['for the user', 'a warning']
    assert 'ERROR' in logged
    assert logged.endswith(' - to the log')
