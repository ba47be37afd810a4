# Interpolation, refinement by depthwise 3×3 and 1×1 convolutions.
_base_ = ['../_base_/study.py']
model = dict(
    decode_head=dict(
        type='TopDownHead',
        upsample=dict(type='PlainUpsample'),
        refine=dict(type='SeparableRefinement'),
    )
)
