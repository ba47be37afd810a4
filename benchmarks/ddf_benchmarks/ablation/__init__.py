"""The paper's ablation on CIFAR-10: one small ResNet, whose 3×3 convolutions are replaced.

A run takes minutes of one core. The rows of a seed share the start of what they have in common, the
images, their order and how they are cropped: what is left between rows is what they compute.
"""
