# DDFHead, spatial and channel filters multiplied, as the paper has it.
_base_ = ['./ddf.py']
model = dict(decode_head=dict(ddf_cfg=dict(branches='both')))
