# SYNTHIA-RAND-CITYSCAPES to train, Cityscapes to validate: data/RAND_CITYSCAPES/{RGB,GT/LABELS},
# prepared by tools/dataset_converters/synthia.py, and data/cityscapes. Terrain, truck and train
# do not occur: the mIoU over 16 classes is mIoU·19/16.
_base_ = './gta5.py'
crop_size = (512, 512)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(1280, 760)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
        type='SYNTHIADataset',
        data_root='{{$DDF_DATA_ROOT:data}}/RAND_CITYSCAPES',
        data_prefix=dict(img_path='RGB', seg_map_path='GT/LABELS'),
        ann_file='',
        pipeline=train_pipeline,
    )
)
