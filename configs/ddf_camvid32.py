# DDFHead on ResNet-50, the original CamVid with all its classes (31 and Void, which is ignored).
_base_ = './ddf_camvid-720x960.py'

model = dict(decode_head=dict(num_classes=31))
camvid32 = dict(type='CamVid32Dataset', data_prefix=dict(seg_map_path='labels_all'))
train_dataloader = dict(dataset=camvid32)
val_dataloader = dict(dataset=camvid32)
test_dataloader = val_dataloader
