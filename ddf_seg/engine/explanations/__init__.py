"""What to show for a failure, and for a fault that a check finds.

- `tracebacks`: the frames that an error came through, which alone know what it was about
- `building`: why something could not be built from a config
- `config_files`: why a config file could not be read
- `pipelines`: which file and step of a dataset's pipeline failed
- `dataset_faults`: the words for missing files, sizes that differ, foreign ids …
"""

from __future__ import annotations

from .building import explained

__all__ = ['explained']
