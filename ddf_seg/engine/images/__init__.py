"""Image files: what their headers say, how a config reads their pixels, why one cannot be read."""

from __future__ import annotations

# What files are taken for, by their suffixes
IMAGES = frozenset({'.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp'})
VIDEOS = frozenset({'.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm'})
