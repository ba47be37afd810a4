"""How torch's threads wait for each other. To be imported before torch."""

from __future__ import annotations

import os

# Any of these says that the user has decided.
_VARIABLES = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')
_SPINS = '3000'


def _wait_briefly() -> None:
    """Have OpenMP's threads spin some tens of microseconds for each other, then sleep.

    The libgomp that torch brings along spins 300,000 times, milliseconds, which are lost where
    another process has the processor that the awaited thread needs: on two busy processors two
    threads take ten to fifty times as long as one. It reads its settings when it is loaded.

    On a quiet machine 3000 keeps up with that, where sleeping at once (OMP_WAIT_POLICY=passive)
    does not: most waits are shorter than it takes to wake a thread.
    """
    if not any(variable in os.environ for variable in _VARIABLES):
        os.environ['GOMP_SPINCOUNT'] = _SPINS


_wait_briefly()
