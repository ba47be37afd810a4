# DDFHead on ResNet-50, IDD (26 classes) at 512×1024, 80k iterations (4 GPUs, 2 images each). No
# recipe is published for it: this is Cityscapes'.
_base_ = [
    './_base_/models/ddf_r50.py',
    './_base_/datasets/idd.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/sgd_80k.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

model = dict(decode_head=dict(num_classes=26))
