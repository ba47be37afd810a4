# As bilinear.py, but decoded to stride 8 alone, as dilated networks are, 64 channels wide.
_base_ = ['./bilinear.py']
model = dict(
    decode_head=dict(
        in_channels=[40, 112, 320],
        in_index=[2, 3, 4],
        channels=64,
        widths=[64, 64, 64],
    )
)
