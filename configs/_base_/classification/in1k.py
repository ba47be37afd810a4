# ImageNet-1k in folders ({train,val}/n01440764/….JPEG), and the schedule by which the authors of
# DDF train their ResNets: README of their code, with timm 0.4.5 and its defaults. SGD with
# Nesterov's momentum 0.9, 120 epochs, 5 of warm-up, cosine, weight decay 1e-4 (not of norms and
# biases), label smoothing 0.1. They take 8 × 128 images and a rate of 0.4; here it is 8 × 32 and
# 0.1. They train in mixed precision: optim_wrapper.type=AmpOptimWrapper.
_base_ = './runtime.py'

data_root = '{{$DDF_DATA_ROOT:data}}/imagenet'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomAreaCrop', size=224),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColourJitter', strength=0.4),
    dict(type='PackClass'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    # The shorter side to 256, as timm scales it; the longer one follows.
    dict(
        type='Resize',
        scale=(100000, 256),
        keep_ratio=True,
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackClass'),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ImageFolders',
        data_root=data_root,
        part='train',
        count=1000,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageFolders', data_root=data_root, part='val', count=1000, pipeline=test_pipeline
    ),
)
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
    ),
    backbone=dict(type='DDFResNet', depth=50, style='pytorch', norm_cfg=dict(type='BN')),
    in_channels=2048,
    num_classes=1000,
)
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=1e-4))
train_cfg = dict(max_epochs=120)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, begin=5, end=120, convert_to_iter_based=True),
]
