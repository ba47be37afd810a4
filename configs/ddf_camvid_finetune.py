# The second stage of training on CamVid: on from what ddf_camvid.py gave, whose class weights teach
# the rare classes early, but have them predicted where they are not, too.
_base_ = ['./ddf_camvid.py', './_base_/losses/camvid_thin.py']

load_from = 'work_dirs/ddf_camvid/iter_2000.pth'
model = dict(
    decode_head=dict(loss_decode=_base_.thin_loss),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=2400, val_interval=600)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=100, end=2400, by_epoch=False),
]
