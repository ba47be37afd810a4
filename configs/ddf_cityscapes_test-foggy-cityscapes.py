# The model of ddf_cityscapes.py, scored on Foggy Cityscapes' validation set in its thickest fog
# (beta 0.02; the others are 0.01 and 0.005). data/foggy_cityscapes holds leftImg8bit_foggy
# (UNVERIFIED: that the archive unpacks to this name) and Cityscapes' own gtFine, as a link.
_base_ = './ddf_cityscapes.py'

test_dataloader = dict(
    dataset=dict(
        img_suffix='_leftImg8bit_foggy_beta_0.02.png',
        data_root='{{$DDF_DATA_ROOT:data}}/foggy_cityscapes',
        data_prefix=dict(img_path='leftImg8bit_foggy/val'),
    )
)
