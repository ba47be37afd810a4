"""Images with a class each: folders as ImageNet's, and CIFAR-10, for mmengine's runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from ..errors import UsageError, listed
from ..files import files_below
from .cifar10 import CLASSES, read_cifar10

SUFFIXES = {'.jpeg', '.jpg', '.png', '.bmp', '.webp'}


@DATASETS.register_module()
class ImageFolders(BaseDataset):
    """A folder for each class: {data_root}/{part}/n01440764/….JPEG, as ImageNet is published.

    Labels are the positions of the folders' names, sorted. Where there is 'train', another part has
    the same folders: else its labels would be other classes than those that were learned.

    Args:
        part: folder below data_root, 'train' or 'val'.
        count: how many classes there should be; None: as many as there are folders.
        kwargs: as for mmengine's BaseDataset (data_root, pipeline, indices, …).

    Raises:
        UsageError: the folder is missing, has another number of classes, others than 'train', or
            one without images.
    """

    def __init__(self, part: str, count: int | None = None, **kwargs: Any) -> None:
        self.part = part
        self.count = count
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """The images' paths and labels."""
        root = Path(self.data_root, self.part)
        if not root.is_dir():
            raise UsageError(
                f'{root}: expected a folder with a folder of images for each class, as '
                'train/n01440764/…; there is none'
            )
        folders = _class_folders(root)
        if self.count not in (None, len(folders)):
            raise UsageError(f'{root}: expected {self.count} folders, got {len(folders)}')
        train = Path(self.data_root, 'train')
        if train.is_dir():
            odd = {path.name for path in folders} ^ {path.name for path in _class_folders(train)}
            if odd:
                raise UsageError(
                    f'{root}: expected the same folders as in {train}; only one of both has '
                    f'{listed(sorted(odd))}'
                )
        images: list[dict[str, Any]] = []
        for label, folder in enumerate(folders):
            own = [path for path in files_below(folder) if path.suffix.lower() in SUFFIXES]
            if not own:
                raise UsageError(f'{folder}: expected images ({", ".join(sorted(SUFFIXES))})')
            images += [dict(img_path=str(path), gt_label=label) for path in own]
        self._metainfo['classes'] = tuple(folder.name for folder in folders)
        return images


def _class_folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != '.')


@DATASETS.register_module()
class CIFAR10Dataset(BaseDataset):
    """CIFAR-10 in memory.

    Args:
        part: 'train' or 'test'.
        per_class: so many of each class, the first ones; None: all.
        kwargs: as for mmengine's BaseDataset; data_root is what `read_cifar10` takes: a zip, a
            folder of pictures, or the official folder.

    Raises:
        UsageError: see `read_cifar10`.
    """

    METAINFO: ClassVar[dict[str, Any]] = dict(classes=CLASSES)

    def __init__(self, part: str, per_class: int | None = None, **kwargs: Any) -> None:
        self.part = part
        self.per_class = per_class
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """The images as mmcv's LoadImageFromFile leaves them: (32, 32, 3), BGR."""
        images, labels = read_cifar10(Path(self.data_root), self.part, self.per_class)
        return [
            dict(img=image[::-1].transpose(1, 2, 0).copy(), img_shape=(32, 32), gt_label=int(label))
            for image, label in zip(images, labels, strict=True)
        ]
