"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from ddf_seg.command_line import markdown_table

from . import FORMS, ROWS
from .measuring import Result, Results

_HEAD = (
    'form', 'network', 'ms', 'least', 'of the processor', 'to bilinear', 'to eager',
    'page faults', 'peak MB', 'same class',
)  # fmt: skip


def report(results: Results) -> str:
    """A table for each size, why cells have no numbers, and where it was measured."""
    sizes = dict.fromkeys(size for _, _, size in results.cells)
    parts = []
    for height, width in sizes:
        lines = list(_lines(results, (height, width)))
        table = markdown_table(_HEAD, lines)
        parts.append(f'### {height}×{width}\n\n{table}')
    failures = [
        f'- {r.row}, {r.form}, {r.size[0]}×{r.size[1]}: {r.failure}'
        for r in results.cells.values()
        if r.failure
    ]
    if failures:
        parts.append('Not measured:\n\n' + '\n'.join(failures))
    c = results.circumstances
    parts.append(
        f'{c["machine"]}, {c["threads"]} of {c["cores"]} threads, torch {c["torch"]}, onnxruntime '
        f'{c["onnxruntime"]}, openvino {c["openvino"]}'
    )
    return '\n\n'.join(parts)


def _lines(results: Results, size: tuple[int, int]) -> Iterator[list[str]]:
    measured = {(r.form, r.row): r for r in results.cells.values() if r.size == size}
    for form in FORMS:
        for row in ROWS:
            result = measured.get((form, row))
            if result is None:
                continue
            if result.failure:
                yield [form, row, 'not measured', *[''] * (len(_HEAD) - 3)]
                continue
            yield [
                form,
                row,
                f'{1e3 * result.wall:.1f}',
                f'{1e3 * result.least:.1f}',
                f'{1e3 * result.cpu:.1f}',
                _ratio(result, measured.get((form, 'bilinear'))),
                _ratio(result, measured.get(('eager', row))),
                f'{result.faults:.0f}',
                f'{result.peak / 1e6:.0f}',
                f'{result.agreement:.2%}',
            ]


def _ratio(result: Result, base: Result | None) -> str:
    return f'{result.wall / base.wall:.2f}' if base and not base.failure else ''
