"""The datasets within a dataset, and the steps of their pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def nested(dataset: Any) -> Iterator[Any]:
    """A dataset and those within it, as ConcatDataset, RepeatDataset and the like have them."""
    yield dataset
    for item in _inner(dataset):
        yield from nested(item)


def leaves(dataset: Any) -> list[Any]:
    """The datasets within a dataset that read files: itself, mostly."""
    return [item for item in nested(dataset) if not _inner(item)]


def _inner(dataset: Any) -> list[Any]:
    single = getattr(dataset, 'dataset', None)
    return list(getattr(dataset, 'datasets', None) or ([] if single is None else [single]))


def steps(dataset: Any) -> Iterator[Any]:
    """The transforms of a dataset's pipeline, with those within RandomChoice, TestTimeAug …"""
    yield from _within(getattr(dataset, 'pipeline', None))


def _within(node: Any) -> Iterator[Any]:
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from _within(item)
    elif callable(node):
        yield node
        # What Compose and the wrappers of transforms call theirs
        for name in ('transforms', 'subroutines'):
            yield from _within(getattr(node, name, None))


def find_loader(dataset: Any, name: str) -> Any:
    """The first step with such a name in its class's, as 'LoadImage'; None where there is none."""
    return next((step for step in steps(dataset) if name in type(step).__name__), None)


def loads_labels(dataset: Any) -> bool:
    """Whether a dataset's pipeline reads labels; so does one that has no pipeline."""
    if getattr(dataset, 'pipeline', None) is None:
        return True
    return find_loader(dataset, 'LoadAnnotations') is not None
