// The gradient of the spatial filter: a thread sums, for one output pixel and some of its taps,
// over every so many channels of the group; the sums of a pixel's threads meet in shared memory, in
// the order of the threads.
#pragma once

#include "work.cuh"

namespace ddf::cuda {

// Taps that a thread sums at a time, for a kernel of any size (kKernel 0).
template <int kKernel>
inline constexpr int kTapsEach = kKernel == 0 ? 8 : kKernel * kKernel;

// Sums of a pixel in shared memory, padded where there are several, so that neither writing nor
// reading meets in a bank.
DDF_HOST_DEVICE inline int padded_channels(const Lanes& lanes) {
  return lanes.channels() + (lanes.channels() > 1);
}

// A run of taps of one neighbourhood: where they lie, and which of them inside the map.
template <int kKernel>
struct Taps {
  static constexpr int kEach = kTapsEach<kKernel>;
  unsigned inside = 0;
  int64_t offset[kKernel == 0 ? kEach : 1];

  __device__ Taps(const Work& w, Centre centre, int first) {
    const Problem& p = w.p;
    if constexpr (kKernel != 0) {
      inside = taps_inside<kKernel>(p, centre, p.height, p.width);
    } else {
      const int kernel_y = static_cast<int>(p.kernel_y), kernel_x = static_cast<int>(p.kernel_x);
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const int dy = tap_shift((first + i) / kernel_x, kernel_y, static_cast<int>(p.dilation_y));
        const int dx = tap_shift((first + i) % kernel_x, kernel_x, static_cast<int>(p.dilation_x));
        if (first + i < kernel_y * kernel_x && contains(centre.y + dy, p.height) &&
            contains(centre.x + dx, p.width))
          inside |= 1u << i;
        offset[i] = dy * p.features.y + dx * p.features.x;
      }
    }
  }

  // The features at tap i, given the centre.
  template <typename E>
  __device__ Sum<E> value(const Work& w, const E* centre, int i) const {
    if (!(inside >> i & 1)) return 0;
    if constexpr (kKernel != 0) {
      return widen(centre[w.tap_offset[i]]);
    } else {
      return widen(centre[offset[i]]);
    }
  }
};

template <typename E, int kKernel, bool kMultiply>
__global__ void __launch_bounds__(kThreads, least_blocks(3 * kTapsEach<kKernel>, sizeof(Sum<E>)))
    grad_spatial(const __grid_constant__ Work w) {
  using T = Sum<E>;
  using Filters = Stage<T, kKernel == 0 ? 1 : kKernel>;
  constexpr int kEach = kTapsEach<kKernel>;
  constexpr bool kStaged = kMultiply && kKernel != 0;
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
    for (int first = 0; first < taps; first += kEach) {
      const Taps<kKernel> run(w, centre, first);
      T sums[kEach] = {};
#pragma unroll 1
      for (int staged = unit.first; staged < unit.end; staged += w.stage_channels) {
        const int end = min(staged + w.stage_channels, unit.end);
        if constexpr (kStaged) {
          __syncthreads();  // the filters before these, or the sums below, have been read
          Filters::template fill<E>(shared, w, unit.image, staged, end);
          __syncthreads();
        }
        if (!active) continue;
        int channel = staged + lane.channel;
        const E* from = at<E>(p.features, unit.image, channel, centre.y, centre.x);
        const E* output = at<E>(p.output, unit.image, channel, y, x);
        const E* filter = filter_at<E>(f, unit.image, phase, channel);
        const T* staged_filter = shared + (lane.channel * w.phases + phase) * Filters::kPitch;
#pragma unroll 1
        for (; channel < end; channel += channel_lanes) {
          const T upstream = widen(*output);
          T weights[Filters::kPitch];
          if constexpr (kStaged) Filters::load(staged_filter, weights);
#pragma unroll
          for (int i = 0; i < kEach; ++i) {
            if (kKernel == 0 && first + i >= taps) break;
            const T product = upstream * run.value(w, from, i);
            if constexpr (kStaged) {
              sums[i] += product * weights[i];
            } else if constexpr (kMultiply) {
              sums[i] += product *
                         widen(filter[(first + i) / kernel_x * f.y + (first + i) % kernel_x * f.x]);
            } else {
              sums[i] += product;
            }
          }
          from += channel_lanes * p.features.c;
          output += channel_lanes * p.output.c;
          filter += channel_lanes * f.c;
          staged_filter += channel_lanes * w.phases * Filters::kPitch;
        }
      }
      E* const to =
          const_cast<E*>(at<E>(p.grad_spatial, unit.image,
                               static_cast<int64_t>(unit.group) * taps + first, unit.y, unit.x));
      const int count = min(kEach, taps - first);
      __syncthreads();  // the filters, or the sums before these, have been read
#pragma unroll
      for (int i = 0; i < kEach; ++i)
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

}  // namespace ddf::cuda
