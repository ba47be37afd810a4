"""A network on images and videos of the user's.

- `backend`: what runs a network, and the windows over large images
- `pytorch`: runs a segmentor of mmseg; `network`: as config and checkpoint describe it
- `optimizing`: makes it faster
- `exported`: runs what `deployment` wrote; `programs`: that in torch
- `classes`: names and colours of its classes
- `image_size`: how large it sees things, compared with its training
- `inputs`: which files there are, and what their results are called
- `results`: what is written, and what must not be written over
- `predictor`, `videos`: segments images and videos
- `tiling`: segments large images window by window; `memory`: whether an image is large
- `background`: reads and writes while the network is at work
- `tally`: counts what becomes of many inputs

Only `network`, `pytorch`, `optimizing` and `image_size` need OpenMMLab and torch, `programs` torch.
"""
