// The features' gradient of a stride of 2 with kernels of 3 x 3: a thread gathers that of 2 x 2
// pixels, which four outputs read by nine taps, each of them once. Any layout.
#pragma once

#include "columns.cuh"

namespace ddf::cuda {

inline constexpr int kStride = 2;

template <typename E, Combine kCombine>
__global__ void __launch_bounds__(kThreads, kBlackwell && sizeof(E) == 8 ? 4 : 5)
    stride_transposed(const __grid_constant__ Work w) {
  using T = Sum<E>;
  using Filters = Stage<T, 3>;
  constexpr int kTaps = 9;
  T* const filters = shared_memory<T>();
  const Problem& p = w.p;
  const Lane lane = lane_of(w.lanes);
  for_each_unit(w, [&](const Unit& unit) {
    if constexpr (kCombine != Combine::spatial) {
      __syncthreads();  // the last pass has read its filters
      Filters::template fill<E>(filters, w, unit.image, unit.first, unit.end, 0);
      __syncthreads();
    }
    const int y = unit.y + lane.y, x = unit.x + lane.x;  // of the first of the outputs
    if (y >= p.out_height || x >= p.out_width) return;
    Line<E> from[kStride][kStride], to[kStride][kStride];
    bool there[kStride][kStride], exists[kStride][kStride];
    unsigned mask[kStride][kStride];
#pragma unroll
    for (int i = 0; i < kStride * kStride; ++i) {
      const int dy = i / kStride, dx = i % kStride;
      const int to_y = y * kStride + dy, to_x = x * kStride + dx;
      there[dy][dx] = contains(y + dy, p.out_height) && contains(x + dx, p.out_width);
      mask[dy][dx] = mask_of(y + dy, p.out_height) & mask_of(x + dx, p.out_width);
      from[dy][dx] = Line<E>::of(there[dy][dx],
                                 at<E>(w.from, unit.image, unit.first, y + dy, x + dx), w.from.c);
      exists[dy][dx] = contains(to_y, p.height) && contains(to_x, p.width);
      to[dy][dx] = Line<E>::of(true, at<E>(w.to, unit.image, unit.first, to_y, to_x), w.to.c);
    }
    // The filters in shared memory are turned (work.cuh), these are not.
    // A tap before the middle belongs to the next output, and only the middle one to an even pixel.
    T spatial[kTaps];
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) {
      const int dy = tap / 3 == 0, dx = tap % 3 == 0;
      spatial[tap] = load_if(there[dy][dx], at<E>(p.spatial_filter, unit.image,
                                                  unit.group * kTaps + tap, y + dy, x + dx));
    }
#pragma unroll 1
    for (int c = lane.channel; c < unit.end - unit.first; c += w.lanes.channels()) {
      T weights[Filters::kPitch], values[kStride][kStride], sums[kStride][kStride] = {};
      Filters::template load<kCombine>(filters + c * Filters::kPitch, weights);
#pragma unroll
      for (int i = 0; i < kStride * kStride; ++i)
        values[i / kStride][i % kStride] = widen(*from[i / kStride][i % kStride].at(c));
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap) {
        const int iy = tap / 3, ix = tap % 3, dy = iy == 0, dx = ix == 0;
        // An output that does not exist adds nothing, however large the weight; a spatial weight
        // alone is 0 there.
        T weight = weigh<kCombine>(weights[kTaps - 1 - tap], spatial[tap]);
        if constexpr (kCombine != Combine::spatial) weight = masked(weight, mask[dy][dx]);
        sums[iy != 1][ix != 1] += weight * values[dy][dx];
      }
#pragma unroll
      for (int i = 0; i < kStride * kStride; ++i) {
        const int dy = i / kStride, dx = i % kStride;
        if (exists[dy][dx]) *const_cast<E*>(to[dy][dx].at(c)) = narrow<E>(sums[dy][dx]);
      }
    }
  });
}

}  // namespace ddf::cuda
