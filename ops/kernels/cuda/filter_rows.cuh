// A filter whose neighbouring threads are neighbouring pixels of contiguous maps: a thread holds
// the spatial weights of kPixels pixels of a row in registers and passes through the channels,
// whose filters come from shared memory. It loads the next channel's values before it multiplies
// this one's. Stride, horizontal dilation and scale 1; rows that start and end at whole vectors
// (plan.cuh).
#pragma once

#include "work.cuh"

namespace ddf::cuda {

// The spatial weights of kPixels neighbouring pixels of a row, tap by tap; transposed, each tap's
// is that of the pixel it reads, 0 where there is none. Of a thread without pixels, zeros.
template <int kKernel, bool kTransposed, typename T, int kTaps, int kPixels, typename E>
__device__ inline void load_spatial(T (&to)[kTaps][kPixels], const Work& w, bool exists,
                                    const E* here, int y, int x) {
#pragma unroll
  for (int tap = 0; tap < kTaps; ++tap) {
    if constexpr (kTransposed) {
      const int dy = tap_shift(tap / kKernel, kKernel, static_cast<int>(w.p.dilation_y));
      const int dx = tap_shift(tap % kKernel, kKernel, static_cast<int>(w.p.dilation_x));
#pragma unroll
      for (int i = 0; i < kPixels; ++i)
        to[tap][i] = load_if(
            exists && contains(y + dy, w.p.out_height) && contains(x + i + dx, w.p.out_width),
            here + w.spatial_offset[tap] + i * w.p.spatial_filter.x);
    } else {
      const Pack<E, kPixels> values = load_pack_if<kPixels>(exists, here + w.spatial_offset[tap]);
#pragma unroll
      for (int i = 0; i < kPixels; ++i) to[tap][i] = widen(values.of[i]);
    }
  }
}

// What the taps of kPixels neighbouring pixels read in one channel, as it lies in memory.
template <typename E, int kKernel, int kPixels>
struct Rows {
  static constexpr int kReach = kKernel / 2;
  Pack<E, kPixels> middle[kKernel];
  Pack<E, 1> beside[kKernel][2 * kReach];

  // Zeros outside the map. `from`: the first pixel.
  __device__ void load(const Work& w, const E* from, const bool (&row_inside)[kKernel], bool left,
                       bool right) {
#pragma unroll
    for (int iy = 0; iy < kKernel; ++iy) {
      const E* const row = from + w.tap_offset[iy * kKernel + kReach];
      middle[iy] = load_pack_if<kPixels>(row_inside[iy], row);
#pragma unroll
      for (int i = 0; i < kReach; ++i) {
        beside[iy][i] = load_pack_if<1>(row_inside[iy] && left, row + i - kReach);
        beside[iy][kReach + i] = load_pack_if<1>(row_inside[iy] && right, row + kPixels + i);
      }
    }
  }
  // Column 0 lies kReach before the first pixel.
  __device__ Sum<E> at(int iy, int column) const {
    if (column < kReach) return widen(beside[iy][column].of[0]);
    if (column < kReach + kPixels) return widen(middle[iy].of[column - kReach]);
    return widen(beside[iy][column - kPixels].of[0]);
  }
};

// Eight pixels of 16 bits, narrow until they are multiplied, leave room for a block more.
template <typename E, int kKernel, int kPixels>
inline constexpr int kRowsBlocks =
    kPixels == 8 ? 3 : least_blocks((kPixels + 1) * kKernel * kKernel, sizeof(Sum<E>));

template <typename E, int kKernel, Combine kCombine, bool kTransposed, int kPixels>
__global__ void __launch_bounds__(kThreads, kRowsBlocks<E, kKernel, kPixels>)
    filter_rows(const __grid_constant__ Work w) {
  using T = Sum<E>;
  using Filters = Stage<T, kKernel>;
  constexpr int kReach = kKernel / 2, kTaps = kKernel * kKernel;
  T* const filters = shared_memory<T>();
  const Lane lane = lane_of(w.lanes);
  for_each_unit(w, [&](const Unit& unit) {
    const int y = unit.y + lane.y, x = unit.x + lane.x * kPixels;
    const bool exists = y < w.p.out_height && x < w.p.out_width;
    const bool left = x > 0, right = x + kPixels < w.p.width;
    bool row_inside[kKernel];
#pragma unroll
    for (int iy = 0; iy < kKernel; ++iy)
      row_inside[iy] =
          exists &&
          contains(y + tap_shift(iy, kKernel, static_cast<int>(w.p.dilation_y)), w.p.height);
    int channel = unit.first + lane.channel;
    // A thread without channels loads another's.
    const E* from = at<E>(w.from, unit.image, min(channel, unit.end - 1), y, x);
    Rows<E, kKernel, kPixels> next;
    next.load(w, from, row_inside, left, right);
    T spatial[kTaps][kPixels];
    load_spatial<kKernel, kTransposed>(
        spatial, w, exists, at<E>(w.p.spatial_filter, unit.image, unit.group * kTaps, y, x), y, x);
    if constexpr (kCombine != Combine::spatial) {
      // All of the above is under way meanwhile.
      __syncthreads();  // the last pass has read its filters
      Filters::template fill<E>(filters, w, unit.image, unit.first, unit.end, 0);
      __syncthreads();
    }
    if (!exists) return;
    const int step = w.lanes.channels();
    const T* filter = filters + lane.channel * Filters::kPitch;
    E* to = const_cast<E*>(at<E>(w.to, unit.image, channel, y, x));
#pragma unroll 1
    for (; channel < unit.end; channel += step) {
      const Rows<E, kKernel, kPixels> values = next;
      from += channel + step < unit.end ? step * w.from.c : 0;
      next.load(w, from, row_inside, left, right);
      T weights[Filters::kPitch];
      Filters::template load<kCombine>(filter, weights);
      T sums[kPixels] = {};
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap)
#pragma unroll
        for (int i = 0; i < kPixels; ++i) {
          const int iy = tap / kKernel, ix = tap % kKernel;
          const T weight = weigh<kCombine>(weights[tap], spatial[tap][i]);
          const T sum = sums[i] + weight * values.at(iy, ix + i);
          const bool there =
              row_inside[iy] && (ix + i >= kReach || left) && (ix + i < kReach + kPixels || right);
          // An output that does not exist adds nothing to the gradient, however large the weight; a
          // spatial weight alone is 0 there.
          sums[i] = kTransposed && kCombine != Combine::spatial && !there ? sums[i] : sum;
        }
      Pack<E, kPixels> out;
#pragma unroll
      for (int i = 0; i < kPixels; ++i) out.of[i] = narrow<E>(sums[i]);
      store_pack(to, out);
      filter += step * Filters::kPitch;
      to += step * w.to.c;
    }
  });
}

}  // namespace ddf::cuda
