# ddf_camvid_trainval.py with a larger backbone (4.5 M parameters): half as many iterations, of
# twice as many images, in two processes of one thread each:
#   bash tools/dist_train.sh configs/ddf_camvid-lite2_trainval.py 2 --amp \
#     --cfg-options randomness.diff_rank_seed=True
_base_ = ['./ddf_camvid_trainval.py', './_base_/models/efficientnet-lite2.py']

model = dict(backbone=_base_.lite2.backbone, decode_head=_base_.lite2.decode_head)
train_cfg = dict(max_iters=3000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=150, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=150, end=3000, by_epoch=False),
]
