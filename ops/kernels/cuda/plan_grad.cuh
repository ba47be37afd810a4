// How the gradients of the filters are cut into blocks: from sizes, strides and alignment alone.
#pragma once

#include "grad_any.cuh"
#include "plan.cuh"
#include "warp.cuh"

namespace ddf::cuda {

// Two blocks for each multiprocessor of the largest devices. A block starts and ends slowly, and a
// third or fourth to a multiprocessor gains less than chunks of channels cost.
inline constexpr int64_t kEnoughGradBlocks = 256;
inline constexpr int kMostGradFilters = 24 << 10;  // bytes in shared memory

// Chunks of a group's channels, each a multiple of `step`, where whole groups make too few blocks,
// or have more channels than `most`.
inline void set_grad_chunks(Work& w, int64_t step, int64_t most_channels) {
  int64_t chunk = w.p.group_channels();
  set_chunks(w, chunk);
  while ((blocks_of(w) < kEnoughGradBlocks || chunk > most_channels) && chunk >= 2 * step) {
    chunk = ceil_div(ceil_div(chunk, 2), step) * step;
    set_chunks(w, chunk);
  }
}

// Warps of pixels, each with some of a column (Column); the warps of a block share out channels.
inline Work plan_grad_columns(Work w, int64_t pixels, bool shared, int taps, int filter_bytes,
                              int sum_bytes) {
  const Size size = columns_of(w.p, pixels, shared);
  w.tile_phases = static_cast<int>(w.p.scale * w.p.scale);
  w.lanes.log_x = least(5, log_up(size.width));
  w.lanes.log_y = 5 - w.lanes.log_x;
  w.lanes.log_channels = least(2, log_up(w.p.group_channels()));
  set_tiles(w, size, w.lanes.y(), w.lanes.x());
  set_grad_chunks(w, 4 * w.lanes.channels(),
                  filter_bytes == 0 ? INT32_MAX : kMostGradFilters / filter_bytes);
  const int warp_sums = w.lanes.channels() * static_cast<int>(pixels) * taps * kWarp * sum_bytes;
  w.shared_bytes = most(warp_sums, w.chunk_channels * filter_bytes);
  return w;
}

// Warps of channels, `vector` to a thread; the four warps of a block take the rows of a tile in
// turn.
inline Work plan_grad_channels(Work w, int64_t vector, int taps, int filter_bytes, int sum_bytes) {
  const Size size{ceil_div(w.p.out_height, w.p.scale), ceil_div(w.p.out_width, w.p.scale)};
  const int64_t chunk = kWarp * vector;
  w.tile_phases = static_cast<int>(w.p.scale * w.p.scale);
  w.lanes.channels_first = true;
  w.lanes.log_channels = 5;
  w.lanes.log_y = 2;
  const int64_t meeting =
      most(chunk * filter_bytes, w.lanes.y() * vector * taps * kWarp * sum_bytes);
  const auto shared_bytes = [&] {
    return 2 * int64_t{w.tile_height} * w.tile_width * filter_bytes + meeting;
  };
  // Of a tile: many pixels to a warp make its start and end count less.
  int64_t rows = 4 * w.lanes.y(), width = 16;
  while (width > 2 && width / 2 >= size.width) width /= 2;
  while (rows > w.lanes.y() && rows / 2 >= size.height) rows /= 2;
  set_tiles(w, size, rows, width);
  set_chunks(w, w.p.group_channels());
  while (rows > w.lanes.y() && (shared_bytes() > kMostShared || blocks_of(w) < kEnoughGradBlocks)) {
    rows /= 2;
    set_tiles(w, size, rows, width);
  }
  set_grad_chunks(w, chunk, w.p.group_channels());
  while (width > 2 &&
         (shared_bytes() > kMostShared || (width > 4 && blocks_of(w) < kEnoughGradBlocks))) {
    width /= 2;
    set_tiles(w, size, rows, width);
  }
  w.shared_bytes = static_cast<int>(shared_bytes());
  return w;
}

// One output pixel per thread; fewer pixels and more channels where that makes enough blocks.
inline Work plan_grad_spatial_any(Work w, int sum_bytes) {
  const Size size{w.p.out_height, w.p.out_width};
  const int64_t channels = w.p.group_channels();
  if (is_channels_last(w.from) && is_channels_last(w.p.output)) {
    share_channels(w, size, channels);
  } else {
    share_pixels(w, size, channels);
  }
  set_tiles(w, size, w.lanes.y(), w.lanes.x());
  while (blocks_of(w) < kEnoughBlocks && w.lanes.log_channels < least(5, log_up(channels)) &&
         w.lanes.log_x + w.lanes.log_y > 3) {
    --(w.lanes.log_y > 0 ? w.lanes.log_y : w.lanes.log_x);
    ++w.lanes.log_channels;
    set_tiles(w, size, w.lanes.y(), w.lanes.x());
  }
  set_chunks(w, channels);
  w.shared_bytes = kTapsEach * w.lanes.pixels() * padded_channels(w.lanes) * sum_bytes;
  return w;
}

// A tile of pixels per block, of kChannelsShared channels per thread.
inline Work plan_grad_channel_any(Work w, int sum_bytes) {
  const int64_t scale = w.phases == 1 ? 1 : w.p.scale;  // a block's phases have threads in turn
  const Size phase{ceil_div(w.p.out_height, scale), ceil_div(w.p.out_width, scale)};
  const int64_t channels = ceil_div(w.p.group_channels(), kChannelsShared);
  if (is_channels_last(w.from) && is_channels_last(w.p.output)) {
    share_channels(w, phase, channels);
  } else {
    share_pixels(w, phase, channels);
    w.lanes.log_channels = least(w.lanes.log_channels, 5);
  }
  set_chunks(w, int64_t{kChannelsShared} * w.lanes.channels());
  const Size size{w.p.out_height, w.p.out_width};
  // Pixels per thread and phase: many make the second stage short, few make enough blocks.
  for (int64_t rows = 64, columns = 4; rows >= 4; rows /= 2) {
    set_tiles(w, size, scale * w.lanes.y() * rows, scale * w.lanes.x() * columns);
    if (blocks_of(w) >= kEnoughBlocks) break;
  }
  w.shared_bytes = kTapsEach * w.lanes.channels() * (w.lanes.pixels() + 1) * sum_bytes;
  return w;
}

// Bytes of partial sums: of the channel filter's gradient over tiles, and behind them of the
// spatial filter's over chunks of channels.
inline int64_t channel_sums_bytes(const Work& w, int sum_bytes) {
  return w.p.batch * w.channel_parts() * w.phases * w.p.channels * w.p.taps() * sum_bytes;
}
inline int64_t spatial_sums_bytes(const Work& w, int sum_bytes) {
  if (w.chunks == 1) return 0;
  return w.chunks * w.spatial_gradients() * sum_bytes;
}

}  // namespace ddf::cuda
