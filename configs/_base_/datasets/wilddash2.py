# WildDash 2, 26 classes: data/wilddash2/{images,semantic_train_ids,splits}, prepared by
# tools/dataset_converters/wilddash2.py (the validation split is ours: every tenth image).
_base_ = ['mmseg::_base_/datasets/cityscapes.py', '../pipelines/test_1920x1080.py']
dataset_type = 'WildDash2Dataset'
data_root = '{{$DDF_DATA_ROOT:data}}/wilddash2'
data_prefix = dict(img_path='images', seg_map_path='semantic_train_ids')
crop_size = (512, 1024)
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
        ann_file='splits/train.txt',
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=data_prefix,
        ann_file='splits/val.txt',
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
