# What classifiers share: SGD, top-1 and top-5, and a checkpoint each epoch.
default_scope = 'mmseg'
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)
model = dict(
    type='MeanClassifier',
    data_preprocessor=dict(type='mmengine.ImgDataPreprocessor', bgr_to_rgb=True),
    label_smoothing=0.1,
)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', momentum=0.9, nesterov=True),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        # FilterNorm's learned deviation is a scale, as normalisation layers have.
        custom_keys={'.std': dict(decay_mult=0.0)},
    ),
)
train_cfg = dict(type='EpochBasedTrainLoop', val_interval=1)
val_cfg = dict(type='ValLoop')
val_evaluator = dict(type='TopKMetric', k=(1, 5))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=100),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='top1'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
log_processor = dict(by_epoch=True)
