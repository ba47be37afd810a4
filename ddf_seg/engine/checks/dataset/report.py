"""Shows what a check found, to people and to programs."""

from __future__ import annotations

from typing import Any

from prettytable import PrettyTable

from ....errors import counted
from .findings import Result, Severity

# 1 and 2 mean that config or command line cannot be used.
_EXIT_CODES = {None: 0, Severity.WARNING: 3, Severity.ERROR: 4}
_FILES_SHOWN = 5


def exit_code(result: Result) -> int:
    """0 for nothing found, 3 for warnings only, 4 for errors."""
    worst = max((finding.severity for finding in result.findings), default=None)
    return _EXIT_CODES[worst]


def to_json(result: Result) -> dict[str, Any]:
    """All of a result; the files of every finding are complete."""
    return {
        'findings': [finding.as_dict() for finding in result.findings],
        'splits': {
            name: {
                'images': result.total[name],
                'images_read': item.images,
                'ignored_pixels': item.ignored,
                'classes': [
                    {'name': label, 'pixels': pixels, 'images': images}
                    for label, pixels, images in zip(
                        item.classes, item.pixels.tolist(), item.images_with.tolist(), strict=True
                    )
                ],
                'class_weights': item.class_weights(),
            }
            for name, item in result.statistics.items()
        },
    }


def format_report(result: Result) -> str:
    """A text of tables and findings."""
    parts = [_format_split(result, name) for name in result.statistics]
    train = result.statistics.get('train')
    if train is not None and (weights := train.class_weights()):
        parts.append(
            'Class weights from the training labels (loss_decode.class_weight):\n'
            + '\n'.join(
                f'  {name}: [{", ".join(f"{value:.3g}" for value in values)}]'
                for name, values in weights.items()
            )
        )
    parts.append(_format_findings(result))
    return '\n\n'.join(parts)


def _format_split(result: Result, name: str) -> str:
    item = result.statistics[name]
    labelled = int(item.pixels.sum())
    ignored = f'{item.ignored_share:.1f} % of the pixels ignored'
    title = f'{name}: {counted(item.images, "image")}'
    if not labelled:
        return f'{title}, no labelled pixel' + (f', {ignored}' if item.ignored else '')
    table = PrettyTable(['class', 'pixels', 'share %', 'images'])
    table.align = 'r'
    table.align['class'] = 'l'
    for label, pixels, images in zip(item.classes, item.pixels, item.images_with, strict=True):
        table.add_row([label, pixels, f'{100 * pixels / labelled:.2f}', images])
    return f'{title}, {ignored}\n{table.get_string()}'


def _format_findings(result: Result) -> str:
    if not result.findings:
        return 'Nothing found.'
    lines = []
    for finding in result.findings:
        lines.append(f'{finding.severity.name} {finding.split}: {finding.message}')
        lines += [f'    {file}' for file in finding.files[:_FILES_SHOWN]]
        if len(finding.files) > _FILES_SHOWN:
            lines.append(f'    … and {len(finding.files) - _FILES_SHOWN} more (--json lists all)')
    return '\n'.join(lines)
