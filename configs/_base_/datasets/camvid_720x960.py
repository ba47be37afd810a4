# The original CamVid at 720×960, 11 classes:
# data/camvid_full/{701_StillsRaw_full,labels_strict,splits}, prepared by
# tools/dataset_converters/camvid.py. Trained on trainval, scored on test, as PIDNet does;
# labels_grouped instead of labels_strict gives other scores.
_base_ = './camvid.py'
dataset_type = 'CamVidDataset'
data_root = '{{$DDF_DATA_ROOT:data}}/camvid_full'
data_prefix = dict(img_path='701_StillsRaw_full', seg_map_path='labels_strict')
crop_size = (720, 960)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(960, 720), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=6,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=data_prefix,
        ann_file='splits/trainval.txt',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=data_prefix,
        ann_file='splits/test.txt',
    ),
)
test_dataloader = val_dataloader
