# DDFHead, decoded to stride 4 alone, as most decoders are, 64 channels wide.
_base_ = ['./ddf.py']
model = dict(
    decode_head=dict(
        in_channels=[24, 40, 112, 320],
        in_index=[1, 2, 3, 4],
        channels=64,
        widths=[64, 64, 64, 64],
    )
)
