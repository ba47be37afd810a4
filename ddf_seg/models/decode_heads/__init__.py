from .ddf_aspp_head import DDFASPPHead
from .ddf_fpn_head import DDFFPNHead
from .ddf_guided_head import build_guided_head
from .ddf_head import DDFHead
from .ddf_segformer_head import DDFSegformerHead
from .ddf_uper_head import DDFUPerHead
from .top_down_head import TopDownHead

__all__ = [
    'DDFASPPHead',
    'DDFFPNHead',
    'DDFHead',
    'DDFSegformerHead',
    'DDFUPerHead',
    'TopDownHead',
    'build_guided_head',
]
