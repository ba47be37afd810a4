# DySample: bilinear sampling at places that the coarse map predicts.
_base_ = ['./bilinear.py']
model = dict(decode_head=dict(upsample=dict(layer=dict(type='DySample'))))
