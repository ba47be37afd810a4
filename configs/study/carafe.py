# CARAFE: filters from the coarse map, softmax over their taps.
_base_ = ['./bilinear.py']
model = dict(decode_head=dict(upsample=dict(layer=dict(type='CARAFE'))))
