"""Takes a traced network to other operators: to torch's own, or to ONNX's."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.onnx import ONNXProgram

from ..errors import UsageError, in_a_line
from .decompositions import decomposition_table

OPSET = 18
# onnxscript's own, but for `slice_split` and those of training, quantization, matrices and scatter.
# Each makes a graph smaller, no more; versions before 0.7 lack some.
_RULES = (
    'cast_cast',
    'no_op_cast',
    'no_op_expand',
    'no_op_transpose',
    'add_0',
    'sub_0',
    'mul_by_1',
    'div_by_1',
    'cast_constant_of_shape',
    'collapse_slice',
    'collapse_slice2',
    'materialize_reshape_shape',
    'reshape_reshape',
    'flatten_to_reshape',
    'squeeze_reshape_1d',
    'unsqueeze_unsqueeze',
    'transpose_transpose',
    'successive_relu',
    'successive_relu_clip',
    'successive_clip_relu',
    'successive_clip',
    'normalize_pad_format_conv',
    'fuse_pad_into_conv',
    'fuse_batchnorm_into_conv',
    'fuse_batchnorm_into_conv_transpose',
    'fuse_batchnorm_into_gemm',
)


def to_onnx(
    program: ExportedProgram,
    optimize: bool = True,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> ONNXProgram:
    """A program in ONNX's operators.

    torch.onnx decomposes what it is given, by a table of its own. Here ours joins that table: each
    decomposition traces the network anew, which is most of an export's time.

    Args:
        program: with our operators in it; stays as it is.
        optimize: whether to simplify the graph. Runtimes do so, too, but not all of it.
        input_names, output_names: of the graph's.

    Raises:
        UsageError: one of its operators has no form in other runtimes, or in ONNX.
    """
    taken = copy.copy(program)

    def decompose(table: dict[Any, Callable[..., Any]]) -> ExportedProgram:
        return decomposed(program, {**table, **decomposition_table()})

    taken.run_decompositions = decompose
    try:
        with quiet(), quick():
            exported = torch.onnx.export(
                taken,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                optimize=False,
                input_names=input_names,
                output_names=output_names,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        if isinstance(error.__cause__, UsageError):
            raise error.__cause__ from None
        raise UsageError(
            f'--format onnx: the network has an operator that ONNX has not: {in_a_line(error)}. '
            '--format pt2 keeps it'
        ) from error
    assert exported is not None
    if optimize:
        _optimize(exported.model)
    return exported


def _optimize(model: Any) -> None:
    """What onnxscript's optimizer does, but for a rule of it that looks at all pairs of nodes.

    That one, for slices that halve an axis, takes two thirds of an optimization and finds nothing.
    """
    from onnx_ir.passes import Sequential, common
    from onnxscript import optimizer
    from onnxscript.rewriter import rewrite
    from onnxscript.rewriter.rules import common as rules

    known = [rule for name in _RULES if (rule := getattr(rules, f'{name}_rule', None))]
    optimizer.inline(model)
    # Most nodes are constants, or compute a size once more: they go before rules are tried.
    optimizer.fold_constants(model)
    optimizer.remove_unused_nodes(model)
    common.CommonSubexpressionEliminationPass()(model)
    for _ in range(2):
        optimizer.fold_constants(model, onnx_shape_inference=True)
        rewrite(model, known)
    Sequential(
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)


def decomposed(
    program: ExportedProgram,
    table: dict[Any, Callable[..., Any]],
    all_of_them: bool = True,
) -> ExportedProgram:
    """A program with other operators in place of those in a table.

    Args:
        program: stays as it is.
        table: what computes an operator of the program.
        all_of_them: whether the operators of others than torch have to go.

    Raises:
        UsageError: one is left, or cannot be traced.
    """
    if all_of_them:
        _check_operators(program, table)
    try:
        with torch.no_grad(), quiet(), quick():
            found = program.run_decompositions(table)
    except Exception as error:
        raise cannot_follow(error, bool(program.range_constraints)) from error
    drop_assertions(found)
    return found


def cannot_follow(error: Exception, free: bool) -> UsageError:
    instead = '; --size and --batch fix them, and more networks can be exported so'
    return UsageError(
        'the network cannot be exported, torch.export cannot follow it'
        f'{" with free sizes" if free else ""}: {in_a_line(error)}{instead if free else ""}'
    )


def drop_assertions(program: ExportedProgram) -> None:
    """What torch takes for granted of free sizes: more than the network needs, as 1 ≠ H."""
    aten = torch.ops.aten
    for node in list(program.graph.nodes):
        if node.target in (aten._assert_scalar.default, aten._assert_tensor_metadata.default):
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()


def quick() -> contextlib.AbstractContextManager[Any]:
    """torch's exporter without a cache that costs more than it saves, where sizes are symbols."""
    return torch._dynamo.config.patch(fake_tensor_cache_enabled=False)


def _check_operators(program: ExportedProgram, table: dict[Any, Callable[..., Any]]) -> None:
    """Makes sure that operators of others than torch have a form in torch's."""
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    left = sorted(
        {
            str(node.target)
            for node in program.graph.nodes
            if isinstance(node.target, torch._ops.OpOverload)
            and node.target.namespace not in ('aten', 'prims', '_operator')
            and node.target not in table
            and not node.target.has_kernel_for_dispatch_key(composite)
        }
    )
    if left:
        raise UsageError(
            f'the network cannot be exported: {", ".join(left)} has no form that other runtimes '
            'know; replace the layer that calls it'
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leaves out what torch's exporter says about packages and functions of its own."""
    log = logging.getLogger('torch.onnx')
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        log.setLevel(level)
