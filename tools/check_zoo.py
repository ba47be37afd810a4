from ddf_seg.command_line import moved

moved('dev/check_zoo.py')
