from .ddf_resnet import DDFResNet, DDFResNetSmall, DDFResNetV1c, DDFResNetV1d
from .efficientnet_lite import EfficientNetLite

__all__ = ['DDFResNet', 'DDFResNetSmall', 'DDFResNetV1c', 'DDFResNetV1d', 'EfficientNetLite']
