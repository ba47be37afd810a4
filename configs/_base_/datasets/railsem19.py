# RailSem19, 19 classes of its own: data/railsem19/{jpgs,uint8}/rs19_val, as it comes. The first
# 7650 images train, the last 850 validate.
_base_ = ['mmseg::_base_/datasets/cityscapes.py', '../pipelines/test_1920x1080.py']
dataset_type = 'RailSem19Dataset'
data_root = '{{$DDF_DATA_ROOT:data}}/railsem19'
data_prefix = dict(img_path='jpgs/rs19_val', seg_map_path='uint8/rs19_val')
crop_size = (768, 768)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(1920, 1080), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = _base_.test_pipeline_1920x1080
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=data_prefix,
        indices=7650,
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=data_prefix,
        indices=-850,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
