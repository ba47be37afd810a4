"""Decoders that differ in their upsampling alone, trained on the features of a frozen backbone.

A run takes minutes of one core, all rows of a run share their start, their images and the order of
these, and images are split by blocks of the drives: what is left between rows is what they compute.
"""
