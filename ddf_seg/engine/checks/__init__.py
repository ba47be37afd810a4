"""Whether everything is as a run needs it, before it costs an epoch.

- `options`: keys and values of a config and of `--cfg-options`
- `arguments`: mistyped arguments that no constructor rejects
- `output_folder`: folders to write to, and that no other run does
- `output_names`: names of what a test writes
- `dataset`: folders, files, labels and settings of a config's datasets
- `batches`: sizes and label ids of a batch
"""
