"""The classes of a folder of masks: names, colours, and the index that each id or colour gets."""

from __future__ import annotations

import colorsys
import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...annotations import IGNORE
from ...annotations.masks import MOST_CLASSES, Colour, Masks, packed, unpacked
from ...errors import UsageError, counted, hint, listed_below

# Where a folder may say what its classes are
FILES = (
    'classes.csv', 'class_dict.csv', 'classes.txt', 'labelmap.txt', 'label_colors.txt',
    'labels.txt',
)  # fmt: skip
_VOID = {'void', 'ignore', 'ignored', 'unlabeled', 'unlabelled', 'unknown'}
_COLUMNS = {
    'name': ('name', 'class', 'class_name', 'classname'),
    'id': ('id', 'index', 'label', 'value'),
    'red': ('red', 'r'),
    'green': ('green', 'g'),
    'blue': ('blue', 'b'),
}
_NAME_FIRST = re.compile(r'(.+?)[\s,:;]+(\d+)[\s,;]+(\d+)[\s,;]+(\d+)(?:\s*:.*)?')
_COLOUR_FIRST = re.compile(r'(\d+)[\s,;]+(\d+)[\s,;]+(\d+)[\s,;]+(.+)')

# Gets a question; answers, or has nothing more to say
Ask = Callable[[str], str | None]


@dataclass(frozen=True)
class Row:
    """A class as a table names it."""

    name: str
    id: int | None = None
    colour: Colour | None = None


@dataclass(frozen=True)
class Classes:
    """The classes that a network learns.

    Args:
        names: in the order of their indices.
        palette: their colours.
        indices: of each value in the masks (an id, or a packed colour): the class, or 255.
        notes: what was decided without being asked for.
    """

    names: list[str]
    palette: list[Colour]
    indices: dict[int, int]
    notes: list[str]


def read_classes(given: Sequence[str], root: Path) -> tuple[list[Row], str]:
    """The classes as the command line or a file in the folder names them.

    Args:
        given: of --classes: names, or one file.
        root: the folder.

    Returns:
        The rows, and where they come from; nothing where nobody says.

    Raises:
        UsageError: the file cannot be read as a table of classes.
    """
    if given:
        file = Path(given[0])
        if len(given) > 1 or not (file.suffix or file.is_file()):
            return _checked([Row(name) for name in given], '--classes'), '--classes'
        return _checked(_read_table(file), str(file)), str(file)
    for name in FILES:
        if (root / name).is_file():
            return _checked(_read_table(root / name), str(root / name)), str(root / name)
    return [], ''


def _read_table(file: Path) -> list[Row]:
    try:
        text = file.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f'--classes: {file} cannot be read: {error}') from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith('#')]
    head = [cell.strip().lower() for cell in lines[0].split(',')] if lines else []
    if file.suffix.lower() == '.csv' and set(head) & set(_COLUMNS['name']):
        return [_from_csv(row, file) for row in csv.DictReader(lines, head)][1:]
    return [_from_line(line) for line in lines]


def _from_csv(row: dict[str, str], file: Path) -> Row:
    def cell(column: str) -> str:
        names = [name for name in _COLUMNS[column] if row.get(name)]
        return row[names[0]].strip() if names else ''

    numbers = [cell(column) for column in ('id', 'red', 'green', 'blue')]
    if not cell('name'):
        raise UsageError(f'{file}: a row has no name: {",".join(map(str, row.values()))}')
    if cell('name').lower() in _COLUMNS['name']:
        return Row(cell('name'))
    try:
        index, *colour = [int(number) if number else None for number in numbers]
    except ValueError as error:
        raise UsageError(f'{file}: {cell("name")}: {error}') from error
    red, green, blue = colour
    if red is None or green is None or blue is None:
        return Row(cell('name'), index)
    return Row(cell('name'), index, (red, green, blue))


def _from_line(line: str) -> Row:
    if match := _COLOUR_FIRST.fullmatch(line):
        *colour, name = match.groups()
    elif match := _NAME_FIRST.fullmatch(line):
        name, *colour = match.groups()
    else:
        return Row(line.rstrip(':,; '))
    red, green, blue = map(int, colour)
    return Row(name, None, (red, green, blue))


def _checked(rows: list[Row], source: str) -> list[Row]:
    if not rows:
        raise UsageError(f'{source}: expected names of classes, got none')
    kinds: list[tuple[str, list[Any]]] = [
        ('name', [row.name for row in rows]),
        ('id', [row.id for row in rows if row.id is not None]),
        ('colour', [row.colour for row in rows if row.colour is not None]),
    ]
    for what, values in kinds:
        doubled = [value for value in values if values.count(value) > 1]
        if doubled:
            raise UsageError(f'{source}: the {what} {doubled[0]} occurs twice')
    if wrong := [row for row in rows if row.colour and max(row.colour) > 255]:
        raise UsageError(f'{source}: {wrong[0].name}: colours go up to 255, got {wrong[0].colour}')
    if wrong := [row for row in rows if row.id is not None and not 0 <= row.id <= 255]:
        raise UsageError(f'{source}: {wrong[0].name}: ids go up to 255, got {wrong[0].id}')
    return rows


def choose_classes(
    masks: Masks, rows: Sequence[Row], source: str, ignore: Sequence[str], ask: Ask | None
) -> Classes:
    """What becomes of each id or colour.

    Args:
        masks: what the files hold.
        rows: the classes, if somebody says them.
        source: where they come from, for messages.
        ignore: of --ignore: names, ids or colours ('0,0,0') that are no class.
        ask: asks for a name; None: nobody is there.

    Raises:
        UsageError: files and rows do not fit together, or there are too many classes.
    """
    valued = _values_of_rows(masks, rows, source)
    void = _void(masks, valued, ignore)
    notes = [f'{row.name} is ignored' for row in rows if row.name.lower() in _VOID]
    if not rows:
        valued = _infer(masks, void, ask)
    named = set(valued.values())
    if not masks.coloured and IGNORE not in named and IGNORE in masks.pixels:
        void.add(IGNORE)
        notes.append('id 255 is ignored')
    foreign = [value for value in sorted(masks.pixels) if value not in named | void]
    if foreign:
        raise UsageError(_foreign(masks, foreign, source))
    kept = {row: value for row, value in valued.items() if value not in void}
    if not 2 <= len(kept) <= MOST_CLASSES:
        raise UsageError(
            f'expected 2 to {MOST_CLASSES} classes, got {len(kept)}:{_shown(masks, kept.values())}'
        )
    if not masks.coloured and set(masks.pixels) == {0, 255} and 255 in kept.values():
        notes.append('the masks hold 0 and 255, which become 0 and 1')
    if not rows and masks.coloured and 0 in kept.values() and ask is None:
        notes.append('the colour 0 0 0 counts as a class; --ignore 0,0,0 if it means no label')
    indices = {value: index for index, value in enumerate(kept.values())}
    indices.update(dict.fromkeys(void, IGNORE))
    return Classes(
        [row.name for row in kept],
        [row.colour or _colour(index) for index, row in enumerate(kept)],
        indices,
        notes,
    )


def _void(masks: Masks, valued: dict[Row, int], ignore: Sequence[str]) -> set[int]:
    """The values that are no class."""
    values = {row.name: value for row, value in valued.items()}
    void = {values[name] for name in values if name.lower() in _VOID}
    for text in ignore:
        if text in values:
            void.add(values[text])
        elif re.fullmatch(r'\d+', text) and not masks.coloured:
            void.add(int(text))
        elif re.fullmatch(r'\d+,\d+,\d+', text) and masks.coloured:
            void.add(packed([int(part) for part in text.split(',')]))
        else:
            kind = 'a colour such as 0,0,0' if masks.coloured else 'an id'
            raise UsageError(
                f'--ignore: expected a class or {kind}, got {text!r}{hint(text, values)}'
            )
    return void


def _values_of_rows(masks: Masks, rows: Sequence[Row], source: str) -> dict[Row, int]:
    binary = len(rows) == 2 and set(masks.pixels) == {0, 255} and not masks.coloured
    if binary and all(row.id is None for row in rows):
        return dict(zip(rows, (0, 255), strict=True))
    found = {}
    for index, row in enumerate(rows):
        if not masks.coloured:
            found[row] = index if row.id is None else row.id
        elif row.colour:
            found[row] = packed(row.colour)
        else:
            raise UsageError(
                f'{source}: the masks hold colours, and {row.name} has none. Give a file with '
                f'lines such as "road 128 64 128". The masks hold:{_shown(masks, masks.pixels)}'
            )
    return found


def _infer(masks: Masks, void: set[int], ask: Ask | None) -> dict[Row, int]:
    values = sorted(set(masks.pixels) - void)
    binary = values == [0, 255] and not masks.coloured
    if not (masks.coloured or binary):
        values = [value for value in values if value != IGNORE]
    total = sum(masks.pixels.values())
    found: dict[Row, int] = {}
    for value in values[: MOST_CLASSES + 1]:
        colour = unpacked(value) if masks.coloured else None
        if not masks.coloured and value in masks.palette:
            colour = unpacked(masks.palette[value])
        names = {row.name for row in found}
        default = _default_name(value, colour if masks.coloured else None, binary)
        while default in names:
            default += '_'
        name = ''
        while not name and ask is not None:
            what = f'colour {colour}' if masks.coloured else f'id {value}'
            share = 100 * masks.pixels[value] / total
            answer = ask(f'{what}, {share:.2g} % of the pixels; name, or - to ignore [{default}]: ')
            if answer is None:
                ask = None
            else:
                name = answer.strip() or default
            # The name of another class: asked again
            name = '' if name in names else name
        if name == '-':
            void.add(value)
        else:
            found[Row(name or default, value, colour)] = value
    return found


def _default_name(value: int, colour: Colour | None, binary: bool) -> str:
    if binary:
        return 'object' if value else 'background'
    if colour is not None:
        return 'colour_' + '_'.join(map(str, colour))
    return f'class_{value}'


def _foreign(masks: Masks, values: Sequence[int], source: str) -> str:
    example = next(
        file
        for file, record in masks.records.items()
        if values[0] in ((record.colours if masks.coloured else record.ids) or {})
    )
    kind = 'colour' if masks.coloured else 'id'
    return (
        f'the masks hold {counted(len(values), kind)} that {source} does not name; the first is in '
        f'{example}. Name all there, or leave some out with --ignore:{_shown(masks, values)}'
    )


def _shown(masks: Masks, values: Iterable[int]) -> str:
    """The values and how often they occur, a line each, the commonest first."""
    total = sum(masks.pixels.values()) or 1
    ordered = sorted(values, key=lambda value: -masks.pixels[value])
    lines = [
        f'{" ".join(map(str, unpacked(value))) if masks.coloured else value}   '
        f'({100 * masks.pixels[value] / total:.2g} % of the pixels)'
        for value in ordered
    ]
    return listed_below(lines, 40)


def _colour(index: int) -> Colour:
    """Colours that lie apart: hues by the golden ratio."""
    red, green, blue = colorsys.hsv_to_rgb(
        index * 0.618034 % 1.0, 0.55 + 0.35 * (index % 2), 0.95 - 0.2 * (index % 3)
    )
    return round(255 * red), round(255 * green), round(255 * blue)
