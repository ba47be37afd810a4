// The gradient of the channel filter, in two stages without atomics: a block sums over one tile of
// one phase, then one thread per tap adds up the tiles, in their order.
#pragma once

#include "grad_spatial.cuh"

namespace ddf::cuda {

// Channels that share the spatial weights a thread reads.
template <typename E, int kKernel>
inline constexpr int kChannelsShared = kKernel != 5                ? 4
                                       : std::is_same_v<E, double> ? 1
                                                                   : 2;

template <typename E, int kKernel, bool kMultiply>
__global__ void __launch_bounds__(
    kThreads,
    least_blocks((kChannelsShared<E, kKernel> + (kKernel == 0 ? 3 : 1)) * kTapsEach<kKernel>,
                 sizeof(Sum<E>))) grad_channel_tiles(const __grid_constant__ Work w) {
  using T = Sum<E>;
  constexpr int kEach = kTapsEach<kKernel>, kChannels = kChannelsShared<E, kKernel>;
  T* const shared = shared_memory<T>();
  const Lane lane = lane_of(w.lanes);
  const Problem& p = w.p;
  const View& s = p.spatial_filter;
  const int taps = static_cast<int>(p.kernel_y * p.kernel_x);
  const int channel_lanes = w.lanes.channels(), pixels = w.lanes.pixels();
  // Every phase has a block of its own, unless they share a filter.
  const int step = w.phases == 1 ? 1 : static_cast<int>(p.scale);
  for_each_unit(w, [&](const Unit& unit) {
    const int end_y = min(unit.y + w.tile_height, static_cast<int>(p.out_height));
    const int end_x = min(unit.x + w.tile_width, static_cast<int>(p.out_width));
    const int channel = unit.first + lane.channel;
#pragma unroll 1
    for (int phase = 0; phase < w.phases; ++phase)
#pragma unroll 1
      for (int first = 0; first < taps; first += kEach) {
        const int count = min(kEach, taps - first);
        T sums[kChannels][kEach] = {};
#pragma unroll 1
        for (int y = unit.y + phase / step + step * lane.y; y < end_y; y += step * w.lanes.y())
#pragma unroll 1
          for (int x = unit.x + phase % step + step * lane.x; x < end_x; x += step * w.lanes.x()) {
            const Centre centre = centre_of(p, y, x);
            const Taps<kKernel> run(w, centre, first);
            const E* const spatial =
                at<E>(s, unit.image, static_cast<int64_t>(unit.group) * taps + first, y, x);
            const E* const from = at<E>(p.features, unit.image, channel, centre.y, centre.x);
            const E* const output = at<E>(p.output, unit.image, channel, y, x);
            T upstream[kChannels];
#pragma unroll
            for (int j = 0; j < kChannels; ++j)
              upstream[j] = channel + j * channel_lanes < unit.end
                                ? widen(output[j * channel_lanes * p.output.c])
                                : T(0);
#pragma unroll
            for (int i = 0; i < kEach; ++i) {
              if (kKernel == 0 && i >= count) break;
              T weight = 1;
              if constexpr (kMultiply)
                weight = widen(spatial[kKernel == 0 ? i * s.c : w.spatial_offset[i]]);
#pragma unroll
              for (int j = 0; j < kChannels; ++j) {
                if (channel + j * channel_lanes >= unit.end) break;
                const T value = run.value(w, from + j * channel_lanes * p.features.c, i);
                sums[j][i] += upstream[j] * value * weight;
              }
            }
          }
        // [image][tile][phase][channel][tap]
        T* const partial =
            static_cast<T*>(p.partial_sums) +
            ((static_cast<int64_t>(unit.image) * w.tiles_y * w.tiles_x + unit.tile) * w.phases +
             phase) *
                p.channels * taps +
            first;
#pragma unroll
        for (int j = 0; j < kChannels; ++j) {
          __syncthreads();  // the sums before these have been read
#pragma unroll
          for (int i = 0; i < kEach; ++i)
            shared[(i * channel_lanes + lane.channel) * (pixels + 1) + (lane.y << w.lanes.log_x) +
                   lane.x] = sums[j][i];
          __syncthreads();
          for (int i = static_cast<int>(threadIdx.x); i < count * channel_lanes; i += blockDim.x) {
            const int tap = i >> w.lanes.log_channels;
            const int64_t c = unit.first + (i & (channel_lanes - 1)) + j * channel_lanes;
            if (c >= unit.end) continue;
            T sum = 0;
            for (int k = 0; k < pixels; ++k) sum += shared[i * (pixels + 1) + k];
            partial[c * taps + tap] = sum;
          }
        }
      }
  });
}

// Adds up the tiles: one thread per tap of one channel and phase of one image.
template <typename E>
__global__ void __launch_bounds__(kThreads) reduce_channel_tiles(const __grid_constant__ Work w) {
  using T = Sum<E>;
  const Problem& p = w.p;
  const int taps = static_cast<int>(p.kernel_y * p.kernel_x);
  const int64_t per_phase = p.channels * taps, per_tile = w.phases * per_phase;
  const int64_t tiles = static_cast<int64_t>(w.tiles_y) * w.tiles_x;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < p.batch * per_tile; i += stride) {
    const int64_t image = i / per_tile, filter = i % per_tile;
    const T* const partial =
        static_cast<const T*>(p.partial_sums) + image * tiles * per_tile + filter;
    T sum = 0;
    for (int64_t tile = 0; tile < tiles; ++tile) sum += partial[tile * per_tile];
    const int tap = static_cast<int>(filter % taps), kernel_x = static_cast<int>(p.kernel_x);
    E* const to = const_cast<E*>(
        filter_at<E>(p.grad_channel, image, filter / per_phase, filter % per_phase / taps));
    to[tap / kernel_x * p.grad_channel.y + tap % kernel_x * p.grad_channel.x] = narrow<E>(sum);
  }
}

}  // namespace ddf::cuda
