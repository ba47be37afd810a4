"""Files of weights: checkpoints, what a model starts from, and where a training goes on.

- `checkpoints`: whether one can be read, is of a model, and writing one
- `pretrained`: weights that a config asks for, here or to be downloaded
- `package_weights`: weights inside an installed package, `package://…`
- `resuming`: the checkpoint that `--resume` goes on from
"""
