# The model of ddf_cityscapes.py, scored on Nighttime Driving's 50 images.
_base_ = ['./ddf_cityscapes.py', './_base_/pipelines/test_1920x1080.py']

test_pipeline = _base_.test_pipeline_1920x1080
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
