"""Compiles a segmentor into a package of AOTInductor, which calls the compiled operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from ..errors import UsageError, in_a_line
from ..files import replacing, unfinished_beside
from ..ops import is_native_available

# The key of a package's metadata under which it has the schemas of the operators that it calls, one
# a line: a program in C++ has to define them before it loads the package.
SCHEMAS = 'ddf_seg_operators'


def check_compiler() -> None:
    """Makes sure that there is a C++ compiler, before anything takes long.

    Raises:
        UsageError: there is none.
    """
    from torch._inductor import cpp_builder

    try:
        cpp_builder.get_cpp_compiler()
    except Exception as error:
        raise UsageError(
            '--format aoti: torch compiles the network in C++ and finds no compiler: install g++, '
            'or name one by CXX=…; --format pt2 needs none'
        ) from error


def is_compiled(operator: torch._ops.OpOverload) -> bool:
    """Whether an operator of ddf_seg has a compiled kernel for the CPU, which is loaded."""
    return is_native_available() and torch._C._dispatch_has_kernel_for_dispatch_key(
        operator.name(), 'CPU'
    )


def write_package(program: ExportedProgram, path: Path, metadata: dict[str, str]) -> None:
    """Compiles a program for this machine's processor.

    Args:
        program: with the operators of ddf_seg in it that have compiled kernels.
        path: .pt2; it is there whole or not at all.
        metadata: about the network; goes into the package.

    Raises:
        UsageError: it cannot be compiled.
    """
    unfinished = unfinished_beside(path, '.pt2')
    about = {**metadata, SCHEMAS: '\n'.join(_schemas(program))}
    with replacing(path, unfinished):
        try:
            torch._inductor.aoti_compile_and_package(
                program,
                package_path=str(unfinished),
                inductor_configs={'aot_inductor.metadata': about},
            )
        except Exception as error:
            raise UsageError(
                f'--format aoti: torch cannot compile the network: {in_a_line(error)}; --format '
                'pt2 needs no compiler'
            ) from error


def _schemas(program: ExportedProgram) -> list[str]:
    """Those of the operators of ddf_seg that a program calls, without the namespace."""
    operators: set[Any] = {
        node.target
        for node in program.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace == 'ddf_seg'
    }
    return sorted(str(op._schema).removeprefix('ddf_seg::') for op in operators)
