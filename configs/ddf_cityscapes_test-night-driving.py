# The model of ddf_cityscapes.py, scored on Nighttime Driving's 50 images.
_base_ = './ddf_cityscapes.py'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1920, 1080), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
test_dataloader = dict(
    dataset=dict(
        type='NightDrivingDataset',
        data_root='{{$DDF_DATA_ROOT:data}}/NighttimeDrivingTest',
        data_prefix=dict(
            img_path='leftImg8bit/test/night',
            seg_map_path='gtCoarse_daytime_trainvaltest/test/night',
        ),
        pipeline=test_pipeline,
    )
)
