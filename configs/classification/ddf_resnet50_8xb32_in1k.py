# DDF-ResNet-50 on ImageNet by the authors' schedule, which gives them 79.1 %.
_base_ = '../_base_/classification/in1k.py'
