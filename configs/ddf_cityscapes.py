# DDFHead on ResNet-50, Cityscapes at 512×1024, 80k iterations (4 GPUs, 2 images each, as mmseg).
_base_ = [
    './_base_/models/ddf_r50.py',
    'mmseg::_base_/datasets/cityscapes.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/sgd_80k.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

data_root = '{{$DDF_DATA_ROOT:data}}/cityscapes/'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
# Boundaries and thin things, apart from what large areas score.
test_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='BoundaryIoUMetric', thinness=0.01),
]
