// A filter whose neighbouring threads are neighbouring pixels: each thread reads the spatial
// weights of its kPixels pixels once, keeps them in registers and passes through the channels,
// whose filters come from shared memory. The forward pass, and transposed the features' gradient.
#pragma once

#include "work.cuh"

namespace ddf::cuda {

// The spatial weights of kPixels neighbouring pixels, tap by tap.
template <typename E, int kKernel, int kPixels>
struct SpatialWeights {
  using T = Sum<E>;
  T of[kKernel * kKernel][kPixels];

  __device__ void load(const Work& w, const Unit& unit, int y, int x) {
    constexpr int kTaps = kKernel * kKernel;
    const View& s = w.p.spatial_filter;
    const E* const here = at<E>(s, unit.image, unit.group * kTaps, y, x);
    if (!w.transposed) {
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap) {
        const Pack<E, kPixels> values = load_pack<kPixels>(here + w.spatial_offset[tap]);
#pragma unroll
        for (int i = 0; i < kPixels; ++i) of[tap][i] = widen(values.of[i]);
      }
      return;
    }
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) {
      const int dy = tap_shift(tap / kKernel, kKernel, static_cast<int>(w.p.dilation_y));
      const int dx = tap_shift(tap % kKernel, kKernel, static_cast<int>(w.p.dilation_x));
#pragma unroll
      for (int i = 0; i < kPixels; ++i) {
        const bool there = contains(y + dy, w.p.out_height) && contains(x + i + dx, w.p.out_width);
        of[tap][i] = there ? widen(here[w.spatial_offset[tap] + i * s.x]) : T(0);
      }
    }
  }
};

// Any stride, dilation, scale and layout.
template <typename E, int kKernel, bool kMultiply>
__global__ void __launch_bounds__(kThreads, least_blocks(2 * kKernel * kKernel, sizeof(Sum<E>)))
    filter_pixel(const __grid_constant__ Work w) {
  using T = Sum<E>;
  using Filters = Stage<T, kKernel>;
  constexpr int kTaps = kKernel * kKernel;
  T* const filters = shared_memory<T>();
  const Lane lane = lane_of(w.lanes);
  for_each_unit(w, [&](const Unit& unit) {
    __syncthreads();  // the last pass has read its filters
    Filters::template fill<E>(filters, w, unit.image, unit.first, unit.end);
    __syncthreads();
    const int y = unit.y + lane.y, x = unit.x + lane.x;
    if (y >= w.p.out_height || x >= w.p.out_width) return;
    const Centre centre = centre_of(w.p, y, x);
    const unsigned inside = taps_inside<kKernel>(w.p, centre, w.p.height, w.p.width);
    // An output that does not exist adds nothing to the gradient, however large the filter's tap.
    const unsigned skipped = w.transposed ? ~inside : 0;
    SpatialWeights<E, kKernel, 1> spatial;
    spatial.load(w, unit, y, x);
    int channel = unit.first + lane.channel;
    const T* filter = filters + (lane.channel * w.phases + phase_at(w, y, x)) * Filters::kPitch;
    const E* from = at<E>(w.from, unit.image, channel, centre.y, centre.x);
    E* to = const_cast<E*>(at<E>(w.to, unit.image, channel, y, x));
#pragma unroll 1
    for (; channel < unit.end; channel += w.lanes.channels()) {
      T weights[Filters::kPitch];
      Filters::load(filter, weights);
      T sum = 0;
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap) {
        const T value = inside >> tap & 1 ? widen(from[w.tap_offset[tap]]) : T(0);
        const T weight = combine<kMultiply>(weights[tap], spatial.of[tap][0]);
        sum += (skipped >> tap & 1 ? T(0) : weight) * value;
      }
      *to = narrow<E>(sum);
      filter += w.lanes.channels() * w.phases * Filters::kPitch;
      from += w.lanes.channels() * w.from.c;
      to += w.lanes.channels() * w.to.c;
    }
  });
}

// kPixels pixels of a row to a thread, which share the values they read. Stride, horizontal
// dilation and scale 1; rows that start and end at whole vectors (plan.cuh).
template <typename E, int kKernel, bool kMultiply>
__global__ void __launch_bounds__(kThreads,
                                  least_blocks((kPixelPack<E, kKernel> + 1) * kKernel * kKernel,
                                               sizeof(Sum<E>)))
    filter_pixel_vectors(const __grid_constant__ Work w) {
  using T = Sum<E>;
  using Filters = Stage<T, kKernel>;
  constexpr int kPixels = kPixelPack<E, kKernel>, kReach = kKernel / 2;
  T* const filters = shared_memory<T>();
  const Lane lane = lane_of(w.lanes);
  for_each_unit(w, [&](const Unit& unit) {
    __syncthreads();  // the last pass has read its filters
    Filters::template fill<E>(filters, w, unit.image, unit.first, unit.end);
    __syncthreads();
    const int y = unit.y + lane.y, x = unit.x + lane.x * kPixels;
    if (y >= w.p.out_height || x >= w.p.out_width) return;
    const bool left = x > 0, right = x + kPixels < w.p.width;
    SpatialWeights<E, kKernel, kPixels> spatial;
    spatial.load(w, unit, y, x);
    int channel = unit.first + lane.channel;
    const T* filter = filters + lane.channel * Filters::kPitch;
    const E* from = at<E>(w.from, unit.image, channel, y, x);
    E* to = const_cast<E*>(at<E>(w.to, unit.image, channel, y, x));
#pragma unroll 1
    for (; channel < unit.end; channel += w.lanes.channels()) {
      T weights[Filters::kPitch];
      Filters::load(filter, weights);
      T sums[kPixels] = {};
#pragma unroll
      for (int iy = 0; iy < kKernel; ++iy) {
        const bool inside =
            contains(y + tap_shift(iy, kKernel, static_cast<int>(w.p.dilation_y)), w.p.height);
        if (w.transposed && !inside) continue;  // as `skipped` above
        const E* const row = from + w.tap_offset[iy * kKernel + kReach];
        T values[kPixels + 2 * kReach] = {};
        if (inside) {
          const Pack<E, kPixels> middle = load_pack<kPixels>(row);
#pragma unroll
          for (int i = 0; i < kPixels; ++i) values[kReach + i] = widen(middle.of[i]);
#pragma unroll
          for (int i = 0; i < kReach; ++i) {
            if (left) values[i] = widen(row[i - kReach]);
            if (right) values[kReach + kPixels + i] = widen(row[kPixels + i]);
          }
        }
#pragma unroll
        for (int ix = 0; ix < kKernel; ++ix)
#pragma unroll
          for (int i = 0; i < kPixels; ++i) {
            const int tap = iy * kKernel + ix;
            T weight = combine<kMultiply>(weights[tap], spatial.of[tap][i]);
            if (ix + i < kReach && w.transposed && !left) weight = T(0);
            if (ix + i >= kReach + kPixels && w.transposed && !right) weight = T(0);
            sums[i] += weight * values[ix + i];
          }
      }
      Pack<E, kPixels> out;
#pragma unroll
      for (int i = 0; i < kPixels; ++i) out.of[i] = narrow<E>(sums[i]);
      store_pack(to, out);
      filter += w.lanes.channels() * Filters::kPitch;
      from += w.lanes.channels() * w.from.c;
      to += w.lanes.channels() * w.to.c;
    }
  });
}

}  // namespace ddf::cuda
