# Scores images at 1920×1080. A config that inherits this takes _base_.test_pipeline_1920x1080.
test_pipeline_1920x1080 = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1920, 1080), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
