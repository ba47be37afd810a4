# Joint DDF-Up (filters from the finer level), added to the interpolation; refinement as there.
_base_ = ['./bilinear.py']
model = dict(decode_head=dict(upsample=dict(type='GuidedUpsample', ddf_cfg=dict())))
