# DDFHead: joint DDF-Up and DDF refinement, by spatial filters alone.
_base_ = ['../_base_/study.py']
