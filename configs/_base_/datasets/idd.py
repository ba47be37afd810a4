# IDD with the 26 classes of level 3: data/IDD_Segmentation/{leftImg8bit,gtFine}/{train,val},
# labels made by tools/dataset_converters/idd.py. Scored at the images' own size; IDD's script
# scores both maps resized to 1280×720.
_base_ = ['mmseg::_base_/datasets/cityscapes.py', '../pipelines/test_1920x1080.py']
dataset_type = 'IDDDataset'
data_root = '{{$DDF_DATA_ROOT:data}}/IDD_Segmentation'
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
    dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
