# Faster R-CNN whose FPN upsamples by joint DDF-Up (the paper's table 6), on COCO. It needs mmdet:
# mim train mmdet configs/detection/faster-rcnn_r50_ddf-fpn_1x_coco.py
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)
model = dict(neck=dict(type='mmseg.DDFFPN'))
