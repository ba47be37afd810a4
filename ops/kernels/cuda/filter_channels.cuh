// A filter whose neighbouring threads are neighbouring channels (channels_last): each thread keeps
// the filters of its kChannels channels in registers and passes through the pixels of a tile, whose
// spatial weights all threads of a warp read at once. The forward pass, and transposed (work.cuh)
// the features' gradient.
#pragma once

#include "work.cuh"

namespace ddf::cuda {

template <typename E, int kKernel, bool kMultiply>
__global__ void __launch_bounds__(kThreads,
                                  least_blocks((kChannelPack<E, kKernel> + 1) * kKernel * kKernel,
                                               sizeof(Sum<E>)))
    filter_channel_vectors(const __grid_constant__ Work w) {
  using T = Sum<E>;
  constexpr int kTaps = kKernel * kKernel, kChannels = kChannelPack<E, kKernel>;
  const Lane lane = lane_of(w.lanes);
  const int scale = static_cast<int>(w.p.scale);
  const FilterView& f = w.p.channel_filter;
  const View& s = w.p.spatial_filter;
  for_each_unit(w, [&](const Unit& unit) {
    const int channel = unit.first + lane.channel * kChannels;
    if (channel >= unit.end) return;
    const int end_y = min(unit.y + w.tile_height, static_cast<int>(w.p.out_height));
    const int end_x = min(unit.x + w.tile_width, static_cast<int>(w.p.out_width));
    // A tile starts at phase 0. Phases that share a filter are passed through all the same.
#pragma unroll 1
    for (int phase = 0; phase < scale * scale; ++phase) {
      const int py = phase / scale, px = phase % scale;
      T weights[kTaps][kChannels];
#pragma unroll
      for (int i = 0; i < kChannels; ++i) {
        const E* filter = filter_at<E>(f, unit.image, w.phases == 1 ? 0 : phase, channel + i);
#pragma unroll
        for (int tap = 0; tap < kTaps; ++tap) weights[tap][i] = widen(filter[w.filter_offset[tap]]);
      }
#pragma unroll 1
      for (int y = unit.y + py + scale * lane.y; y < end_y; y += scale * w.lanes.y())
#pragma unroll 1
        for (int x = unit.x + px + scale * lane.x; x < end_x; x += scale * w.lanes.x()) {
          const Centre centre = centre_of(w.p, y, x);
          const unsigned inside = taps_inside<kKernel>(w.p, centre, w.p.height, w.p.width);
          const E* const from = at<E>(w.from, unit.image, channel, centre.y, centre.x);
          const E* const spatial = at<E>(s, unit.image, unit.group * kTaps, y, x);
          T sums[kChannels] = {};
#pragma unroll
          for (int tap = 0; tap < kTaps; ++tap) {
            const bool there = inside >> tap & 1;
            Pack<E, kChannels> values = {};
            if (there) values = load_pack<kChannels>(from + w.tap_offset[tap]);
            // An output that does not exist adds nothing to the gradient.
            if (w.transposed && !there) continue;
            const T of_pixel = widen(spatial[w.spatial_offset[tap]]);
#pragma unroll
            for (int i = 0; i < kChannels; ++i)
              sums[i] += combine<kMultiply>(weights[tap][i], of_pixel) * widen(values.of[i]);
          }
          Pack<E, kChannels> out;
#pragma unroll
          for (int i = 0; i < kChannels; ++i) out.of[i] = narrow<E>(sums[i]);
          store_pack(const_cast<E*>(at<E>(w.to, unit.image, channel, y, x)), out);
        }
    }
  });
}

}  // namespace ddf::cuda
