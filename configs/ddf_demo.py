# The demo (`make demo`): synthetic road scenes of 256×512 with Cityscapes' 19 classes, a few
# minutes on 2 CPU cores. tools/dataset_converters/synthetic_scenes.py draws the data.
_base_ = [
    './_base_/models/ddf_efficientnet-lite0.py',
    'mmseg::_base_/datasets/cityscapes.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/adamw.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

crop_size = (256, 256)
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(
        loss_decode=dict(
            # Square root of the inverse frequency in the training labels, mean 1.
            class_weight=[
                *[0.25, 0.64, 0.28, 1.04, 1.28, 1.08, 2.57, 1.35, 0.38, 0.61],
                *[0.42, 1.41, 1.42, 0.47, 0.73, 0.63, 0.65, 2.00, 1.79],
            ],
        )
    ),
)

data_root = '{{$DDF_DATA_ROOT:data}}/demo'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4, num_workers=2, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=350, val_interval=350)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=50, end=350, by_epoch=False),
]
