"""Other upsampling layers, to compare DDF-Up with: CARAFE and DySample."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddf_seg.ops import ddf_upsample


def carafe_pack(channels: int, scale_factor: int) -> nn.Module | None:
    """mmcv's CARAFEPack with its reassembly by `ddf_upsample`; None without mmcv."""
    if find_spec('mmcv') is None or find_spec('mmengine') is None:
        return None
    # mmcv-lite's operators cannot be imported without it.
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from mmcv.ops.carafe import CARAFEPack

    class Carafe(CARAFEPack):
        def feature_reassemble(self, x: Tensor, mask: Tensor) -> Tensor:
            k = self.up_kernel
            neutral = x.new_ones(1).expand(*x.shape[:2], k, k)
            return ddf_upsample(x, neutral, mask, k, self.scale_factor)

    return Carafe(channels, scale_factor)


def assert_carafe_reassembles(carafe: Any) -> None:
    """CARAFE by its definition: unfold, nearest-neighbour upsampling, weighted sum over the taps.

    Raises:
        AssertionError: the values differ by more than rounding.
    """
    k, r = carafe.up_kernel, carafe.scale_factor
    x, mask = torch.randn(1, 3, 5, 4), torch.randn(1, k * k, 5 * r, 4 * r)
    patches = F.unfold(x, k, padding=k // 2).view(1, 3 * k * k, 5, 4)
    patches = F.interpolate(patches, scale_factor=r).view(1, 3, k * k, 5 * r, 4 * r)
    want = (patches * mask[:, None]).sum(2)
    torch.testing.assert_close(carafe.feature_reassemble(x, mask), want, rtol=1e-4, atol=1e-4)


def dysample(channels: int, scale_factor: int, groups: int = 4) -> nn.Module | None:
    """The DySample of the package spandrel; None without it.

    Its file is loaded alone: the package's top imports torchvision, which nothing here needs.
    """
    package = find_spec('spandrel')
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / 'architectures' / '__arch_helpers' / 'dysample.py'
    spec = spec_from_file_location('spandrel_dysample', path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RuntimeError(f'{path} is missing: expected spandrel 0.4, which has DySample there')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # The paper's form: no convolution after sampling.
    return module.DySample(channels, channels, scale_factor, groups, end_convolution=False)
