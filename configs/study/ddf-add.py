# DDFHead, the two filters added up.
_base_ = ['./ddf.py']
model = dict(decode_head=dict(ddf_cfg=dict(kernel_combine='add')))
