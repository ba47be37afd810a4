# GTA5 to train, Cityscapes to validate: data/gta5/{images,labels,splits}, prepared by
# tools/dataset_converters/gta5.py, and data/cityscapes. Sizes of DAFormer's source-domain training.
_base_ = 'mmseg::_base_/datasets/cityscapes.py'
crop_size = (512, 512)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(1280, 720)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1024, 512), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
        type='GTA5Dataset',
        data_root='{{$DDF_DATA_ROOT:data}}/gta5',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        ann_file='splits/train.txt',
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(data_root='{{$DDF_DATA_ROOT:data}}/cityscapes/', pipeline=test_pipeline)
)
test_dataloader = val_dataloader
