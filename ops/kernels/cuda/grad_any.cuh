// The gradients of both filters for any kernel, stride, scale and layout, kTapsEach taps at a time;
// nothing is kept in memory whose size would depend on the kernel's.
#pragma once

#include "work.cuh"

namespace ddf::cuda {

inline constexpr int kTapsEach = 8;
inline constexpr int kChannelsShared = 4;  // that share the spatial weights a thread reads

// Sums of a pixel in shared memory, padded where there are several, so that neither writing nor
// reading meets in a bank.
DDF_HOST_DEVICE inline int padded_channels(const Lanes& lanes) {
  return lanes.channels() + (lanes.channels() > 1);
}

// A run of taps of one neighbourhood: where they lie, and which of them inside the map.
struct Taps {
  unsigned inside = 0;
  int64_t offset[kTapsEach];

  __device__ Taps(const Problem& p, Centre centre, int first) {
    const int kernel_y = static_cast<int>(p.kernel_y), kernel_x = static_cast<int>(p.kernel_x);
#pragma unroll
    for (int i = 0; i < kTapsEach; ++i) {
      const int dy = tap_shift((first + i) / kernel_x, kernel_y, static_cast<int>(p.dilation_y));
      const int dx = tap_shift((first + i) % kernel_x, kernel_x, static_cast<int>(p.dilation_x));
      if (first + i < kernel_y * kernel_x && contains(centre.y + dy, p.height) &&
          contains(centre.x + dx, p.width))
        inside |= 1u << i;
      offset[i] = dy * p.features.y + dx * p.features.x;
    }
  }

  // The features at tap i, given the centre.
  template <typename E>
  __device__ Sum<E> value(const E* centre, int i) const {
    return load_if(inside >> i & 1, centre + offset[i]);
  }
};

// A thread sums, for one output pixel and some of its taps, over every so many channels of the
// group; the sums of a pixel's threads meet in shared memory, in the order of the threads.
template <typename E, bool kMultiply>
__global__ void __launch_bounds__(kThreads, 2) grad_spatial_any(const __grid_constant__ Work w) {
  using T = Sum<E>;
  T* const shared = shared_memory<T>();
  const Lane lane = lane_of(w.lanes);
  const Problem& p = w.p;
  const FilterView& f = p.channel_filter;
  const int kernel_x = static_cast<int>(p.kernel_x);
  const int taps = static_cast<int>(p.kernel_y) * kernel_x;
  const int channel_lanes = w.lanes.channels(), pixels = w.lanes.pixels();
  for_each_unit(w, [&](const Unit& unit) {
    const int y = unit.y + lane.y, x = unit.x + lane.x;
    const bool active = y < p.out_height && x < p.out_width;
    const Centre centre = centre_of(p, y, x);
    const int phase = phase_at(w, y, x);
#pragma unroll 1
    for (int first = 0; first < taps; first += kTapsEach) {
      const int count = min(kTapsEach, taps - first);
      const Taps run(p, centre, first);
      T sums[kTapsEach] = {};
      int channel = active ? unit.first + lane.channel : unit.end;
      const E* from = at<E>(p.features, unit.image, channel, centre.y, centre.x);
      const E* output = at<E>(p.output, unit.image, channel, y, x);
      const E* filter = filter_at<E>(f, unit.image, phase, channel);
#pragma unroll 1
      for (; channel < unit.end; channel += channel_lanes) {
        const T upstream = widen(*output);
#pragma unroll
        for (int i = 0; i < kTapsEach; ++i) {
          if (i >= count) break;
          T weight = 1;
          if constexpr (kMultiply)
            weight = widen(filter[(first + i) / kernel_x * f.y + (first + i) % kernel_x * f.x]);
          sums[i] += upstream * run.value(from, i) * weight;
        }
        from += channel_lanes * p.features.c;
        output += channel_lanes * p.output.c;
        filter += channel_lanes * f.c;
      }
      E* const to =
          const_cast<E*>(at<E>(p.grad_spatial, unit.image,
                               static_cast<int64_t>(unit.group) * taps + first, unit.y, unit.x));
      __syncthreads();  // the sums before these have been read
#pragma unroll
      for (int i = 0; i < kTapsEach; ++i)
        shared[(i * pixels + (lane.y << w.lanes.log_x) + lane.x) * padded_channels(w.lanes) +
               lane.channel] = sums[i];
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < count * pixels; i += blockDim.x) {
        const int pixel = i & (pixels - 1), tap = i >> (w.lanes.log_x + w.lanes.log_y);
        const int dy = pixel >> w.lanes.log_x, dx = pixel & (w.lanes.x() - 1);
        if (unit.y + dy >= p.out_height || unit.x + dx >= p.out_width) continue;
        T sum = 0;
        for (int j = 0; j < channel_lanes; ++j) sum += shared[i * padded_channels(w.lanes) + j];
        to[tap * p.grad_spatial.c + dy * p.grad_spatial.y + dx * p.grad_spatial.x] = narrow<E>(sum);
      }
    }
  });
}

// A block sums over one tile, for each phase of the channel filter; reduce.cuh adds up the tiles.
template <typename E, bool kMultiply>
__global__ void __launch_bounds__(kThreads, 2) grad_channel_any(const __grid_constant__ Work w) {
  using T = Sum<E>;
  T* const shared = shared_memory<T>();
  const Lane lane = lane_of(w.lanes);
  const Problem& p = w.p;
  const View& s = p.spatial_filter;
  const int taps = static_cast<int>(p.kernel_y * p.kernel_x);
  const int channel_lanes = w.lanes.channels(), pixels = w.lanes.pixels();
  const int step = w.phases == 1 ? 1 : static_cast<int>(p.scale);
  for_each_unit(w, [&](const Unit& unit) {
    const int end_y = min(unit.y + w.tile_height, static_cast<int>(p.out_height));
    const int end_x = min(unit.x + w.tile_width, static_cast<int>(p.out_width));
    const int channel = unit.first + lane.channel;
#pragma unroll 1
    for (int phase = 0; phase < w.phases; ++phase)
#pragma unroll 1
      for (int first = 0; first < taps; first += kTapsEach) {
        const int count = min(kTapsEach, taps - first);
        T sums[kChannelsShared][kTapsEach] = {};
#pragma unroll 1
        for (int y = unit.y + phase / step + step * lane.y; y < end_y; y += step * w.lanes.y())
#pragma unroll 1
          for (int x = unit.x + phase % step + step * lane.x; x < end_x; x += step * w.lanes.x()) {
            const Centre centre = centre_of(p, y, x);
            const Taps run(p, centre, first);
            const E* const spatial =
                at<E>(s, unit.image, static_cast<int64_t>(unit.group) * taps + first, y, x);
            const E* const from = at<E>(p.features, unit.image, channel, centre.y, centre.x);
            const E* const output = at<E>(p.output, unit.image, channel, y, x);
            T upstream[kChannelsShared];
#pragma unroll
            for (int j = 0; j < kChannelsShared; ++j)
              upstream[j] = load_if(channel + j * channel_lanes < unit.end,
                                    output + j * channel_lanes * p.output.c);
#pragma unroll
            for (int i = 0; i < kTapsEach; ++i) {
              if (i >= count) break;
              T weight = 1;
              if constexpr (kMultiply) weight = widen(spatial[i * s.c]);
#pragma unroll
              for (int j = 0; j < kChannelsShared; ++j) {
                if (channel + j * channel_lanes >= unit.end) break;
                const T value = run.value(from + j * channel_lanes * p.features.c, i);
                sums[j][i] += upstream[j] * value * weight;
              }
            }
          }
        // [image][tile][phase][channel][tap]
        T* const partial =
            static_cast<T*>(p.partial_sums) +
            ((static_cast<int64_t>(unit.image) * w.tiles() + unit.tile) * w.phases + phase) *
                p.channels * taps +
            first;
#pragma unroll
        for (int j = 0; j < kChannelsShared; ++j) {
          __syncthreads();  // the sums before these have been read
#pragma unroll
          for (int i = 0; i < kTapsEach; ++i)
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

}  // namespace ddf::cuda
