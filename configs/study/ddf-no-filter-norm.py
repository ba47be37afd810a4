# DDFHead with both filters, as they come: without FilterNorm.
_base_ = ['./ddf-both.py']
model = dict(decode_head=dict(ddf_cfg=dict(normalization='none')))
