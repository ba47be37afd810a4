# On from ddf_camvid-lite2_trainval.py, in one process; checkpoints/ddf_camvid-lite2.pth is the mean
# of both.
_base_ = ['./ddf_camvid_trainval_finetune.py', './_base_/models/efficientnet-lite2.py']

load_from = 'work_dirs/ddf_camvid-lite2_trainval/iter_3000.pth'
model = dict(backbone=_base_.lite2.backbone, decode_head=_base_.lite2.decode_head)
train_cfg = dict(max_iters=800, val_interval=400)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=100, end=800, by_epoch=False),
]
