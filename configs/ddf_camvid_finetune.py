# The second stage of training on CamVid: on from what ddf_camvid.py gave, whose class weights teach
# the rare classes early, but have them predicted where they are not, too. Here poles, a pixel or
# two wide, and signs alone keep a weight, and the thin classes are trained for their IoU as well.
_base_ = ['./ddf_camvid.py']

load_from = 'work_dirs/ddf_camvid/iter_2000.pth'
model = dict(
    decode_head=dict(
        loss_decode=[
            dict(
                type='CrossEntropyLoss',
                use_sigmoid=False,
                avg_non_ignore=True,
                class_weight=[1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.5, 1.0, 1.0, 1.0, 1.0],
            ),
            dict(
                type='LovaszLoss',
                classes=[2, 6, 9, 10],  # Pole, SignSymbol, Pedestrian, Bicyclist
                reduction='none',
                loss_weight=0.5,
            ),
        ],
    ),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=2400, val_interval=600)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=100, end=2400, by_epoch=False),
]
