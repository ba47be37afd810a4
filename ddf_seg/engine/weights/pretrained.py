"""Finds the pretrained weights that a config asks for, and stops where they cannot be had."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import mmengine
import torch
from mmengine.config import Config
from mmengine.runner import checkpoint as zoo

from ...errors import UsageError, hint
from ..lookup.configs import join, kind_of, walk
from .checkpoints import check_checkpoint, find_damage
from .package_weights import OURS, SCHEME, resolve_package_file

_TIMEOUT = 10.0  # seconds


def check_pretrained(cfg: Config) -> None:
    """Makes sure that every weight file a training starts from is here or can be downloaded.

    Looks at `load_from`, and anywhere in the model at `pretrained` and at `init_cfg` of type
    'Pretrained'. Names of torchvision become their URL where torchvision is not installed.

    Raises:
        UsageError: see `check_weights`.
    """
    for path, node, key in _requests(cfg):
        source = node[key]
        url = check_weights(source, path)
        if source.startswith(('torchvision://', 'modelzoo://')) and not find_spec('torchvision'):
            node[key] = url


def check_weights(source: str, path: str) -> str:
    """Makes sure that a weight file is here or can be downloaded.

    A file in torch's cache is used without a look at the network.

    Args:
        source: A file, a URL, or a name of a model zoo.
        path: the config's key that holds it, or the command line's argument.

    Returns:
        The file or URL behind `source`.

    Raises:
        UsageError: a file is missing or damaged, a name is in no model zoo, or the server cannot
            be reached.
    """
    url = resolve(source, path)
    if '://' not in url:
        check_checkpoint(url, path)
    elif urlparse(url).scheme in ('http', 'https'):
        cached = cached_file(url)
        if not cached.exists():
            _check_reachable(url, source, path, cached)
        elif damage := find_damage(cached):
            raise UsageError(
                f'{path}: {cached}, which was downloaded from {url}, cannot be read: {damage}. '
                'Delete it to have it downloaded again, or copy it there again.'
            )
    return url


def _requests(cfg: Config) -> Iterator[tuple[str, dict[str, Any], str]]:
    if isinstance(cfg.get('load_from'), str):
        yield 'load_from', cfg._cfg_dict, 'load_from'
    for path, node in walk(cfg.get('model'), 'model'):
        keys = ['pretrained']
        if kind_of(node) == 'Pretrained':
            keys.append('checkpoint')
        for key in keys:
            if isinstance(node.get(key), str):
                yield join(path, key), node, key


def cached_file(url: str) -> Path:
    """Where torch keeps, and looks for, a download."""
    return Path(torch.hub.get_dir()) / 'checkpoints' / os.path.basename(urlparse(url).path)


def resolve(source: str, path: str) -> str:
    """The URL, or the file, behind a name of mmengine's model zoos.

    Args:
        source: 'torchvision://…', 'open-mmlab://…', 'mmcls://…', 'package://…', 'ddf_seg::…', any
            other URL, or a file.
        path: the config's key that holds it.

    Raises:
        UsageError: the zoo has no such model.
    """
    scheme, separator, name = source.partition('://')
    if source.startswith((SCHEME, OURS)):
        try:
            return str(resolve_package_file(source))
        except FileNotFoundError as error:
            raise UsageError(f'{path}: {error}') from error
    if not separator:
        return source
    if scheme in ('torchvision', 'modelzoo'):
        urls = (
            zoo.get_torchvision_models()
            if find_spec('torchvision')
            else mmengine.load(Path(mmengine.__file__).parent / 'hub' / 'torchvision_0.12.json')
        )
    elif scheme in ('open-mmlab', 'openmmlab'):
        urls = zoo.get_external_models()
        name = zoo.get_deprecated_model_names().get(name, name)
    elif scheme == 'mmcls':
        urls = zoo.get_mmcls_models()
    else:
        return source
    if name not in urls:
        raise UsageError(f"{path}: '{scheme}://' has no model {name!r}{hint(name, urls)}")
    url: str = urls[name]
    return url if '://' in url else str(Path(zoo._get_mmengine_home()) / url)


def _check_reachable(url: str, source: str, path: str, cached: Path) -> None:
    request = urllib.request.Request(url, method='HEAD')
    try:
        urllib.request.urlopen(request, timeout=_TIMEOUT).close()
        return
    except urllib.error.HTTPError as error:
        # Other codes may be about HEAD only; the download itself will tell.
        if error.code not in (404, 410):
            return
        reason: object = f'the server has no such file ({error.code})'
    except (OSError, ValueError) as error:
        reason = getattr(error, 'reason', error)
    asked = url if source == url else f'{url} ({source})'
    # --cfg-options cannot set an item of a list to None.
    without = re.sub(r'(\.\d+)+$', '', path.removesuffix('.checkpoint'))
    raise UsageError(
        f'{path} asks for pretrained weights that are not on this machine, and they cannot be '
        f'downloaded: {reason}.\n'
        f'  file:     {asked}\n'
        f'  put it at {cached}, and it will be used as it is; or\n'
        f'  a copy elsewhere: --cfg-options {path}=/path/to/{cached.name}\n'
        f'  without:          --cfg-options {without}=None'
    )
