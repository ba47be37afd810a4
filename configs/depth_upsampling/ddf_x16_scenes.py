# Joint DDF-Up, sixteen times.
_base_ = './ddf_x8_scenes.py'
model = dict(factor=16)
