"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from .statistics import Statistics


class Severity(IntEnum):
    """How bad it is: an error stops a training or spoils it, a warning may be meant so."""

    WARNING = 1
    ERROR = 2


@dataclass
class Finding:
    """A fault of a split.

    Args:
        severity: error or warning.
        kind: A word for programs: missing-label, foreign-ids …
        split: name of the split; 'model' for what the config says of the model.
        message: what is wrong, and what to do.
        files: every file concerned.
    """

    severity: Severity
    kind: str
    split: str
    message: str
    files: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line, with the first file."""
        file = self.files[0] if self.files and self.files[0] not in self.message else ''
        return f'{self.split}: {self.message}' + (f' ({file})' if file else '')

    def as_dict(self) -> dict[str, Any]:
        """The finding for JSON."""
        return {
            'severity': self.severity.name.lower(),
            'kind': self.kind,
            'split': self.split,
            'message': self.message,
            'count': len(self.files),
            'files': self.files,
        }


@dataclass
class Result:
    """What a check found out.

    Args:
        findings: the faults, the worst first.
        statistics: of every split.
        total: how many pairs every split has, of which the check may have read some.
    """

    findings: list[Finding]
    statistics: dict[str, Statistics]
    total: dict[str, int]
