# Joint DDF-Up, four times.
_base_ = './ddf_x8_scenes.py'
model = dict(factor=4)
