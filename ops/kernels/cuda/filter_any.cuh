// The forward pass and the features' gradient for any kernel, stride, scale and layout. A thread
// computes one pixel of kChannelsEach channels at once, so that it reads a spatial weight once for
// them; nothing is kept in memory whose size would depend on the kernel's.
#pragma once

#include "work.cuh"

namespace ddf::cuda {

inline constexpr int kChannelsEach = 8;

// One tap of kChannelsEach channels, `step` apart.
template <typename E>
struct Channels {
  using T = Sum<E>;
  int count = 0;
  int64_t step = 1;
  T sums[kChannelsEach] = {};

  __device__ Channels(const Work& w, const Unit& unit, const Lane& lane)
      : step(w.lanes.channels()) {
    const int left = unit.end - unit.first - lane.channel;
    count = left <= 0 ? 0 : (left + w.lanes.channels() - 1) >> w.lanes.log_channels;
  }

  // Pointers to the first channel and distances between channels.
  template <bool kMultiply>
  __device__ void add(const E* filter, int64_t filter_c, const E* from, int64_t from_c, bool inside,
                      T of_pixel) {
#pragma unroll
    for (int i = 0; i < kChannelsEach; ++i) {
      if (i >= count) break;
      const T value = inside ? widen(from[i * step * from_c]) : T(0);
      sums[i] += combine<kMultiply>(widen(filter[i * step * filter_c]), of_pixel) * value;
    }
  }

  __device__ void store(E* to, int64_t to_c) const {
#pragma unroll
    for (int i = 0; i < kChannelsEach; ++i)
      if (i < count) to[i * step * to_c] = narrow<E>(sums[i]);
  }
};

template <typename E, bool kMultiply>
__global__ void __launch_bounds__(kThreads, least_blocks(kChannelsEach, sizeof(Sum<E>)))
    filter_any(const __grid_constant__ Work w) {
  const Lane lane = lane_of(w.lanes);
  const Problem& p = w.p;
  const int kernel_y = static_cast<int>(p.kernel_y), kernel_x = static_cast<int>(p.kernel_x);
  for_each_unit(w, [&](const Unit& unit) {
    const int y = unit.y + lane.y, x = unit.x + lane.x, channel = unit.first + lane.channel;
    if (y >= p.out_height || x >= p.out_width) return;
    const Centre centre = centre_of(p, y, x);
    Channels<E> channels(w, unit, lane);
    const E* filters = filter_at<E>(p.channel_filter, unit.image, phase_at(w, y, x), channel);
    const E* spatial = at<E>(p.spatial_filter, unit.image,
                             static_cast<int64_t>(unit.group) * kernel_y * kernel_x, y, x);
#pragma unroll 1
    for (int iy = 0; iy < kernel_y; ++iy)
#pragma unroll 1
      for (int ix = 0; ix < kernel_x; ++ix) {
        const int sy = centre.y + tap_shift(iy, kernel_y, static_cast<int>(p.dilation_y));
        const int sx = centre.x + tap_shift(ix, kernel_x, static_cast<int>(p.dilation_x));
        channels.template add<kMultiply>(
            filters + iy * p.channel_filter.y + ix * p.channel_filter.x, p.channel_filter.c,
            at<E>(w.from, unit.image, channel, sy, sx), w.from.c,
            contains(sy, p.height) && contains(sx, p.width), widen(*spatial));
        spatial += p.spatial_filter.c;
      }
    channels.store(const_cast<E*>(at<E>(w.to, unit.image, channel, y, x)), w.to.c);
  });
}

// Gathers, for a pixel of the features, every output that read it, tap by tap and phase by phase.
template <typename E, bool kMultiply>
__global__ void __launch_bounds__(kThreads, least_blocks(kChannelsEach, sizeof(Sum<E>)))
    grad_features_any(const __grid_constant__ Work w) {
  const Lane lane = lane_of(w.lanes);
  const Problem& p = w.p;
  const int kernel_y = static_cast<int>(p.kernel_y), kernel_x = static_cast<int>(p.kernel_x);
  const int scale = static_cast<int>(p.scale);
  const int grid_y = static_cast<int>(p.grid_height()), grid_x = static_cast<int>(p.grid_width());
  const int out_y = static_cast<int>(p.out_height), out_x = static_cast<int>(p.out_width);
  for_each_unit(w, [&](const Unit& unit) {
    const int y = unit.y + lane.y, x = unit.x + lane.x, channel = unit.first + lane.channel;
    if (y >= p.height || x >= p.width) return;
    Channels<E> channels(w, unit, lane);
    const int64_t first_tap = static_cast<int64_t>(unit.group) * kernel_y * kernel_x;
#pragma unroll 1
    for (int iy = 0; iy < kernel_y; ++iy) {
      const int row = reader_of(y, tap_shift(iy, kernel_y, static_cast<int>(p.dilation_y)),
                                static_cast<int>(p.stride_y), grid_y);
      if (row < 0) continue;
      const int end_y = end_output(row, scale, grid_y, out_y);
#pragma unroll 1
      for (int ix = 0; ix < kernel_x; ++ix) {
        const int column = reader_of(x, tap_shift(ix, kernel_x, static_cast<int>(p.dilation_x)),
                                     static_cast<int>(p.stride_x), grid_x);
        if (column < 0) continue;
        const int end_x = end_output(column, scale, grid_x, out_x);
#pragma unroll 1
        for (int oy = first_output(row, scale); oy < end_y; ++oy)
#pragma unroll 1
          for (int ox = first_output(column, scale); ox < end_x; ++ox)
            channels.template add<kMultiply>(
                filter_at<E>(p.channel_filter, unit.image, phase_at(w, oy, ox), channel) +
                    iy * p.channel_filter.y + ix * p.channel_filter.x,
                p.channel_filter.c, at<E>(w.from, unit.image, channel, oy, ox), w.from.c, true,
                widen(
                    *at<E>(p.spatial_filter, unit.image, first_tap + iy * kernel_x + ix, oy, ox)));
      }
    }
    channels.store(const_cast<E*>(at<E>(w.to, unit.image, channel, y, x)), w.to.c);
  });
}

}  // namespace ddf::cuda
