# A small DDF-ResNet on CIFAR-10. data_root is a zip or folder with train/CLASS/… and
# test/CLASS/…, or the official folder cifar-10-batches-py.
_base_ = '../_base_/classification/runtime.py'

data_root = '{{$DDF_DATA_ROOT:data}}/cifar10/cifar10.zip'
train_dataloader = dict(
    batch_size=64,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CIFAR10Dataset',
        data_root=data_root,
        part='train',
        pipeline=[
            dict(type='ShiftCrop', most=4),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackClass'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=250,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CIFAR10Dataset',
        data_root=data_root,
        part='test',
        pipeline=[dict(type='PackClass')],
    ),
)
model = dict(
    data_preprocessor=dict(
        mean=[125.3, 123.0, 113.9],
        std=[63.0, 62.1, 66.7],
    ),
    backbone=dict(type='DDFResNetSmall', depth=29, base_channels=16, norm_cfg=dict(type='BN')),
    in_channels=256,
    num_classes=10,
)
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=5e-4))
train_cfg = dict(max_epochs=60)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, begin=0, end=3, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=3, end=60, convert_to_iter_based=True),
]
