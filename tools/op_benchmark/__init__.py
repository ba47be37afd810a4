"""The parts of tools/benchmark_op.py."""
