# mmseg's schedule_40k, for networks with DDF.
_base_ = 'mmseg::_base_/schedules/schedule_40k.py'
# FilterNorm's learned deviation is a scale, as normalisation layers have: it does not decay.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'.std': dict(decay_mult=0.0)}))
