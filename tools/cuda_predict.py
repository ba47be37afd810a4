from ddf_seg.command_line import moved

moved('dev/cuda_predict.py')
