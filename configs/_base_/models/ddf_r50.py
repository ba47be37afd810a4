# DDFHead on ResNet-50 with ImageNet weights, 19 classes, crops of 512×1024.
_base_ = 'mmseg::_base_/models/fpn_r50.py'
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
