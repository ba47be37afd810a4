# The model of ddf_cityscapes.py, scored on Foggy Driving: 33 finely and 68 coarsely labelled
# images, each at its own size. tools/dataset_converters/cityscapes.py makes the labels' train
# ids.
_base_ = './ddf_cityscapes.py'

data_root = '{{$DDF_DATA_ROOT:data}}/foggy_driving'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(
                type='CityscapesDataset',
                data_root=data_root,
                data_prefix=dict(img_path='leftImg8bit/test', seg_map_path='gtFine/test'),
                pipeline=test_pipeline,
            ),
            dict(
                type='CityscapesDataset',
                seg_map_suffix='_gtCoarse_labelTrainIds.png',
                data_root=data_root,
                data_prefix=dict(
                    img_path='leftImg8bit/test_extra', seg_map_path='gtCoarse/test_extra'
                ),
                pipeline=test_pipeline,
            ),
        ],
    )
)
