# DDFHead on ResNet-50, BDD100K's 10K images at 512×1024, 80k iterations (4 GPUs, 2 images each).
# data/bdd100k/{images/10k,labels/sem_seg/masks}/{train,val}, as it comes.
_base_ = [
    './_base_/models/ddf_r50.py',
    'mmseg::_base_/datasets/bdd100k.py',
    'mmseg::_base_/default_runtime.py',
    './_base_/schedules/sgd_80k.py',
]
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)

data_root = '{{$DDF_DATA_ROOT:data}}/bdd100k/'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
