# On from ddf_camvid_trainval.py, with nearly whole images and the loss of ddf_camvid_finetune.py:
# what checkpoints/ddf_camvid.pth is from.
_base_ = ['./ddf_camvid_trainval.py', './_base_/losses/camvid_thin.py']

load_from = 'work_dirs/ddf_camvid_trainval/iter_6000.pth'
crop_size = (352, 480)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(480, 360), ratio_range=(0.75, 1.75), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomAppearance'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    dataset=dict(
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
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(loss_decode=_base_.thin_loss),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=1600, val_interval=800)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=100, end=1600, by_epoch=False),
]
