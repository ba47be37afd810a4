# DDFHead with both filters, added up.
_base_ = ['./ddf-both.py']
model = dict(decode_head=dict(ddf_cfg=dict(kernel_combine='add')))
