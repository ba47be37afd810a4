# mmseg's schedule_80k, for networks with DDF.
_base_ = 'mmseg::_base_/schedules/schedule_80k.py'
# FilterNorm's learned deviation is a scale, as normalisation layers have: it does not decay.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'.std': dict(decay_mult=0.0)}))
