// A filter whose neighbouring threads are neighbouring channels (channels_last): a thread passes
// through the pixels of a tile, kChannels channels and kPixels of a row at a time, a dilation
// apart, which share what they read. The filters lie in shared memory, tap by tap; all threads of a
// warp read the same spatial weights. Stride 1, and an output of exactly scale times the features.
//
// The forward pass: with a scale, a tile has the pixels of one phase. Transposed (work.cuh) the
// features' gradient: with a scale, each pixel of the features gathers all phases.
#pragma once

#include "work.cuh"

namespace ddf::cuda {

template <typename E>
inline constexpr int kChannelPack = sizeof(E) < 8 ? 4 : 2;

// Pixels of a row that a thread filters at once.
template <typename E, int kKernel>
inline constexpr int kRowPixels = (sizeof(E) < 8 ? 4 : 2) / (kKernel == 3 ? 1 : 2);

template <typename E, int kKernel, Combine kCombine, bool kTransposed>
__global__ void __launch_bounds__(kThreads, kKernel == 5   ? 2
                                            : !kTransposed ? 4
                                                           : (sizeof(E) == 2 ? 3 : 2))
    filter_channels(const __grid_constant__ Work w) {
  using T = Sum<E>;
  constexpr int kTaps = kKernel * kKernel, kChannels = kChannelPack<E>,
                kPixels = kRowPixels<E, kKernel>;
  constexpr int kColumns = kPixels + kKernel - 1;
  // Rows of taps whose loads may stand together.
  [[maybe_unused]] constexpr int kRowsAtOnce =
      kBlackwell && (kTransposed || kKernel == 3) ? 1 : kKernel;
  T* const filters = shared_memory<T>();  // [phase][tap][channel]
  const Problem& p = w.p;
  const Lane lane = lane_of(w.lanes);
  const View& s = p.spatial_filter;
  const int height = static_cast<int>(p.height), width = static_cast<int>(p.width);
  const int scale = static_cast<int>(p.scale), chunk = w.lanes.channels() * kChannels;
  const int apart = static_cast<int>(p.dilation_x);
  // Between pixels of one phase where the output lies, which transposed is read.
  const int from_scale = kTransposed ? scale : 1, to_scale = kTransposed ? 1 : scale;
  for_each_unit(w, [&](const Unit& unit) {
    const int phases = kTransposed ? scale * scale : 1;
    const int staged = kCombine == Combine::spatial ? 0 : phases * kTaps * chunk;
    __syncthreads();  // the last pass has read its filters
    const auto from = [&](int i) {
      const int channel = min(unit.first + i % chunk, unit.end - 1), tap = i / chunk % kTaps;
      const int phase = w.phases == 1 ? 0 : kTransposed ? i / chunk / kTaps : unit.phase;
      return filter_at<E>(p.channel_filter, unit.image, phase, channel) + w.filter_offset[tap];
    };
    copy_shared<E>(staged, from, [&](int i, T value) { filters[i] = value; });
    __syncthreads();
    const int channel = unit.first + lane.channel * kChannels;
    if (channel >= unit.end) return;
    const int end_y = min(unit.y + w.tile_height, height);
    const int end_x = min(unit.x + w.tile_width, w.groups_x);
#pragma unroll 1
    for (int y = unit.y + lane.y; y < end_y; y += w.lanes.y())
#pragma unroll 1
      for (int i = unit.x + lane.x; i < end_x; i += w.lanes.x()) {
        // Pixels 0 to apart - 1 begin a group each. The last of a row may repeat some pixels.
        const int first = i / apart * apart * kPixels + i % apart;
        const int beyond = first + (kPixels - 1) * apart - (width - 1);
        const int x = first - (max(beyond, 0) + apart - 1) / apart * apart;
        T sums[kPixels][kChannels] = {};
#pragma unroll 1
        for (int phase = kTransposed ? 0 : unit.phase, left = phases; left > 0; --left, ++phase) {
          const T* const weights =
              filters + (phases - left) * kTaps * chunk + lane.channel * kChannels;
          const int from_y = kTransposed ? phase / scale : 0,
                    from_x = kTransposed ? phase % scale : 0;
          const auto spatial_row = [&](int at_y) {
            return Line<E>::of(true,
                               at<E>(s, unit.image, unit.group * kTaps,
                                     at_y * scale + phase / scale, phase % scale),
                               scale * s.x);
          };
          const auto of_row = spatial_row(y);
#pragma unroll kRowsAtOnce
          for (int iy = 0; iy < kKernel; ++iy) {
            const int at_y = y + tap_shift(iy, kKernel, static_cast<int>(p.dilation_y));
            const bool inside_y = contains(at_y, height);
            const auto row = Line<E>::of(
                inside_y, at<E>(w.from, unit.image, channel, at_y * from_scale + from_y, from_x),
                from_scale * w.from.x);
            const auto of_pixels = kTransposed ? spatial_row(at_y) : of_row;
            Pack<E, kChannels> values[kColumns];
            bool inside[kColumns];
#pragma unroll
            for (int j = 0; j < kColumns; ++j) {
              const bool own = j >= kKernel / 2 && j < kKernel / 2 + kPixels;
              const int at_x = x + (j - kKernel / 2) * apart;
              const bool inside_x = own || contains(at_x, width);
              values[j] = load_pack_if<kChannels>(inside_x, row.at(at_x));
              inside[j] = inside_y && inside_x;
            }
#pragma unroll
            for (int ix = 0; ix < kKernel; ++ix) {
              const int tap = iy * kKernel + ix;
              Pack<T, kChannels> of_channels = {};
              if constexpr (kCombine != Combine::spatial)
                of_channels = load_pack<kChannels>(weights + tap * chunk);
#pragma unroll
              for (int i = 0; i < kPixels; ++i) {
                const bool there = inside[i + ix];
                // Transposed, a tap has the weight of the pixel it reads, turned by half a turn.
                const auto of_taps = Line<E>::of(
                    true, of_pixels.at(x + (kTransposed ? i + ix - kKernel / 2 : i) * apart), s.c);
                const E* const of_tap = of_taps.at(kTransposed ? kTaps - 1 - tap : tap);
                const T of_pixel = kTransposed ? load_if(there, of_tap) : widen(*of_tap);
#pragma unroll
                for (int c = 0; c < kChannels; ++c) {
                  const T weight = weigh<kCombine>(of_channels.of[c], of_pixel);
                  const T sum = sums[i][c] + weight * widen(values[i + ix].of[c]);
                  // An output that does not exist adds nothing, however large the weight; a spatial
                  // weight alone is 0 there.
                  sums[i][c] =
                      kTransposed && kCombine != Combine::spatial && !there ? sums[i][c] : sum;
                }
              }
            }
          }
        }
        const int to_y = y * to_scale + (kTransposed ? 0 : unit.phase / scale);
        const int to_x = x * to_scale + (kTransposed ? 0 : unit.phase % scale);
        E* const to = const_cast<E*>(at<E>(w.to, unit.image, channel, to_y, to_x));
#pragma unroll
        for (int i = 0; i < kPixels; ++i) {
          Pack<E, kChannels> out;
#pragma unroll
          for (int c = 0; c < kChannels; ++c) out.of[c] = narrow<E>(sums[i][c]);
          store_pack(to + i * apart * to_scale * w.to.x, out);
        }
      }
  });
}

}  // namespace ddf::cuda
