# DDFHead on ResNet-50, RailSem19 at 768×768, 160k iterations of 8 images (4 GPUs, 2 each), some 170
# epochs; published DeepLabV3+ ran 200.
_base_ = [
    './_base_/models/ddf_r50.py',
    './_base_/datasets/railsem19.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/sgd_160k.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

model = dict(data_preprocessor=dict(size=(768, 768)))
