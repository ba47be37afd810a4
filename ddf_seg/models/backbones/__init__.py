from .ddf_resnet import DDFResNet, DDFResNetV1c, DDFResNetV1d
from .efficientnet_lite import EfficientNetLite

__all__ = ['DDFResNet', 'DDFResNetV1c', 'DDFResNetV1d', 'EfficientNetLite']
