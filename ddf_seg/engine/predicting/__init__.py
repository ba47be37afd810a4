"""A network on images and videos of the user's.

- `network`: a segmentor as config and checkpoint describe it
- `classes`: names and colours of its classes
- `image_size`: how large it sees things, compared with its training
- `inputs`: which files there are, and what their results are called
- `results`: what is written, and what must not be written over
- `predictor`, `videos`: segments images and videos
- `tally`: counts what becomes of many inputs
"""
