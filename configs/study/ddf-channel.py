# DDFHead, channel filters alone.
_base_ = ['./ddf.py']
model = dict(decode_head=dict(ddf_cfg=dict(branches='channel')))
