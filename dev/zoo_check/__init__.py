"""Swaps and runs the models that mmsegmentation ships."""
