# DDFHead on ResNet-50, trained on SYNTHIA at 512×512, scored on Cityscapes; 40k iterations (4
# GPUs, 2 images each).
_base_ = [
    './_base_/models/ddf_r50.py',
    './_base_/datasets/synthia.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/sgd_40k.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

model = dict(data_preprocessor=dict(size=(512, 512)))
