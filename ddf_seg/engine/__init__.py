"""What stands between a config and a run, and what the tools share.

- `config_file`: reads a config, with errors that a user can act on
- `lookup`: finds things in configs, in the classes they name, in datasets and in models
- `images`: headers and pixels of image files, and why one cannot be read
- `explanations`: what to show for a failure, and for a fault that a check finds
- `checks`: whether options, folders, datasets and batches are as a run needs them
- `weights`: checkpoints, pretrained weights, and where a training goes on
- `hooks`: what a run does besides
- `running`: mmseg's own train.py and test.py, with all this between config and runner
- `predicting`: a network on images and videos of the user's
- `flops`: the operators' cost for mmengine's analysis

What registers itself (flops, hooks, weights.package_weights) is imported by `ddf_seg.openmmlab`.
"""
