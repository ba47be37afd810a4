# For the last stage on CamVid: poles, a pixel or two wide, and signs alone keep a weight, and the
# thin classes are trained for their IoU, too. A config that inherits this takes _base_.thin_loss.
thin_loss = [
    dict(
        type='CrossEntropyLoss',
        use_sigmoid=False,
        avg_non_ignore=True,
        class_weight=[1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.5, 1.0, 1.0, 1.0, 1.0],
    ),
    dict(
        type='LovaszLoss',
        classes=[2, 6, 9, 10],  # Pole, SignSymbol, Pedestrian, Bicyclist
        reduction='none',
        loss_weight=0.5,
    ),
]
