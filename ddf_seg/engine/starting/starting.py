"""A folder of pictures and masks becomes a config that trains."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...annotations import IGNORE, Job, convert, write_list
from ...annotations.masks import Masks, read_masks, relabel
from ...errors import UsageError, counted, in_a_line, listed_below
from ..images.headers import read_header
from .class_list import Ask, Classes, choose_classes, read_classes
from .division import divide
from .layout import Layout, Pair, find_layout
from .recipe import Recipe, choose_recipe, count_pixels
from .writing import beside, class_table, config_text, unwritable

CONFIG = 'config.py'
_LABELS, _LISTS = 'ids', 'splits'


@dataclass(frozen=True)
class Options:
    """What a user may say.

    Args:
        root: folder of pictures and masks.
        out: folder to write, which must not exist.
        images, masks: folders below root.
        mask_suffix, skip_unpaired: see `find_layout`.
        classes: names, or a file of them.
        ignore: names, ids or colours that are no class.
        val: share of the pictures that validate, where the folder has no split.
        longest: the longer side that images may have in training.
        load_from: a checkpoint to start from; None: ImageNet's weights alone.
        jobs: number of processes.
        ask: asks for the names of classes; None: nobody is there.
    """

    root: Path
    out: Path
    images: Path | None = None
    masks: Path | None = None
    mask_suffix: str = ''
    skip_unpaired: bool = False
    classes: Sequence[str] = ()
    ignore: Sequence[str] = ()
    val: float = 0.2
    longest: int = 1024
    load_from: str | None = None
    jobs: int = 1
    ask: Ask | None = None


@dataclass(frozen=True)
class Start:
    """What was found and written.

    Args:
        config: the file.
        splits: pictures of each split.
        division: where the splits come from, in words.
        sizes: how many pictures have each width and height.
        classes: names, colours and what became of the masks' values.
        recipe: the numbers of the config.
        left_out: pictures without a mask.
    """

    config: Path
    splits: dict[str, list[Pair]]
    division: str
    sizes: Counter[tuple[int, int]]
    classes: Classes
    recipe: Recipe
    left_out: int


def start(options: Options) -> Start:
    """Looks at a folder and writes label ids, lists and a config for it.

    Nothing of the folder's is changed, and nothing is left behind where it fails.

    Raises:
        UsageError: the folder cannot be understood; says why, and what to do.
    """
    if options.out.exists():
        raise UsageError(
            f'--out-dir: {options.out} exists, and nothing is overwritten: give another folder, '
            'or move it away, with the networks that were trained in it'
        )
    for option, folder in (('FOLDER', options.root), ('--out-dir', options.out)):
        path = folder.resolve().as_posix()
        if part := unwritable(path):
            raise UsageError(f'{option}: expected a path without {part!r}, got {path}: rename it')
    layout = find_layout(
        options.root,
        images=options.images,
        masks=options.masks,
        mask_suffix=options.mask_suffix,
        skip_unpaired=options.skip_unpaired,
        written=(CONFIG, _LABELS, _LISTS),
    )
    pairs = layout.all_pairs
    masks = read_masks([pair.mask for pair in pairs], options.jobs)
    sizes = _sizes(pairs, masks)
    rows, source = read_classes(options.classes, options.root)
    classes = choose_classes(masks, rows, source, options.ignore, options.ask)
    splits, division = _splits(layout, options.val)
    labels = [_label(masks, classes, pair) for pair in splits['train']]
    statistics = count_pixels(classes.names, labels, IGNORE)
    recipe = choose_recipe(list(sizes.values()), len(splits['train']), statistics, options.longest)
    _write(options, splits, masks, classes, recipe)
    return Start(
        options.out / CONFIG,
        splits,
        division,
        Counter(sizes.values()),
        classes,
        recipe,
        len(layout.alone),
    )


def _sizes(pairs: Sequence[Pair], masks: Masks) -> dict[Path, tuple[int, int]]:
    """Width and height of each picture."""

    def read(pair: Pair) -> tuple[int, int] | str:
        try:
            return read_header(str(pair.image)).size
        except Exception as error:  # decoders raise many kinds for a damaged file
            return f'{pair.image}: {in_a_line(error)}'

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, pairs))
    if damaged := [size for size in found if isinstance(size, str)]:
        raise UsageError(
            f'{counted(len(damaged), "picture")} could not be read:{listed_below(damaged)}'
        )
    sizes = {
        pair.image: size
        for pair, size in zip(pairs, found, strict=True)
        if not isinstance(size, str)
    }
    differing = [
        f'{pair.mask}: {_by(masks.records[pair.mask].size)}, its picture {_by(sizes[pair.image])}'
        for pair in pairs
        if sizes[pair.image] != masks.records[pair.mask].size
    ]
    if differing:
        raise UsageError(
            f'{counted(len(differing), "mask")} of another size than the picture:'
            f'{listed_below(differing)}\n'
            'Resize masks without smoothing (nearest neighbour), or mend the pairs'
        )
    return sizes


def _by(size: tuple[int, int]) -> str:
    return f'{size[0]}×{size[1]}'


def _splits(layout: Layout, share: float) -> tuple[dict[str, list[Pair]], str]:
    """The pictures of each split, and where the splits come from."""
    ordered = ('', 'train', 'val', 'test')
    pairs = {split: layout.pairs[split] for split in ordered if split in layout.pairs}
    if 'train' in pairs and 'val' in pairs:
        if '' in pairs:
            raise UsageError(
                f'{counted(len(pairs[""]), "picture")} in no folder named train, val or test, '
                f'where others are; the first is {pairs[""][0].image}: move what has none'
            )
        return pairs, "the folder's own"
    if 'val' in pairs:
        # Somebody has chosen what validates: none of it may train.
        if '' not in pairs:
            raise UsageError(
                'found pictures to validate and none to train: expected a folder train'
            )
        return {'train': pairs.pop(''), **pairs}, "val is the folder's own, the others train"
    # A test set stays one.
    rest = [pair for split in ('train', '') for pair in pairs.get(split, ())]
    train, val = divide(sorted(rest, key=lambda pair: pair.name), share)
    divided = {'train': train, 'val': val}
    if 'test' in pairs:
        divided['test'] = pairs['test']
    return divided, 'divided by name'


def _label(masks: Masks, classes: Classes, pair: Pair) -> Counter[int]:
    """Pixels of each class in a mask."""
    record = masks.records[pair.mask]
    found: Counter[int] = Counter()
    for value, number in ((record.colours if masks.coloured else record.ids) or {}).items():
        found[classes.indices[value]] += number
    return found


def _write(
    options: Options,
    splits: dict[str, list[Pair]],
    masks: Masks,
    classes: Classes,
    recipe: Recipe,
) -> None:
    root, out = options.root.resolve(), options.out.resolve()
    # As the walk through the folder found them: links in it may lead out of it.
    paths = {
        pair: pair.image.relative_to(options.root) for pairs in splits.values() for pair in pairs
    }
    images = _common_folder(paths.values())
    suffixes = {path.suffix for path in paths.values()}
    suffix = suffixes.pop() if len(suffixes) == 1 else ''

    def name(pair: Pair) -> str:
        path = paths[pair].relative_to(images).as_posix()
        return path.removesuffix(suffix) if suffix else path

    inside = root in out.parents
    below = out.relative_to(root).as_posix() if inside else out.as_posix()
    up = '/..' * len(out.relative_to(root).parts) if inside else ''
    total = ', '.join(f'{len(pairs)} to {_PURPOSE[split]}' for split, pairs in splits.items())
    text = config_text(
        title=f'{root.name}: {total}. Written by ddf_seg (ddf-seg init).',
        data_root=beside(up) if inside else repr(root.as_posix()),
        classes=classes,
        recipe=recipe,
        images=images,
        labels=f'{below}/{_LABELS}',
        suffix=suffix,
        lists={split: f'{below}/{_LISTS}/{split}.txt' for split in splits},
        load_from=options.load_from,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=f'.{out.name}-', dir=out.parent))
    except OSError as error:
        raise UsageError(f'--out-dir: {error}') from error
    try:
        labels = unfinished / _LABELS
        jobs = [
            Job((pair.mask, classes.indices, masks.coloured), labels / f'{name(pair)}.png')
            for pair in paths
        ]
        convert(relabel, jobs, options.jobs)
        for split, pairs in splits.items():
            write_list(unfinished / _LISTS / f'{split}.txt', map(name, pairs))
        (unfinished / 'classes.csv').write_text(class_table(classes), encoding='utf-8')
        (unfinished / CONFIG).write_text(text, encoding='utf-8')
        unfinished.chmod(0o777 & ~_umask())
        unfinished.rename(out)
    except (OSError, ValueError) as error:
        raise UsageError(f'--out-dir: {error}') from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


_PURPOSE = {'train': 'train', 'val': 'validate', 'test': 'test'}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _common_folder(images: Iterable[Path]) -> str:
    common = Path(os.path.commonpath([image.parent for image in images])).as_posix()
    return '' if common == '.' else common
