# The model of ddf_cityscapes.py, scored on ACDC's validation set, condition fog.
_base_ = './ddf_cityscapes_test-acdc.py'

test_dataloader = dict(dataset=dict(conditions=['fog']))
