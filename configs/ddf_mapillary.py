# DDFHead on ResNet-50, Mapillary Vistas v1.2 (65 classes) at 1280×1280, 300k iterations: optimizer
# and schedule of mmseg's DeepLabV3+ for this dataset (4 GPUs, 2 images each).
# data/mapillary/{training,validation}/{images,v1.2/labels}, as it comes.
_base_ = [
    './_base_/models/ddf_r50.py',
    'mmseg::_base_/datasets/mapillary_v1_65.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/sgd_160k.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

crop_size = (1280, 1280)
model = dict(data_preprocessor=dict(size=crop_size), decode_head=dict(num_classes=65))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=1e-4),
    clip_grad=dict(_delete_=True, max_norm=0.01, norm_type=2),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
)
train_cfg = dict(max_iters=300000, val_interval=30000)
param_scheduler = [
    dict(type='PolyLR', eta_min=0, power=0.9, begin=0, end=300000, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=30000))

data_root = '{{$DDF_DATA_ROOT:data}}/mapillary/'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
