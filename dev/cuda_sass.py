"""What stands in the machine code of a kernel's main loop: counted, for dev/cuda_report.py."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# `/*01b0*/  @P0 FFMA R1, R2, R3, R4 ;  /* encoding */`
_INSTRUCTION = re.compile(r'/\*(?P<address>[0-9a-f]{4,})\*/\s+(?P<text>[^;/]+?)\s*;')
_FUSED = re.compile(r'\b(FFMA|DFMA)\b')
# What leads elsewhere, or waits for threads that went elsewhere.
_BRANCH = re.compile(r'\b(BSSY|BSYNC|BRA|BRX|JMP|CALL|BREAK|WARPSYNC)\b')
_TARGET = re.compile(r'\bBRA(?:\.\w+)*\s+(?:\S+,\s*)?`?\(?(?:0x)?(?P<address>[0-9a-f]+)')


@dataclass(frozen=True)
class Loop:
    """An innermost loop: from the target of a branch back to that branch."""

    instructions: tuple[str, ...]

    @property
    def multiply_adds(self) -> int:
        """Fused ones, in the type of the sums."""
        return sum(bool(_FUSED.search(text)) for text in self.instructions)

    @property
    def branches(self) -> list[str]:
        """Beside the one at its end.

        BRA.DIV is none: a warp that exchanges values takes it only if its threads had parted.
        """
        return [
            text
            for text in self.instructions[:-1]
            if _BRANCH.search(text) and 'BRA.DIV' not in text
        ]


@dataclass(frozen=True)
class Function:
    """A kernel's machine code."""

    symbol: str
    architecture: str  # '9.0'
    code: tuple[tuple[int, str], ...]  # address, instruction

    def has(self, pattern: str) -> bool:
        return any(re.search(pattern, text) for _, text in self.code)

    def innermost_loops(self) -> list[Loop]:
        """In the order of their addresses."""
        spans = []
        for address, text in self.code:
            branch = _TARGET.search(text)
            # The branch to itself that ends the code is no loop.
            if branch is not None and int(branch['address'], 16) < address:
                spans.append((int(branch['address'], 16), address))
        inner = [
            (begin, end)
            for begin, end in spans
            if not any((b, e) != (begin, end) and begin <= b and e <= end for b, e in spans)
        ]
        return [
            Loop(tuple(text for at, text in self.code if begin <= at <= end))
            for begin, end in sorted(set(inner))
        ]

    @property
    def main_loop(self) -> Loop | None:
        """The innermost loop with the most multiply-adds, if any loop has some."""
        loops = [loop for loop in self.innermost_loops() if loop.multiply_adds]
        return max(loops, key=lambda loop: loop.multiply_adds, default=None)


def disassemble(cuobjdump: Path, compiled: Path) -> Iterator[Function]:
    """The kernels of an object file, for every architecture in it."""
    done = subprocess.run(
        [cuobjdump, '-sass', str(compiled)], capture_output=True, text=True, check=True
    )
    return read(done.stdout)


def read(listing: str) -> Iterator[Function]:
    """The kernels in what `cuobjdump -sass` prints."""
    architecture = '?'
    for part in re.split(r'\n(?=\s*(?:Function|code for sm_\w+)\b)', '\n' + listing):
        head = re.match(r'\s*code for sm_(\d+)(\d)', part)
        if head is not None:
            architecture = f'{head[1]}.{head[2]}'
        function = re.match(r'\s*Function : (\w+)', part)
        if function is not None:
            code = tuple(
                (int(match['address'], 16), match['text']) for match in _INSTRUCTION.finditer(part)
            )
            yield Function(function[1], architecture, code)
