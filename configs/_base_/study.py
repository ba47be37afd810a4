# The study of upsampling in decoders (benchmarks/study.py): the network of ddf_camvid.py, on a
# schedule short enough for many runs.
_base_ = ['../ddf_camvid.py']
# ddf_benchmarks comes with an editable install of a checkout: make setup, or pip install -e .
custom_imports = dict(
    imports=['ddf_seg.openmmlab', 'ddf_benchmarks.upsampling_study.parts'],
    allow_failed_imports=False,
)

crop_size = (240, 320)
# 240 rows are 15, an odd number, at stride 16, and so are the 368 that 360 rows are padded to here:
# the backbone's level of stride 32 then lies in scoring where it lay in training.
model = dict(data_preprocessor=dict(size=crop_size, test_cfg=dict(size_divisor=16)))
# Two runs side by side keep two cores busier than one run with two threads and workers.
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomResize', scale=(480, 360), ratio_range=(0.75, 2.0), keep_ratio=True),
            dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ]
    ),
)
val_dataloader = dict(num_workers=0, persistent_workers=False)
train_cfg = dict(max_iters=400, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=50, end=400, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=50, max_keep_ckpts=1, save_best=None))
val_evaluator = [
    dict(type='ClassIoUMetric', iou_metrics=['mIoU']),
    dict(type='BoundaryIoUMetric', thinness=0.01, trimap_widths=[3], classwise=True),
]
