# DDFHead: joint DDF-Up, and DDF refinement.
_base_ = ['../_base_/study.py']
