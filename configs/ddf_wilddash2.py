# DDFHead on ResNet-50, WildDash 2 (26 classes) at 512×1024, 40k iterations (4 GPUs, 2 images
# each). No recipe is published for it: this is Cityscapes'.
_base_ = [
    './_base_/models/ddf_r50.py',
    './_base_/datasets/wilddash2.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/sgd_40k.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

model = dict(decode_head=dict(num_classes=26))
