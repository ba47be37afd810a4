# The model of ddf_cityscapes.py, scored on MUSES' validation set: rain, snow, fog, clear, by day
# and by night.
_base_ = ['./ddf_cityscapes.py', './_base_/pipelines/test_1920x1080.py']

test_pipeline = _base_.test_pipeline_1920x1080
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
