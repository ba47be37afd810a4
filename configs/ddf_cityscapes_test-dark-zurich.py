# The model of ddf_cityscapes.py, scored on Dark Zurich's validation set (50 images, a number
# that is UNVERIFIED).
_base_ = ['./ddf_cityscapes.py', './_base_/pipelines/test_1920x1080.py']

test_pipeline = _base_.test_pipeline_1920x1080
test_dataloader = dict(
    dataset=dict(
        type='DarkZurichDataset',
        data_root='{{$DDF_DATA_ROOT:data}}/dark_zurich',
        data_prefix=dict(
            img_path='rgb_anon/val/night/GOPR0356',
            seg_map_path='gt/val/night/GOPR0356',
        ),
        pipeline=test_pipeline,
    )
)
