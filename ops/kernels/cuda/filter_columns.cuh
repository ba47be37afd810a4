// A filter of maps of any width, layout, stride, dilation and scale: a thread holds the spatial
// weights of its pixels in registers and passes through the channels, whose filters come from
// shared memory. The forward pass; and transposed (work.cuh), stride and scale 1, the features'
// gradient.
#pragma once

#include "columns.cuh"

namespace ddf::cuda {

// Pixels of a thread, as many as leave their weights in registers.
template <typename E, int kKernel, bool kShared>
inline constexpr int kFilterColumn = kShared && kKernel == 3 ? (sizeof(E) < 8 ? 4 : 2)
                                     : sizeof(E) < 8 && (kShared || kKernel == 3) ? 2
                                                                                  : 1;

// Whether it loads the next channel's values before it stores this one's: where registers suffice.
template <typename E, int kKernel, bool kTransposed, bool kShared>
inline constexpr bool kLoadsAhead = sizeof(E) < 8 && kKernel == 3 && kShared && !kTransposed;

template <typename E, int kKernel, Combine kCombine, bool kTransposed, bool kShared>
__global__ void __launch_bounds__(kThreads, kKernel == 3 && kShared && sizeof(E) < 8 ? 4 : 3)
    filter_columns(const __grid_constant__ Work w) {
  using T = Sum<E>;
  using Filters = Stage<T, kKernel>;
  constexpr int kTaps = kKernel * kKernel, kPixels = kFilterColumn<E, kKernel, kShared>;
  constexpr bool kAhead = kLoadsAhead<E, kKernel, kTransposed, kShared>;
  // An output that does not exist adds nothing, however large the weight. A spatial weight alone is
  // 0 there.
  constexpr bool kMasked = kTransposed && kCombine != Combine::spatial;
  using Around = Window<E, kKernel, kPixels, kShared, /*kMasks=*/true>;
  T* const filters = shared_memory<T>();
  const View& s = w.p.spatial_filter;
  for_each_unit(w, [&](const Unit& unit) {
    const Lane lane = lane_anew(w.lanes);
    const Column<kPixels, kShared> column(w, unit, lane);
    const Around around(w, w.from, unit.image, unit.first, column);
    const int channels = unit.end - unit.first;
    T values[Around::kRows][kKernel];
    if constexpr (kAhead) around.load(values, min(lane.channel, channels - 1));
    T spatial[kPixels][kTaps];
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
      const E* const here =
          at<E>(s, unit.image, unit.group * kTaps, column.y + i * column.apart, column.x);
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap) {
        const bool there = column.has(i) && (!kTransposed || around.inside(i, tap));
        spatial[i][tap] = load_if(there, here + w.spatial_offset[tap]);
      }
    }
    if constexpr (kCombine != Combine::spatial) {
      // All of the above is under way meanwhile.
      __syncthreads();  // the last pass has read its filters
      Filters::template fill<E>(filters, w, unit.image, unit.first, unit.end, unit.phase);
      __syncthreads();
    }
    if (column.pixels == 0) return;
    Line<E> to[kPixels];
#pragma unroll
    for (int i = 0; i < kPixels; ++i)
      to[i] = Line<E>::of(
          true, at<E>(w.to, unit.image, unit.first, column.y + i * column.apart, column.x), w.to.c);
#pragma unroll 1
    for (int c = lane.channel; c < channels; c += w.lanes.channels()) {
      T weights[Filters::kPitch], sums[kPixels] = {};
      if constexpr (!kAhead) around.load(values, c);
      Filters::template load<kCombine>(filters + c * Filters::kPitch, weights);
#pragma unroll
      for (int i = 0; i < kPixels; ++i) {
#pragma unroll
        for (int tap = 0; tap < kTaps; ++tap) {
          const int row = Around::row_of(i, tap), ix = tap % kKernel;
          T weight = weigh<kCombine>(weights[tap], spatial[i][tap]);
          if constexpr (kMasked)
            if (tap != kTaps / 2) weight = masked(weight, around.mask_y[row] & around.mask_x[ix]);
          sums[i] += weight * values[row][ix];
        }
      }
      if constexpr (kAhead) around.load(values, min(c + w.lanes.channels(), channels - 1));
#pragma unroll
      for (int i = 0; i < kPixels; ++i)
        if (column.has(i)) *const_cast<E*>(to[i].at(c)) = narrow<E>(sums[i]);
    }
  });
}

}  // namespace ddf::cuda
