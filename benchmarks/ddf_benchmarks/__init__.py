"""Measures the operators beside others, and trains decoders that differ in their upsampling.

Part of a checkout, not of a wheel: the scripts beside it import it.
"""
