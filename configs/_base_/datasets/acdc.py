# ACDC in its four conditions: data/acdc/{rgb_anon,gt}/{fog,night,rain,snow}/{train,val}, as it
# comes.
_base_ = ['mmseg::_base_/datasets/cityscapes.py', '../pipelines/test_1920x1080.py']
dataset_type = 'ACDCDataset'
data_root = '{{$DDF_DATA_ROOT:data}}/acdc'
data_prefix = dict(img_path='rgb_anon', seg_map_path='gt')
crop_size = (1024, 1024)
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
        split='train',
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=data_prefix,
        split='val',
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
