"""What the page holds of a layer."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch

from ..basis import FilterBasis
from ..inspection import Inspection
from ..kinds import find_kinds
from ..maps import FilterMap, filter_maps
from ..pictures import pick_channels
from ..showing import picture_url
from .packing import Blobs, PackedFilters

# Pixels of which the colour scales are found, and the share that they hold
_SAMPLE, _SHARE = 2000, 0.99
_PICTURE = (144, 96)


def layer_data(
    packed: PackedFilters, basis: FilterBasis, inspection: Inspection, blobs: Blobs
) -> dict[str, Any]:
    """A layer of a network's run, for the script; long arrays go to `blobs`."""
    call = packed.call
    rows, columns = packed.kept()
    own = call.own_filters()
    kinds = find_kinds(call)
    limit, own_limit = _limits(packed)
    axes = call.interpolation_axes()
    return {
        'upsamples': call.operator == 'ddf_upsample',
        'multiplies': call.kernel_combine == 'mul',
        'interpolates': call.interpolates,
        'reference': call.reference,
        'pixels_alike': call.pixels_alike,
        'channels_neutral': call.channels_neutral,
        'size': list(call.size),
        'features': list(call.features.shape[2:]),
        'density': list(inspection.density(call.size)),
        'coarse': list(inspection.density(call.features.shape[2:])),
        'thinning': packed.thinning,
        'rows': rows.tolist(),
        'columns': columns.tolist(),
        'groups': call.groups,
        'kernel': list(call.kernel_size),
        'dilation': list(call.dilation),
        'stride': list(call.stride),
        'channels': call.channels,
        'channel': pick_channels(call)[0],
        'phases': call.phases,
        'scale_factor': call.scale_factor,
        'gain': None if call.gain is None else _rounded(call.gain.numpy()),
        'filters': blobs.add_rows(packed.packed),
        'scale': packed.scale,
        'bits': packed.bits,
        'error': packed.error,
        'limit': limit,
        'own_limit': own_limit,
        'channel_filters': blobs.add(call.channel_filters().numpy().astype('<f4')),
        'interpolated': None if axes is None else [_rounded(axis.numpy()) for axis in axes],
        'shared': call.shared_filters().flatten(1).tolist(),
        'mean': call.spatial_filters().mean((3, 4)).flatten().tolist(),
        'offsets': (basis.components @ basis.mean).tolist(),
        'components': basis.components.tolist(),
        'kinds': kinds and {
            'means': _rounded(kinds.means.flatten(1).numpy()),
            'shares': _rounded(kinds.shares),
            'pixels': kinds.pixels.tolist(),
            'labels': blobs.add_labels(kinds.labels[rows][:, columns]),
        },
        'maps': [_map_data(item, call.scale_factor, blobs) for item in filter_maps(call)],
        'picture': _picture(basis.colours(own)),
    }  # fmt: skip


def _rounded(values: np.ndarray) -> Any:
    return np.round(values.astype(np.float64), 5).tolist()


def _limits(packed: PackedFilters) -> tuple[float, float]:
    """Ends of the colour scales: of effective filters, and of their differences to the reference.

    Of some pixels and channels; a few values lie beyond.
    """
    call = packed.call
    rng = np.random.default_rng(0)
    y, x = (torch.from_numpy(rng.integers(0, n, _SAMPLE)) for n in call.size)
    effective, difference = [], []
    for channel in pick_channels(call):
        filters = call.effective_filters(y, x, channel)
        own = filters - call.reference_filters(y, x, channel)
        effective.append(float(filters.abs().amax((1, 2)).quantile(_SHARE)))
        difference.append(float(own.abs().amax((1, 2)).quantile(_SHARE)))
    limit = max(effective) or 1.0
    return limit, max(max(difference), 0.02 * limit)


def _map_data(item: FilterMap, step: int, blobs: Blobs) -> dict[str, Any]:
    scaled = (item.values.numpy() - item.low) / (item.high - item.low)
    values = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return {
        'name': item.name,
        'meaning': item.meaning,
        'low': item.low,
        'high': item.high,
        'step': step,
        'shape': list(values.shape),
        'packed': blobs.add_labels(values),
    }


def _picture(colours: np.ndarray) -> str:
    """A small picture, as a URL."""
    small = cv2.resize(colours, _PICTURE, interpolation=cv2.INTER_AREA)
    return picture_url(small, 80)
