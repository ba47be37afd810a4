"""Whether a model of the zoo, and its DDF counterpart, give the same scores in ONNX Runtime."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import onnxruntime
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from ddf_seg.deployment.converting import to_onnx
from ddf_seg.deployment.exporting import export_program
from ddf_seg.deployment.network import ImageSegmentor, Interface
from ddf_seg.engine.config_file import load_config
from ddf_seg.engine.lookup.configs import kind_of
from ddf_seg.errors import UsageError
from ddf_seg.swap import swap_heads

from .checking import build, in_short, run_original
from .models import shallow_resnets

# Of the range of the scores
TOLERANCE = 1e-4
# Four layers in place of 12 or 24
_VIT = dict(backbone=dict(num_layers=4, out_indices=(0, 1, 2, 3)))
# Every head of mmseg, each with the smallest backbone that it has; and what is changed in it.
SAMPLE: dict[str, dict[str, Any]] = {
    'ann/ann_r50-d8_4xb2-40k_cityscapes-512x1024.py': {},
    'apcnet/apcnet_r50-d8_4xb2-40k_cityscapes-512x1024.py': {},
    'ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-512x1024.py': {},
    'danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024.py': {},
    'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py': {},
    'deeplabv3/deeplabv3_r18-d8_4xb2-80k_cityscapes-512x1024.py': {},
    'deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py': {},
    'dmnet/dmnet_r50-d8_4xb2-40k_cityscapes-512x1024.py': {},
    'dnlnet/dnl_r50-d8_4xb2-40k_cityscapes-512x1024.py': {},
    'dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512.py': _VIT,
    'emanet/emanet_r50-d8_4xb2-80k_cityscapes-512x1024.py': {},
    'encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024.py': {},
    'fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py': {},
    'fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py': {},
    'gcnet/gcnet_r50-d8_4xb2-40k_cityscapes-512x1024.py': {},
    'isanet/isanet_r50-d8_4xb2-40k_cityscapes-512x1024.py': {},
    'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py': {},
    'mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py': {},
    'maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py': {},
    'mobilenet_v3/mobilenet-v3-d8-s_lraspp_4xb4-320k_cityscapes-512x1024.py': {},
    'nonlocal_net/nonlocal_r50-d8_4xb2-40k_cityscapes-512x1024.py': {},
    'ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py': {},
    'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py': {},
    'point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py': {},
    'psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024.py': {},
    'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py': {},
    'san/san-vit-b16_voc12aug-640x640.py': {},
    'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py': {},
    'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py': {},
    'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py': {},
    'sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py': {},
    'setr/setr_vit-l_mla_8xb1-80k_cityscapes-768x768.py': _VIT,
    'setr/setr_vit-l_pup_8xb1-80k_cityscapes-768x768.py': _VIT,
    'upernet/upernet_r18_4xb2-40k_cityscapes-512x1024.py': {},
    'vpd/vpd_sd_4xb8-25k_nyu-480x480.py': {},
}


@dataclass
class Attempt:
    """What became of a network.

    Attributes:
        reason: why it does not agree, or ''.
        difference: the largest of the scores, in parts of their range.
    """

    reason: str = ''
    difference: float | None = None


@dataclass
class Exported:
    """What became of a model.

    Attributes:
        config: of the zoo, relative to its root.
        outcome: 'exported' or 'failed', where the check itself did not end.
        reason: of the latter.
        head: the class of its last decode head.
        swapped_head: that of its DDF counterpart.
        original, swapped: the network, and its DDF counterpart.
        size: of the image, height and width.
        seconds: what it took.
    """

    config: str
    outcome: str = 'exported'
    reason: str = ''
    head: str = ''
    swapped_head: str = ''
    original: Attempt = field(default_factory=Attempt)
    swapped: Attempt = field(default_factory=Attempt)
    size: tuple[int, int] | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        # From a line of JSON
        for name in ('original', 'swapped'):
            value: Any = getattr(self, name)
            if isinstance(value, dict):
                setattr(self, name, Attempt(**value))


def check_export(config: str, source: str) -> Exported:
    """Exports a model and its DDF counterpart, and compares them with PyTorch.

    Their weights are random, and their ResNets have one block a stage: no layer is of another kind.

    Args:
        config: its name in the result.
        source: a file, or 'mmseg::…'.
    """
    started = time.monotonic()
    result = Exported(config)
    _check(source, result)
    result.seconds = round(time.monotonic() - started, 1)
    return result


def _check(source: str, result: Exported) -> None:
    torch.manual_seed(0)
    for kind, settings in shallow_resnets().items():
        kind.arch_settings = settings
    try:
        cfg = load_config(source)
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        cfg.merge_from_dict(dict(model=SAMPLE.get(result.config, {})))
        result.head = _head(cfg)
        original, result.size = run_original(cfg)
    except Exception as error:
        result.original.reason = f'does not run: {in_short(error)}'
        result.swapped.reason = 'the original does not run'
        return
    result.original = attempt(original, result.size)
    try:
        swapped = swap_heads(cfg)
    except UsageError as error:
        result.swapped.reason = f'not swapped: {error}'
        return
    result.swapped_head = _head(swapped)
    model = build(swapped, result.size)
    model.load_state_dict(original.state_dict(), strict=False)
    for parameter in model.parameters():
        if not parameter.any():
            # What starts at 0 would hide the dynamic filters; large values make PyTorch itself
            # differ from float64 by as much as is allowed here.
            nn.init.normal_(parameter, std=0.03)
    result.swapped = attempt(model, result.size)


def _head(cfg: Config) -> str:
    head = cfg.model.decode_head
    head = head[-1] if isinstance(head, list) else head
    return kind_of(head)


def attempt(model: Any, size: tuple[int, int]) -> Attempt:
    """Exports a segmentor, runs it in ONNX Runtime, and compares its scores."""
    image = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8)
    scores = Interface(output='scores')
    try:
        program = export_program(model, size, scores)
        # The runtime optimises for itself, and the exporter takes long over it.
        content = to_onnx(program, optimize=False).model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
        (name,) = (value.name for value in session.get_inputs())
        found = session.run(None, {name: image.numpy()})[0]
    except UsageError as error:
        return Attempt(str(error))
    except Exception as error:
        return Attempt(in_short(error))
    with torch.no_grad():
        expected = ImageSegmentor(model.eval(), scores)(image).numpy()
    return _compared(found[0], expected[0])


def _compared(found: np.ndarray, expected: np.ndarray) -> Attempt:
    """How far scores (classes, H, W) are apart; a class may differ where two are that close."""
    allowed = TOLERANCE * float(expected.max() - expected.min())
    difference = float(np.abs(found - expected).max())
    parts = difference / allowed * TOLERANCE if allowed else float(difference > 0)
    reason = '' if parts < TOLERANCE else f'the scores differ by {parts:.0e} of their range'
    if not reason and len(expected) > 1:
        first, second = np.sort(expected, axis=0)[[-1, -2]]
        others = (found.argmax(0) != expected.argmax(0)) & (first - second > 2 * allowed)
        if others.any():
            reason = f'{others.mean():.1%} of the pixels get another class'
    return Attempt(reason, parts)
