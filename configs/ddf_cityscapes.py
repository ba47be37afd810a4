# DDFHead on ResNet-50, Cityscapes at 512×1024, 80k iterations (4 GPUs, 2 images each, as mmseg).
_base_ = [
    'mmseg::_base_/models/fpn_r50.py',
    'mmseg::_base_/datasets/cityscapes.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_80k.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

data_root = '{{$DDF_DATA_ROOT:data}}/cityscapes/'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    # The head is a top-down pyramid itself.
    neck=None,
    decode_head=dict(
        _delete_=True,
        type='DDFHead',
        in_channels=[256, 512, 1024, 2048],
        in_index=[0, 1, 2, 3],
        channels=128,
        num_classes=19,
        dropout_ratio=0.1,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True),
    ),
)
# FilterNorm's learned deviation is a scale, as normalisation layers have: it does not decay.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'.std': dict(decay_mult=0.0)}))
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
