// The gradients of both filters at once: they share the products of features and upstream gradient.
// For maps of any width, layout, stride, dilation and scale. A thread holds the spatial weights of
// its pixels, and the sums of their gradients, in registers while it passes through channels; each
// channel is loaded while the one before is computed with, as far as registers go. A warp adds up a
// channel's sums over its pixels as soon as it has them; the warps of a block have every so many
// channels each, and add up the spatial filter's gradient at the end.
#pragma once

#include "columns.cuh"
#include "warp.cuh"

namespace ddf::cuda {

// Pixels of a thread, as many as leave their weights and sums in registers.
template <typename E, int kKernel, bool kShared>
inline constexpr int kGradColumn = kShared && kKernel == 3 ? (sizeof(E) < 8 ? 4 : 2)
                                   : sizeof(E) < 8 && (kShared || kKernel == 3) ? 2
                                                                                : 1;

// Blocks to a multiprocessor. A third hides more latency; on some architectures ptxas spills
// registers for it.
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ < 900 || __CUDA_ARCH__ >= 1200)
template <typename E, int kKernel, bool kShared>
inline constexpr int kGradBlocks = 2;
#else
template <typename E, int kKernel, bool kShared>
inline constexpr int kGradBlocks = kShared && kKernel == 3 && sizeof(E) < 8 ? 3 : 2;
#endif

template <typename E, int kKernel, bool kMultiply, bool kShared>
__global__ void __launch_bounds__(kThreads, kGradBlocks<E, kKernel, kShared>)
    grad_columns(const __grid_constant__ Work w) {
  using T = Sum<E>;
  using Filters = Stage<T, kKernel>;
  constexpr int kTaps = kKernel * kKernel, kPixels = kGradColumn<E, kKernel, kShared>;
  using Around = Window<E, kKernel, kPixels, kShared>;
  constexpr bool kAhead = kKernel == 3;  // 5 x 5 taps leave no registers for it
  T* const shared = shared_memory<T>();
  const Problem& p = w.p;
  const Lane lane = lane_of(w.lanes);
  const int thread = static_cast<int>(threadIdx.x) % kWarp, warps = w.lanes.channels();
  const WarpSums<kTaps> warp(thread);
  const bool keeps = warp.first && p.grad_channel.data != nullptr;
  for_each_unit(w, [&](const Unit& unit) {
    // All threads of a warp take part in its sums: one without pixels adds zeros.
    const Column<kPixels, kShared> column(w, unit, lane);
    const auto row_of = [&](const View& view, int channel, int pixel) {
      return at<E>(view, unit.image, channel, column.y + pixel * column.apart, column.x);
    };
    const Around around(w, p.features, unit.image, unit.first, column);
    Line<E> output[kPixels];
    T spatial[kPixels][kTaps], sums[kPixels][kTaps] = {};
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
      output[i] = Line<E>::of(column.has(i), row_of(p.output, unit.first, i), p.output.c);
      const E* const here = row_of(p.spatial_filter, unit.group * kTaps, i);
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap)
        spatial[i][tap] = load_if(kMultiply && column.has(i), here + w.spatial_offset[tap]);
    }
    if constexpr (kMultiply) {
      __syncthreads();  // the sums of the last tile have been read
      Filters::template fill<E>(shared, w, unit.image, unit.first, unit.end, unit.phase);
    }
    const int count = unit.end - unit.first;
    E ahead[Around::kRows][kKernel] = {}, upstream_ahead[kPixels] = {};
    const auto load_ahead = [&](int c) {
      around.load(ahead, c);
#pragma unroll
      for (int i = 0; i < kPixels; ++i) upstream_ahead[i] = *output[i].at(c);
    };
    if (kAhead && count > 0) load_ahead(min(lane.channel, count - 1));
    if constexpr (kMultiply) __syncthreads();
    // [image][tile, and its phase][channel][tap]
    T* to = static_cast<T*>(p.partial_sums) +
            ((static_cast<int64_t>(unit.image) * w.tiles() + unit.tile) * p.channels + unit.first +
             lane.channel) *
                kTaps +
            warp.value;
    const T* filter = shared + lane.channel * Filters::kPitch;
#pragma unroll 1
    for (int c = lane.channel; c < count; c += warps) {
      T values[Around::kRows][kKernel], upstream[kPixels];
      T weights[Filters::kPitch], of_channel[kTaps] = {};
      if constexpr (!kAhead) load_ahead(c);
#pragma unroll
      for (int i = 0; i < Around::kRows * kKernel; ++i)
        values[i / kKernel][i % kKernel] = widen(ahead[i / kKernel][i % kKernel]);
#pragma unroll
      for (int i = 0; i < kPixels; ++i) upstream[i] = widen(upstream_ahead[i]);
      if constexpr (kAhead) load_ahead(min(c + warps, count - 1));
      if constexpr (kMultiply) Filters::load(filter, weights);
#pragma unroll
      for (int i = 0; i < kPixels; ++i) {
#pragma unroll
        for (int tap = 0; tap < kTaps; ++tap) {
          const T product = upstream[i] * values[Around::row_of(i, tap)][tap % kKernel];
          if constexpr (kMultiply) {
            sums[i][tap] += product * weights[tap];
            of_channel[tap] += product * spatial[i][tap];
          } else {
            sums[i][tap] += product;
            of_channel[tap] += product;
          }
        }
      }
      const T total = WarpSums<kTaps>::add(of_channel, thread);
      if (keeps) *to = total;
      filter += warps * Filters::kPitch;
      to += warps * kTaps;
    }
    if (p.grad_spatial.data == nullptr) return;
    // The block's warps meet in shared memory: [warp][pixel and tap][thread of the warp].
    constexpr int kSums = kPixels * kTaps;
    __syncthreads();  // the filters, or the sums of the last tile, have been read
#pragma unroll
    for (int i = 0; i < kSums; ++i)
      shared[(lane.channel * kSums + i) * kWarp + thread] = sums[i / kTaps][i % kTaps];
    __syncthreads();
#pragma unroll 1
    for (int i = lane.channel; i < kSums; i += warps) {
      T sum = 0;
      for (int j = 0; j < warps; ++j) sum += shared[(j * kSums + i) * kWarp + thread];
      const int pixel = i / kTaps, tap = i % kTaps;
      if (column.has(pixel))
        store_spatial<E>(w, unit, tap, column.y + pixel * column.apart, column.x, sum);
    }
  });
}

}  // namespace ddf::cuda
