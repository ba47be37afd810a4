# DDF-Up without guidance, added to the interpolation; refinement as in bilinear.py.
_base_ = ['./bilinear.py']
model = dict(decode_head=dict(upsample=dict(layer=dict(type='DDFUp'), residual=True)))
