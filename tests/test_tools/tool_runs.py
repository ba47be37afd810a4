"""What the tests of the tools share besides fixtures."""

from typing import Protocol

from scripts import ROOT

TOOLS = ROOT / 'tools'


class Run(Protocol):
    """Runs tools/train.py or test.py in this process; returns exit code and stderr's error.

    Attributes:
        out: What the last one wrote to stdout.
        err: What it wrote to stderr.
    """

    out: str
    err: str

    def __call__(self, name: str, *arguments: object) -> tuple[int, str]: ...
