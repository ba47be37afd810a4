# What classifiers share: top-1 and top-5, and a checkpoint each epoch.
default_scope = 'mmseg'
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)
val_cfg = dict(type='ValLoop')
val_evaluator = dict(type='TopKMetric', k=(1, 5))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=100),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='top1'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
log_processor = dict(by_epoch=True)
