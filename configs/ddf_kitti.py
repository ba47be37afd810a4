# DDFHead on ResNet-50, KITTI semantics (150 images to train, 50 to validate): 90 epochs with
# batches of 16 (4 GPUs, 4 images each), as NVIDIA fine-tuned. Meant to start from Cityscapes'
# weights:
#   --cfg-options load_from=work_dirs/ddf_cityscapes/iter_80000.pth
_base_ = [
    './_base_/models/ddf_r50.py',
    './_base_/datasets/kitti.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/sgd_40k.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

model = dict(data_preprocessor=dict(size=(360, 360)))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=850, val_interval=170)
param_scheduler = [
    dict(type='PolyLR', eta_min=0, power=1.0, begin=0, end=850, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=170))
