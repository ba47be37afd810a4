# The model of ddf_cityscapes.py, scored on MUSES' validation set: rain, snow, fog, clear, by day
# and by night.
_base_ = './ddf_cityscapes.py'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1920, 1080), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
test_dataloader = dict(
    dataset=dict(
        type='MUSESDataset',
        data_root='{{$DDF_DATA_ROOT:data}}/muses',
        data_prefix=dict(
            img_path='frame_camera/val',
            seg_map_path='gt_semantic/val',
        ),
        pipeline=test_pipeline,
    )
)
