// A filter whose neighbouring threads are neighbouring pixels of contiguous maps: a thread holds
// the spatial weights of kPixels pixels of a row in registers and passes through the channels,
// whose filters come from shared memory. Stride, horizontal dilation and scale 1; rows that start
// and end at whole vectors (plan.cuh).
#pragma once

#include "work.cuh"

namespace ddf::cuda {

// The spatial weights of kPixels neighbouring pixels of a row, tap by tap; transposed, each tap's
// is that of the pixel it reads, 0 where there is none.
template <int kKernel, bool kTransposed, typename T, int kTaps, int kPixels, typename E>
__device__ inline void load_spatial(T (&to)[kTaps][kPixels], const Work& w, const E* here, int y,
                                    int x) {
#pragma unroll
  for (int tap = 0; tap < kTaps; ++tap) {
    if constexpr (kTransposed) {
      const int dy = tap_shift(tap / kKernel, kKernel, static_cast<int>(w.p.dilation_y));
      const int dx = tap_shift(tap % kKernel, kKernel, static_cast<int>(w.p.dilation_x));
#pragma unroll
      for (int i = 0; i < kPixels; ++i)
        to[tap][i] =
            load_if(contains(y + dy, w.p.out_height) && contains(x + i + dx, w.p.out_width),
                    here + w.spatial_offset[tap] + i * w.p.spatial_filter.x);
    } else {
      const Pack<E, kPixels> values = load_pack<kPixels>(here + w.spatial_offset[tap]);
#pragma unroll
      for (int i = 0; i < kPixels; ++i) to[tap][i] = widen(values.of[i]);
    }
  }
}

template <typename E, int kKernel, Combine kCombine, bool kTransposed, int kPixels>
__global__ void __launch_bounds__(kThreads,
                                  least_blocks((kPixels + 1) * kKernel * kKernel, sizeof(Sum<E>)))
    filter_rows(const __grid_constant__ Work w) {
  using T = Sum<E>;
  using Filters = Stage<T, kKernel>;
  constexpr int kReach = kKernel / 2, kTaps = kKernel * kKernel;
  T* const filters = shared_memory<T>();
  const Lane lane = lane_of(w.lanes);
  for_each_unit(w, [&](const Unit& unit) {
    if constexpr (kCombine != Combine::spatial) {
      __syncthreads();  // the last pass has read its filters
      Filters::template fill<E>(filters, w, unit.image, unit.first, unit.end, 0);
      __syncthreads();
    }
    const int y = unit.y + lane.y, x = unit.x + lane.x * kPixels;
    if (y >= w.p.out_height || x >= w.p.out_width) return;
    const bool left = x > 0, right = x + kPixels < w.p.width;
    bool row_inside[kKernel];
#pragma unroll
    for (int iy = 0; iy < kKernel; ++iy)
      row_inside[iy] =
          contains(y + tap_shift(iy, kKernel, static_cast<int>(w.p.dilation_y)), w.p.height);
    T spatial[kTaps][kPixels];
    load_spatial<kKernel, kTransposed>(
        spatial, w, at<E>(w.p.spatial_filter, unit.image, unit.group * kTaps, y, x), y, x);
    int channel = unit.first + lane.channel;
    const T* filter = filters + lane.channel * Filters::kPitch;
    const E* from = at<E>(w.from, unit.image, channel, y, x);
    E* to = const_cast<E*>(at<E>(w.to, unit.image, channel, y, x));
#pragma unroll 1
    for (; channel < unit.end; channel += w.lanes.channels()) {
      T values[kKernel][kPixels + 2 * kReach];
#pragma unroll
      for (int iy = 0; iy < kKernel; ++iy) {
        const E* const row = from + w.tap_offset[iy * kKernel + kReach];
        const Pack<E, kPixels> middle = load_pack_if<kPixels>(row_inside[iy], row);
#pragma unroll
        for (int i = 0; i < kPixels; ++i) values[iy][kReach + i] = widen(middle.of[i]);
#pragma unroll
        for (int i = 0; i < kReach; ++i) {
          values[iy][i] = load_if(row_inside[iy] && left, row + i - kReach);
          values[iy][kReach + kPixels + i] = load_if(row_inside[iy] && right, row + kPixels + i);
        }
      }
      T weights[Filters::kPitch];
      Filters::template load<kCombine>(filter, weights);
      T sums[kPixels] = {};
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap)
#pragma unroll
        for (int i = 0; i < kPixels; ++i) {
          const int iy = tap / kKernel, ix = tap % kKernel;
          const T weight = weigh<kCombine>(weights[tap], spatial[tap][i]);
          const T sum = sums[i] + weight * values[iy][ix + i];
          const bool there =
              row_inside[iy] && (ix + i >= kReach || left) && (ix + i < kReach + kPixels || right);
          // An output that does not exist adds nothing to the gradient, however large the weight.
          sums[i] = kTransposed && !there ? sums[i] : sum;
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
