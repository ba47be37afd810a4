# Joint DDF-Up, eight times, on the drawn scenes: ddf-seg scenes --depth --out data/depth_scenes.
# For a folder of your own: data_root, data_prefix, the suffixes, and the unit of the files.
default_scope = 'mmseg'
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)
data_root = '{{$DDF_DATA_ROOT:data}}/depth_scenes'
load = [dict(type='LoadImageFromFile'), dict(type='LoadDepth', unit=1 / 256)]
dataset = dict(
    type='RGBDDataset',
    data_root=data_root,
    img_suffix='_leftImg8bit.png',
    depth_map_suffix='_depth.png',
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='leftImg8bit/train', depth_map_path='depth/train'),
        pipeline=[
            *load,
            dict(type='RandomCrop', crop_size=(128, 128)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path='leftImg8bit/val', depth_map_path='depth/val'),
        pipeline=[*load, dict(type='PackSegInputs')],
    ),
)
model = dict(
    type='DepthUpsampler',
    factor=8,
    channels=16,
    farthest=80.0,
    data_preprocessor=dict(
        type='mmengine.ImgDataPreprocessor',
        bgr_to_rgb=True,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
    ),
)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=3e-3),
    # What makes the filters starts at 0.
    paramwise_cfg=dict(custom_keys=dict(upsamples=dict(lr_mult=3.0))),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=600, val_interval=600)
val_cfg = dict(type='ValLoop')
val_evaluator = dict(type='DepthRMSEMetric')
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=False, end=600)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=200, max_keep_ckpts=2),
)
log_processor = dict(by_epoch=False)
