# DDFHead on ResNet-50, ACDC's four conditions together at 1024×1024, 40k iterations (4 GPUs, 2
# images each). One condition: --cfg-options test_dataloader.dataset.conditions="['fog']".
_base_ = [
    './_base_/models/ddf_r50.py',
    './_base_/datasets/acdc.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/sgd_40k.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

model = dict(data_preprocessor=dict(size=(1024, 1024)))
