# The model of ddf_cityscapes.py, scored on ACDC's validation sets together (406 images).
_base_ = './ddf_cityscapes.py'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1920, 1080), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
test_dataloader = dict(
    dataset=dict(
        type='ACDCDataset',
        split='val',
        data_root='{{$DDF_DATA_ROOT:data}}/acdc',
        data_prefix=dict(
            img_path='rgb_anon',
            seg_map_path='gt',
        ),
        pipeline=test_pipeline,
    )
)
