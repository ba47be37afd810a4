from ddf_seg.command_line import moved

moved('dev/audit_wheel.py')
