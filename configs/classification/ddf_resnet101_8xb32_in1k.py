# DDF-ResNet-101 on ImageNet by the authors' schedule, which gives them 80.5 %.
_base_ = '../_base_/classification/in1k.py'
model = dict(backbone=dict(depth=101))
