// Depthwise convolutions, each followed by a 1x1 convolution, of the same input: how a call is cut
// into tiles, of the forward pass and of all gradients. What stands between the two convolutions,
// `phases` times as large as the input, never leaves the caches.
#pragma once

#include "depthwise_pointwise_backward.h"
#include "depthwise_pointwise_forward.h"

namespace ddf::DDF_NAMESPACE {

template <typename T>
Plan plan_depthwise_pointwise(const DepthwisePointwise& p) {
  Plan plan = p.is_backward() ? backward_tiles<T>(p) : forward_tiles<T>(p);
  plan.tiles_y = ceil_div(p.height, plan.tile_rows);
  plan.tiles_x = ceil_div(p.width, plan.tile_columns);
  const int64_t tiles = ceil_div(p.batch, plan.images) * plan.tiles_y * plan.tiles_x;
  plan.units = tiles * plan.chunks;
  Scratch scratch(nullptr);
  if (p.is_backward()) {
    const DepthwisePointwiseBackward<T> buffers(scratch, p, plan);
    if (p.has_parameter_gradients())
      plan.partial_bytes = tiles * p.parameter_elements() * static_cast<int64_t>(sizeof(T));
  } else {
    const DepthwisePointwiseForward<T> buffers(scratch, p, plan);
  }
  plan.scratch_bytes = scratch.used();
  return plan;
}

}  // namespace ddf::DDF_NAMESPACE
