// The gradients of both filters at once, for channels_last: they share the products of features and
// upstream gradient. Neighbouring threads are neighbouring channels: a thread holds the filters of
// its kChannels channels, and the sums of their gradients, in registers and passes through the
// warp's rows of the tile, kPixels at a time. A warp adds up a pixel's sums over its channels as
// soon as it has them. The tile's spatial weights and the sums of their gradients lie in shared
// memory.
#pragma once

#include "warp.cuh"
#include "work.cuh"

namespace ddf::cuda {

// As many as leave filters and sums in registers; 0: not even one.
template <typename E, int kKernel>
inline constexpr int kGradChannels = (sizeof(E) < 8 ? 4 : 2) / (kKernel == 3 ? 1 : 4);

// kShared: stride, scale and horizontal dilation 1, so that pixels share what they read.
template <typename E, int kKernel, bool kMultiply, bool kShared, int kChannels>
__global__ void __launch_bounds__(kThreads, 2) grad_channels(const __grid_constant__ Work w) {
  using T = Sum<E>;
  using Filters = Stage<T, kKernel>;
  constexpr int kTaps = kKernel * kKernel, kPixels = kShared && kKernel == 3 ? 2 : 1;
  constexpr int kColumns = kPixels + kKernel - 1, kPitch = Filters::kPitch;
  const Problem& p = w.p;
  const int tile_pixels = w.tile_height * w.tile_width;
  int log_width = 0;  // of a tile, a power of two
  while (1 << log_width < w.tile_width) ++log_width;
  T* const spatial = shared_memory<T>();  // [pixel][tap]
  T* const of_pixels = spatial + tile_pixels * kPitch;
  T* const filters = of_pixels + tile_pixels * kPitch;
  const Lane lane = lane_of(w.lanes);
  const int thread = static_cast<int>(threadIdx.x);
  const WarpSums<kPixels * kTaps> warp(lane.channel);
  const int scale = static_cast<int>(p.scale), chunk = kWarp * kChannels;
  const int dilation_x = kShared ? 1 : static_cast<int>(p.dilation_x);
  for_each_unit(w, [&](const Unit& unit) {
    const int phase_y = unit.phase / scale, phase_x = unit.phase % scale;
    const auto pixel_y = [&](int row) { return (unit.y + row) * scale + phase_y; };
    const auto pixel_x = [&](int column) { return (unit.x + column) * scale + phase_x; };
    const auto y_of = [&](int pixel) { return pixel_y(pixel >> log_width); };
    const auto x_of = [&](int pixel) { return pixel_x(pixel & (w.tile_width - 1)); };
    const int width = static_cast<int>(p.out_width);
    const int last_x = static_cast<int>(p.grid_width()) - 1;  // centre_of, without its division
    const int stride_x = static_cast<int>(p.stride_x);
    const int columns = min(w.tile_width, (width - phase_x + scale - 1) / scale - unit.x);
    T* const partial =
        static_cast<T*>(p.partial_sums) +
        (static_cast<int64_t>(unit.image) * w.tiles() + unit.tile) * p.channels * kTaps;
#pragma unroll 1
    for (int first = unit.first; first < unit.end; first += chunk) {
      const int end = min(first + chunk, unit.end);
      // What lies there has been read: the filters before these, or the last tile.
      if (kMultiply || first == unit.first) __syncthreads();
      if (first == unit.first) {
        for (int i = thread; i < tile_pixels * kPitch; i += kThreads) of_pixels[i] = 0;
        if constexpr (kMultiply)
          copy_shared<E>(
              tile_pixels * kTaps,
              [&](int i) {
                const int y = y_of(i / kTaps), x = x_of(i / kTaps);
                const E* const here =
                    at<E>(p.spatial_filter, unit.image, unit.group * kTaps + i % kTaps, y, x);
                return y < p.out_height && x < width ? here : reinterpret_cast<const E*>(kZeros);
              },
              [&](int i, T value) { spatial[i / kTaps * kPitch + i % kTaps] = value; });
      }
      if constexpr (kMultiply)
        Filters::template fill<E>(filters, w, unit.image, first, end, unit.phase);
      if (kMultiply || first == unit.first) __syncthreads();
      const bool active = first + lane.channel * kChannels < end;
      const int channel = active ? lane.channel * kChannels : 0;  // one without any reads another's
      T weights[kChannels][kPitch], sums[kChannels][kTaps] = {};
      if constexpr (kMultiply) {
#pragma unroll
        for (int c = 0; c < kChannels; ++c)
          Filters::load(filters + (channel + c) * kPitch, weights[c]);
      }
#pragma unroll 1
      for (int row = lane.y; row < w.tile_height; row += w.lanes.y()) {
        const int y = pixel_y(row);
        if (y >= p.out_height) break;
        const int centre_y = kShared ? y : centre_of(p, y, 0).y;
        const auto line = [&](const View& view, int at_y, bool inside) {
          const E* const first_pixel = at<E>(view, unit.image, first + channel, at_y, 0);
          return Line<E>::of(inside, first_pixel, view.x);
        };
        const Line<E> output = line(p.output, y, active);
        Line<E> rows[kKernel];
#pragma unroll
        for (int iy = 0; iy < kKernel; ++iy) {
          const int at_y = centre_y + tap_shift(iy, kKernel, static_cast<int>(p.dilation_y));
          rows[iy] = line(p.features, at_y, contains(at_y, p.height));
        }
#pragma unroll 1
        for (int column = 0; column < columns; column += kPixels) {
          const int x = pixel_x(column);
          Pack<E, kChannels> upstream[kPixels];
#pragma unroll
          for (int i = 0; i < kPixels; ++i)
            upstream[i] = load_pack_if<kChannels>(i == 0 || x + i < width, output.at(x + i));
          const int centre_x = kShared ? x : min(unit.x + column, last_x) * stride_x;
          T of_taps[kPixels * kTaps];
          const int pixel = row * w.tile_width + column;
#pragma unroll
          for (int iy = 0; iy < kKernel; ++iy) {
            Pack<E, kChannels> values[kColumns];
#pragma unroll
            for (int j = 0; j < kColumns; ++j) {
              const int at_x = centre_x + (j - kKernel / 2) * dilation_x;
              values[j] = load_pack_if<kChannels>(j == kKernel / 2 || contains(at_x, p.width),
                                                  rows[iy].at(at_x));
            }
#pragma unroll
            for (int i = 0; i < kPixels; ++i)
#pragma unroll
              for (int ix = 0; ix < kKernel; ++ix) {
                const int tap = iy * kKernel + ix;
                T along = 0;
#pragma unroll
                for (int c = 0; c < kChannels; ++c) {
                  const T product = widen(upstream[i].of[c]) * widen(values[i + ix].of[c]);
                  if constexpr (kMultiply) {
                    sums[c][tap] += product * spatial[(pixel + i) * kPitch + tap];
                    along += product * weights[c][tap];
                  } else {
                    sums[c][tap] += product;
                    along += product;
                  }
                }
                of_taps[i * kTaps + tap] = along;
              }
          }
          const T total = WarpSums<kPixels * kTaps>::add(of_taps, lane.channel);
          T* const to = of_pixels + (pixel + warp.value / kTaps) * kPitch + warp.value % kTaps;
          if (warp.first) *to += total;
        }
      }
      if (p.grad_channel.data == nullptr) continue;
      // The warps meet in shared memory, over the filters: [warp][channel and tap][thread of it].
      constexpr int kSums = kChannels * kTaps;
      __syncthreads();  // the filters have been read
#pragma unroll
      for (int i = 0; i < kSums; ++i)
        filters[(lane.y * kSums + i) * kWarp + lane.channel] = sums[i / kTaps][i % kTaps];
      __syncthreads();
#pragma unroll 1
      for (int i = lane.y; i < kSums; i += w.lanes.y()) {
        T sum = 0;
        for (int j = 0; j < w.lanes.y(); ++j)
          sum += filters[(j * kSums + i) * kWarp + lane.channel];
        if (active)
          partial[static_cast<int64_t>(first + channel + i / kTaps) * kTaps + i % kTaps] = sum;
      }
    }
    if (p.grad_spatial.data == nullptr) return;
    __syncthreads();  // the sums of all pixels are there
    for (int i = thread; i < tile_pixels * kTaps; i += kThreads) {
      const int pixel = i / kTaps, tap = i % kTaps;
      const int y = y_of(pixel), x = x_of(pixel);
      if (y < p.out_height && x < width)
        store_spatial<E>(w, unit, tap, y, x, of_pixels[pixel * kPitch + tap]);
    }
  });
}

}  // namespace ddf::cuda
