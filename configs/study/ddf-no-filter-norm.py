# DDFHead, filters as they come, without FilterNorm.
_base_ = ['./ddf.py']
model = dict(decode_head=dict(ddf_cfg=dict(normalization='none')))
