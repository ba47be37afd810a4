# The model of ddf_cityscapes.py, scored on ACDC's validation sets together (406 images).
_base_ = ['./ddf_cityscapes.py', './_base_/pipelines/test_1920x1080.py']

test_pipeline = _base_.test_pipeline_1920x1080
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
