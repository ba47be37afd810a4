# The head of bilinear-stride8.py, its last map upsampled to stride 2 by joint DDF-Up.
_base_ = ['./bilinear-stride8.py']
model = dict(
    decode_head=dict(
        type='DDFGuidedHead',
        head='TopDownHead',
        guide_index=[0, 1],
        guide_channels=[16, 24],
    )
)
