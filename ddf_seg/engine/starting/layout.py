"""Which file in a folder is a picture, which its mask, and which split both belong to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError, counted, listed
from ...files import files_below
from ..images import IMAGES

SPLITS = {
    'train': 'train', 'training': 'train',
    'val': 'val', 'valid': 'val', 'validation': 'val', 'eval': 'val',
    'test': 'test', 'testing': 'test',
}  # fmt: skip
# Words in the names of folders and files, in lower case and without separators
_MASK_WORDS = (
    'groundtruth', 'segmentationclass', 'segmentation', 'annotations', 'annotation', 'annot',
    'labeltrainids', 'labelids', 'labels', 'label', 'masks', 'mask', 'gtfine', 'targets', 'target',
    'gt', 'seg',
)  # fmt: skip
_IMAGE_WORDS = (
    'leftimg8bit', 'jpegimages', 'pictures', 'picture', 'images', 'image', 'photos', 'frames',
    'inputs', 'imgs', 'img', 'rgb',
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A picture and its mask.

    Args:
        name: both have it, and no other pair: folders and stem without the words for masks.
        image: the picture.
        mask: its mask.
    """

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    Args:
        pairs: of each split, by name; all in '' where the folder has no splits.
        alone: pictures without a mask, which are left out.
    """

    pairs: dict[str, list[Pair]]
    alone: list[Path]

    @property
    def all_pairs(self) -> list[Pair]:
        return [pair for pairs in self.pairs.values() for pair in pairs]


def find_layout(
    root: Path,
    *,
    images: Path | None = None,
    masks: Path | None = None,
    mask_suffix: str = '',
    skip_unpaired: bool = False,
    written: Sequence[str] = (),
) -> Layout:
    """Pairs the files below a folder.

    Args:
        root: the folder.
        images, masks: folders below it, where names do not tell.
        mask_suffix: what the files of masks end with, where a picture has several.
        skip_unpaired: leave pictures without a mask out.
        written: what is in a folder that an earlier run wrote, to pass over.

    Raises:
        UsageError: there are no pictures or no masks, or they do not pair.
    """
    if not root.is_dir():
        raise UsageError(f'FOLDER: expected a folder, got {root}')
    for option, folder in (('--images', images), ('--masks', masks)):
        if folder is not None and not folder.is_dir():
            raise UsageError(f'{option}: {folder} is no folder')

    def is_written(folder: Path) -> bool:
        return bool(written) and all((folder / name).exists() for name in written)

    files = [file for file in files_below(root, is_written) if file.suffix.lower() in IMAGES]
    if not files:
        raise UsageError(f'{root}: expected pictures and masks, but holds no image file')
    pictures: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    found: list[Path] = []
    for file in files:
        if _is_mask(file, root, images, masks):
            if file.name.endswith(mask_suffix):
                found.append(file)
        elif images is None or images in file.parents:
            pictures[_keys(file, images or root, _IMAGE_WORDS)[-1]].append(file)
    labels: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for file in found:
        keys = _keys(file, masks or root, (*_MASK_WORDS, *_IMAGE_WORDS, 'l'))
        labels[next((key for key in keys if key in pictures), keys[-1])].append(file)
    _check_found(root, pictures, labels, mask_suffix)
    _check_single('pictures', pictures, 'Rename one of them')
    _check_single('masks', labels, 'Say which with --mask-suffix, what the right ones end with')
    alone = [
        pictures[key][0]
        for key in sorted(pictures)
        # Pictures to test on need no mask.
        if key not in labels and _split(key) != 'test'
    ]
    foreign = [labels[key][0] for key in sorted(labels) if key not in pictures]
    if foreign:
        raise UsageError(
            f'{counted(len(foreign), "mask")} without a picture: {listed(foreign)}. A picture and '
            'its mask need the same name, apart from words such as _mask. Say where they are with '
            '--images and --masks, which end like masks with --mask-suffix, or move away what has '
            'none'
        )
    if alone and not skip_unpaired:
        raise UsageError(
            f'{counted(len(alone), "picture")} without a mask: {listed(alone)}. '
            '--skip-unpaired leaves out what has none'
        )
    pairs: dict[str, list[Pair]] = defaultdict(list)
    for key in sorted(set(pictures) & set(labels)):
        pairs[_split(key)].append(Pair('/'.join(key), pictures[key][0], labels[key][0]))
    return Layout(dict(pairs), alone)


def _split(key: tuple[str, ...]) -> str:
    return next((SPLITS[part.lower()] for part in key[:-1] if part.lower() in SPLITS), '')


def _is_mask(file: Path, root: Path, images: Path | None, masks: Path | None) -> bool:
    """By the folders given; else by the nearest folder whose name tells; else by the file's."""
    if masks is not None:
        return masks in file.parents
    if images is not None and images in file.parents:
        return False
    for part in reversed(file.relative_to(root).parent.parts):
        if _without(part, _MASK_WORDS) != part:
            return True
        if _without(part, _IMAGE_WORDS) != part:
            # Masks may lie beside their pictures.
            break
    return len(_stems(file.stem, _MASK_WORDS)) > 1


def _keys(file: Path, root: Path, words: Sequence[str]) -> list[tuple[str, ...]]:
    """What a picture and its mask may have in common: all of the name first, then less."""
    parts = file.relative_to(root).parent.parts
    folders = [part for part in (_without(part, words) for part in parts) if part]
    return [(*folders, stem) for stem in _stems(file.stem, words)]


def _without(folder: str, words: Iterable[str]) -> str:
    """A folder's name without the words: 'train_labels' and 'trainannot' are 'train'."""
    for word in words:
        match = re.fullmatch(rf'(?i)(.*?)[-_ .]?{word}(?:[-_ .]?(?:png|rgb|full|\d*))?', folder)
        if match and (not match[1] or match[1].lower() in SPLITS):
            return match[1]
        match = re.fullmatch(rf'(?i){word}[-_ .](.*)', folder)
        if match and match[1].lower() in SPLITS:
            return match[1]
    return folder


def _stems(stem: str, words: Iterable[str]) -> list[str]:
    """A file's stem, and without the words at its ends: 'a_gtFine_labelIds', 'a_gtFine', 'a'."""
    stems = [stem]
    word = f'(?:{"|".join(words)})'
    while True:
        shorter = re.sub(rf'(?i)[-_ .]{word}$|^{word}[-_ .]', '', stems[-1], count=1)
        if shorter in ('', stems[-1]):
            return stems
        stems.append(shorter)


def _check_found(
    root: Path, pictures: dict[tuple[str, ...], list[Path]], labels: object, mask_suffix: str
) -> None:
    if not labels:
        ending = f' that end in {mask_suffix}' if mask_suffix else ''
        raise UsageError(
            f'{root}: found {counted(len(pictures), "picture")} and no masks{ending}. Masks are '
            'looked for in folders named masks, labels, annotations or gtFine, and in files named '
            '…_mask, …_label or …_gt. Say where they are with --masks'
        )
    if not pictures:
        raise UsageError(
            f'{root}: found masks and no pictures. Say where the pictures are with --images'
        )


def _check_single(what: str, found: dict[tuple[str, ...], list[Path]], remedy: str) -> None:
    for key, files in sorted(found.items()):
        if len(files) > 1:
            raise UsageError(
                f'{what}: {len(files)} files belong to {"/".join(key)}: {listed(files)}. {remedy}'
            )
