# DDFHead on ResNet-50, the original CamVid with 11 classes at 720×960: 200 epochs with batches of
# 12 (2 GPUs, 6 images each), as PIDNet. Meant to start from Cityscapes' weights (load_from).
_base_ = [
    './_base_/models/ddf_r50.py',
    './_base_/datasets/camvid_720x960.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/sgd_40k.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

model = dict(data_preprocessor=dict(size=(720, 960)), decode_head=dict(num_classes=11))
optim_wrapper = dict(optimizer=dict(lr=5e-3))
train_cfg = dict(max_iters=7800, val_interval=780)
param_scheduler = [
    dict(type='PolyLR', eta_min=0, power=0.9, begin=0, end=7800, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=780))
