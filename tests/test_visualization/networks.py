"""Small segmentors with DDF layers, and what they make of an image."""

from __future__ import annotations

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from ddf_seg.engine.predicting.classes import Classes
from ddf_seg.visualization import Inspection, inspect_image

# The paper's filters, of both branches and in groups
PAPER = dict(normalization='filter_norm', head=2, branches='both')
HEAD = dict(type='DDFHead', channels=6, widths=[6, 8, 8, 8], ddf_cfg=PAPER)
# Filters that start as interpolation, and gated ones
EXACT = {**HEAD, 'ddf_cfg': {}}
CLASSES = Classes(
    ['road', 'building', 'traffic light', 'pole'],
    np.array([[128, 64, 128], [70, 70, 70], [250, 170, 30], [153, 153, 153]], np.uint8),
)
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]


def build_segmentor(head, preprocessor=None, pipeline=PIPELINE, **options):
    """Random weights; a ResNet-18 whose 3×3 convolutions are DDF, narrowed, and the given head."""
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[127.0] * 3, std=[64.0] * 3, bgr_to_rgb=True,
            **(preprocessor or {}),
        ),
        backbone=dict(
            type='ResNet', depth=18, base_channels=4, stem_channels=4, norm_cfg=dict(type='BN'),
            conv_cfg=dict(type='DDF'),
        ),
        decode_head=dict(
            in_channels=[4, 8, 16, 32], in_index=[0, 1, 2, 3], num_classes=len(CLASSES.names),
            norm_cfg=dict(type='BN'), align_corners=False, **head,
        ),
        test_cfg=dict(mode='whole'),
    )  # fmt: skip
    cfg = Config(dict(model={**model, **options}, test_pipeline=pipeline))
    with DefaultScope.overwrite_default_scope('mmseg'):
        segmentor = MODELS.build(cfg.model)
    segmentor.cfg = cfg
    return segmentor.eval()


def forget_the_start(segmentor):
    """Gives what starts at 0 weights, as training does."""
    with torch.no_grad():
        for parameter in segmentor.parameters():
            if not parameter.any():
                parameter.normal_(std=0.5)
    return segmentor


def make_inspection(segmentor, image, **options) -> Inspection:
    """With labels: road below, building above, and a line of them unknown."""
    truth = np.ones(image.shape[:2], np.uint8)
    truth[len(truth) // 2 :] = 0
    truth[0] = 255
    with DefaultScope.overwrite_default_scope('mmseg'):
        return inspect_image(segmentor, image, CLASSES, truth=truth, title='random', **options)
