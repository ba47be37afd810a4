# DDFHead with both filters, multiplied; the channel filters start at 1.
_base_ = ['./ddf-both.py']
model = dict(decode_head=dict(ddf_cfg=dict(neutral_start=True)))
