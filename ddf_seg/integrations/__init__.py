"""ddf_seg in other hosts than OpenMMLab; each module needs its host."""
