# KITTI semantics: data/kitti/training/{image_2,semantic_train_ids} and data/kitti/splits,
# prepared by tools/dataset_converters/kitti.py. Scale and crop of NVIDIA's recipe.
_base_ = 'mmseg::_base_/datasets/cityscapes.py'
dataset_type = 'KITTIDataset'
data_root = '{{$DDF_DATA_ROOT:data}}/kitti'
crop_size = (360, 360)
data_prefix = dict(img_path='training/image_2', seg_map_path='training/semantic_train_ids')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(1242, 375), ratio_range=(1.0, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
# Sizes differ from image to image: each is scored at its own.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=data_prefix,
        ann_file='splits/train.txt',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=data_prefix,
        ann_file='splits/val.txt',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
