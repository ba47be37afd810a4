"""The results as a table."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from prettytable import PrettyTable

from ddf_seg.command_line import markdown_table

from .checking import OUTCOMES, Result
from .exporting import Attempt, Exported


def report(results: Sequence[Result], groups: dict[str, list[str]]) -> str:
    """The counts per family, in configs, and every reason with how many configs have it."""
    table = PrettyTable(['family', 'configs', 'models', *OUTCOMES])
    table.align = 'r'
    table.align['family'] = 'l'
    families: dict[str, list[Result]] = {}
    for result in results:
        families.setdefault(result.config.partition('/')[0], []).append(result)
    rows = [
        (family, _count(members, groups), len(members))
        for family, members in sorted(families.items())
    ]
    for family, counts, models in [*rows, ('all', _count(results, groups), len(results))]:
        table.add_row(
            [family, counts.total(), models, *(counts[outcome] or '' for outcome in OUTCOMES)],
            divider=family == rows[-1][0],
        )
    lines = [table.get_string(), *_scores(results)]
    for outcome in OUTCOMES[1:]:
        reasons: Counter[str] = Counter()
        for result in results:
            if result.outcome == outcome:
                reasons[result.reason] += len(groups[result.config])
        if reasons:
            lines += [f'\n{outcome}:']
            lines += [f'{number:5}  {reason}' for reason, number in reasons.most_common()]
    return '\n'.join(lines)


def _scores(results: Sequence[Result]) -> Iterator[str]:
    """How the swapped models' class scores compare with the originals'."""
    swapped = [result for result in results if result.outcome == 'swapped']
    if exact := [r.difference for r in swapped if r.exact and r.difference is not None]:
        yield (
            f"\nWith the original's weights, {len(exact)} compute its class scores (they differ by "
            f'at most {max(exact):.0e} of the largest)'
        )
    if near := [r.agreement for r in swapped if not r.exact and r.agreement is not None]:
        yield (
            f"\nWith the original's weights, {len(near)} compute others; pixels that get its class "
            f'(the weights are random): median {statistics.median(near):.1%}, least {min(near):.1%}'
        )


def _count(results: Sequence[Result], groups: dict[str, list[str]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for result in results:
        counts[result.outcome] += len(groups[result.config])
    return counts


def export_report(results: Sequence[Exported]) -> str:
    """A row for each model, by its head: what exports and agrees; below, why not. Markdown."""
    reasons: list[str] = []

    def said(attempt: Attempt, result: Exported) -> str:
        reason = result.reason or attempt.reason
        if not reason:
            return f'agrees ({attempt.difference:.0e})'
        if reason not in reasons:
            reasons.append(reason)
        return f'no ({reasons.index(reason) + 1})'

    rows = [
        [
            result.head or result.config.partition('/')[0],
            re.sub(r'_\d+xb.*|\.py', '', result.config.rpartition('/')[2]),
            said(result.original, result),
            result.swapped_head,
            said(result.swapped, result),
        ]
        for result in sorted(results, key=lambda result: (result.head == '', result.head))
    ]
    table = markdown_table(['head', 'config', 'original', 'becomes', 'swapped'], rows)
    return '\n'.join([table, '', *(f'{i}. {reason}' for i, reason in enumerate(reasons, 1))])
