"""Whether every image of a test set has a name of its own for what is predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import UsageError


def check_names(dataset: Any, out: str) -> None:
    """Makes sure that no two images of a test set have one name, by which mmseg writes predictions.

    Raises:
        UsageError: names the first two.
    """
    seen: dict[str, str] = {}
    for index in range(len(dataset)):
        file = dataset.get_data_info(index).get('img_path', '')
        other = seen.setdefault(Path(file).stem, file)
        if other != file:
            raise UsageError(
                f'--out: {other} and {file} would both be written to {Path(out, Path(file).stem)}'
                '.png: test one folder at a time (test_dataloader.dataset.data_prefix)'
            )
