// What the backward pass for 3 x 3 kernels of stride 1 works in.
#pragma once

#include "ddf_filter.h"
#include "ddf_gradients.h"

namespace ddf::DDF_NAMESPACE {

// Steps of a strip, with pixel lanes: their spatial weights and the gradients of those stay in the
// L1 cache while the block's channels pass by.
inline constexpr int64_t kJointSteps = 16;
// Of a block, with channel lanes: their filters and the gradients of those stay there.
inline constexpr int64_t kJointChannels = 256;

template <typename T>
bool runs_jointly(const Problem& p) {
  return kWalks<T> && p.kernel_y == 3 && p.kernel_x == 3 && p.scale == 1 && p.stride_y == 1 &&
         p.stride_x == 1 && (p.grad_channel.data != nullptr || p.grad_spatial.data != nullptr);
}

template <typename T, bool kPixelLanes>
struct JointBuffers {
  static constexpr int L = kLanes<T>;
  // Elements of the spatial filter's gradient at a position.
  static constexpr int64_t kPerPosition = kPixelLanes ? kTaps * L : kTapSums<T>;
  int64_t block = 0;  // channels
  Patch<T, kPixelLanes> gradient, features;
  T *weights, *grad_weights, *filter, *grad_filter, *output;

  DDF_SHARED void allocate(Scratch& scratch, const Problem& p, const Tile& tile) {
    const int64_t rows = tile.rows.size(), columns = tile.columns.size();
    block = kPixelLanes ? kWalkChannels
                        : smaller(kJointChannels, round_up(larger(1, p.group_channels()), L));
    gradient.channels = features.channels = block;
    gradient.y = make_axis(tile.rows.begin, rows, 1, 3, p.dilation_y, false);
    gradient.x = make_axis(tile.columns.begin, columns, 1, 3, p.dilation_x, kPixelLanes);
    features.y = make_axis(tile.rows.begin, rows, 1, 1, 1, false);
    features.x = make_axis(tile.columns.begin, columns, 1, 1, 1, kPixelLanes);
    gradient.y.valid = features.y.valid = {0, p.height};
    gradient.x.valid = features.x.valid = {0, p.width};
    gradient.allocate(scratch);
    features.allocate(scratch);
    const Weights<T, kPixelLanes> all(rows, columns, kTaps, Order::block);
    weights = scratch.take<T>(kPixelLanes ? all.elements() : 0);
    grad_weights = scratch.take<T>(rows * all.positions() * kPerPosition + L);
    filter = scratch.take<T>(kTaps * block);
    grad_filter = scratch.take<T>(kTaps * block * (kPixelLanes ? L : 1));
    output = scratch.take<T>((round_up(columns, L) * rows + L) * block);
  }
};

// A block of channels of a tile in memory: the distance between rows, positions and vectors of
// channels.
template <typename T>
struct Place {
  T* data;
  int64_t row, position, vector;
  bool in_tensor = false;
  bool is_run = false;  // in a buffer, with rows as they follow in the tensor
};

}  // namespace ddf::DDF_NAMESPACE
