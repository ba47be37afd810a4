"""What a layer is and does, in words."""

from __future__ import annotations

from collections.abc import Sequence

from .calls import FilterCall
from .inspection import Inspection


def stride(inspection: Inspection, size: Sequence[int]) -> int:
    """Pixels of the network's input per pixel of a map of this size.

    Sizes are rounded up, so it is the power of two that gives the size, if one does.
    """
    whole, part = inspection.input_size, size
    for power in (2**n for n in range(10)):
        if all(-(-w // power) == p for w, p in zip(whole, part, strict=True)):
            return power
    return max(1, round(whole[0] / part[0]))


def describe(inspection: Inspection, call: FilterCall, number: int) -> dict[str, str]:
    """A layer's names.

    Args:
        inspection: of the call.
        call: the layer.
        number: its place in the network, from 1.

    Returns:
        name: its path; short: for a button; what: in a line; detail: sentences.
    """
    coarse, fine = stride(inspection, call.features.shape[2:]), stride(inspection, call.size)
    change = f'{coarse} → {fine}' if coarse != fine else str(fine)
    kh, kw = call.kernel_size
    if call.operator == 'ddf_upsample':
        short = f'{number} ↑ {coarse}→{fine}'
        what = f'Upsampling, stride {change}'
        what += f', guided by the level of stride {fine}' if call.guided else ''
    else:
        short = f'{number} ● {change.replace(" ", "")}'
        what = f'Filtering at stride {change}'
    shared = f' for each of {call.groups} groups of channels' if call.groups > 1 else ''
    sentences = [f'It filters with {kh}×{kw} taps, {call.channels} channels.']
    if call.pixels_alike:
        sentences.append('All pixels have the same filters.')
    else:
        sentences.append(f'Every pixel has a spatial filter of its own{shared}.')
    sentences += _meaning(call)
    return {'name': call.layer, 'short': short, 'what': what, 'detail': ' '.join(sentences)}


def _meaning(call: FilterCall) -> list[str]:
    if call.interpolates:
        said = [
            f'The filters sum to 1 and take the place of {call.mode} interpolation, which is shown '
            'beside them.'
        ]
        if call.compares:
            said.append('They come from the finer level and from comparing it with the coarse one.')
        return said
    if call.gain is not None:
        low, high = float(call.gain.min()), float(call.gain.max())
        return [
            f'What its filters make is multiplied by a gain ({low:.2f} to {high:.2f}) and added to '
            f'{call.mode} interpolation: the effective filter holds both.'
        ]
    if call.channels_neutral:
        return ['It filters every channel of its group.']
    if call.kernel_combine == 'add':
        return ['It is added to the filter of the channel, which all pixels share.']
    if call.pixels_alike:
        return ['Channels differ.']
    return ['It is multiplied with the filter of the channel, which all pixels share.']
