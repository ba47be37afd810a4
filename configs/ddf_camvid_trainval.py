# CamVid's train and val together, for a network that is to be used: three times as long, on larger
# crops and in more kinds of light and weather than ddf_camvid.py. Its scores on val are no measure.
_base_ = ['./ddf_camvid.py']

crop_size = (320, 416)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(480, 360), ratio_range=(0.75, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomAppearance'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(
                type='CamVidDataset',
                data_root={{_base_.data_root}},
                data_prefix=dict(img_path=part, seg_map_path=f'{part}annot'),
                pipeline=train_pipeline,
            )
            for part in ('train', 'val')
        ],
    ),
)
model = dict(data_preprocessor=dict(size=crop_size))
train_cfg = dict(max_iters=6000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=200, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=200, end=6000, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=200, save_best=None))
