from ddf_seg.command_line import moved

moved('benchmarks/benchmark_op.py')
