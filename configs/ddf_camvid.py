# DDFHead on EfficientNet-Lite0, CamVid with 11 classes at 360×480.
_base_ = [
    './_base_/models/ddf_efficientnet-lite0.py',
    './_base_/datasets/camvid.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/adamw.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

model = dict(
    data_preprocessor=dict(size=(288, 384)),
    decode_head=dict(
        num_classes=11,
        # In proportion to 1 / √frequency in the training labels: without it, poles
        # (1 % of the pixels) and cyclists (0.3 %) are learned late or not at all.
        loss_decode=dict(
            class_weight=[0.26, 0.22, 1.08, 0.19, 0.51, 0.34, 0.99, 1.01, 0.44, 1.34, 1.99],
        ),
    ),
)
