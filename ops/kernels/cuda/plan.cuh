// How a problem is cut into blocks: from sizes and strides alone, on the host.
#pragma once

#include <cstdint>

#include "filter_any.cuh"
#include "grad_channel.cuh"

namespace ddf::cuda {

// Blocks that keep the largest devices busy; below it, blocks are made smaller.
inline constexpr int64_t kEnoughBlocks = 1024;
inline constexpr int kMostStagedBytes = 16 << 10;
inline constexpr int64_t kMostShared = 48 << 10;  // without asking for more
#if !defined(DDF_GRID_LIMIT)
#define DDF_GRID_LIMIT 65535  // of a grid's y and z; tests/test_ops/cuda_emulation lowers it
#endif

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int log_up(int64_t n) {  // the least l with 2^l >= n
  int l = 0;
  while ((int64_t{1} << l) < n) ++l;
  return l;
}
inline int least(int64_t a, int64_t b) { return static_cast<int>(a < b ? a : b); }
inline int most(int64_t a, int64_t b) { return static_cast<int>(a > b ? a : b); }

// Kernels of 3 and 5 are specialised, unless a tap's distance in memory exceeds 31 bits.
inline int special_kernel(const Problem& p, const View& from) {
  if (p.kernel_y != p.kernel_x || (p.kernel_y != 3 && p.kernel_y != 5)) return 0;
  const int64_t reach = p.kernel_y / 2;
  const int64_t farthest = reach * (p.dilation_y * from.y + p.dilation_x * from.x);
  return farthest <= INT32_MAX ? static_cast<int>(p.kernel_y) : 0;
}

inline bool is_channels_last(const View& view) { return view.c == 1 && view.x != 1; }

// Whether vectors of `n` elements along x (or, `last`, along the channels) are aligned in `view`.
inline bool is_aligned(const View& view, int64_t n, int64_t element_bytes, bool last) {
  if ((last ? view.c : view.x) != 1) return false;
  return reinterpret_cast<uintptr_t>(view.data) % static_cast<uintptr_t>(n * element_bytes) == 0 &&
         view.b % n == 0 && view.y % n == 0 && (last ? view.x : view.c) % n == 0;
}

struct Size {
  int64_t height, width;
};

inline Work start(const Problem& p, const View& from, const View& to, bool transposed) {
  Work w;
  w.p = p;
  w.from = from;
  w.to = to;
  w.transposed = transposed;
  w.phases = static_cast<int>(p.phases());
  const int kernel = special_kernel(p, from);
  for (int tap = 0; tap < kernel * kernel; ++tap) {
    const int64_t dy = tap_shift<int64_t>(tap / kernel, kernel, p.dilation_y);
    const int64_t dx = tap_shift<int64_t>(tap % kernel, kernel, p.dilation_x);
    const View& s = p.spatial_filter;
    const int turned = transposed ? kernel * kernel - 1 - tap : tap;
    w.tap_offset[tap] = static_cast<int>(dy * from.y + dx * from.x);
    w.spatial_offset[tap] = turned * s.c + (transposed ? dy * s.y + dx * s.x : 0);
    w.filter_offset[tap] =
        turned / kernel * p.channel_filter.y + turned % kernel * p.channel_filter.x;
  }
  return w;
}

// A block of pixels, and as many channels as its threads leave room for; one tile per block.
inline void share_pixels(Work& w, Size size, int64_t channels) {
  int best = 5;  // a warp's width, or half of it where that leaves fewer threads idle
  if (ceil_div(size.width, 16) % 2 == 1 && size.width > 16 && size.width < 128) best = 4;
  w.lanes.log_x = least(best, log_up(size.width));
  w.lanes.log_y = least(7 - w.lanes.log_x, log_up(size.height));
  w.lanes.log_channels = least(7 - w.lanes.log_x - w.lanes.log_y, log_up(channels));
}

inline void share_channels(Work& w, Size size, int64_t channels) {
  w.lanes.channels_first = true;
  w.lanes.log_channels = least(5, log_up(channels));
  w.lanes.log_x = least(7 - w.lanes.log_channels, log_up(size.width));
  w.lanes.log_y = least(7 - w.lanes.log_channels - w.lanes.log_x, log_up(size.height));
}

inline void set_tiles(Work& w, Size size, int64_t height, int64_t width) {
  w.tile_height = static_cast<int>(height);
  w.tile_width = static_cast<int>(width);
  w.tiles_y = static_cast<int>(ceil_div(size.height, height));
  w.tiles_x = static_cast<int>(ceil_div(size.width, width));
}

inline int64_t blocks_of(const Work& w) {
  return static_cast<int64_t>(w.tiles_y) * w.tiles_x * w.p.groups * w.chunks * w.p.batch;
}

inline void set_chunks(Work& w, int64_t channels) {
  w.chunk_channels = most(1, channels);
  w.chunks = most(1, ceil_div(w.p.group_channels(), w.chunk_channels));
}

// Pixels per thread (1, or a vector of a row).
inline Work plan_filter_pixels(Work w, int64_t pixels, int filter_bytes) {
  const Size size{w.p.out_height, ceil_div(w.p.out_width, pixels)};
  const int64_t channels = w.p.group_channels();
  share_pixels(w, size, channels);
  set_tiles(w, size, w.lanes.y(), w.lanes.x());
  w.tile_width *= static_cast<int>(pixels);
  const int staged = most(1, kMostStagedBytes / (int64_t{w.phases} * filter_bytes));
  set_chunks(w, least(channels, least(staged, 64)));
  while (blocks_of(w) < kEnoughBlocks && w.chunk_channels > 8 * w.lanes.channels())
    set_chunks(w, w.chunk_channels / 2);
  w.shared_bytes = w.chunk_channels * w.phases * filter_bytes;
  return w;
}

inline Work plan_filter_channels(Work w, int64_t vector) {
  const Size size{w.p.out_height, w.p.out_width};
  share_channels(w, size, ceil_div(w.p.group_channels(), vector));
  set_chunks(w, vector * w.lanes.channels());
  // Pixels per thread, over which it reads its filters once.
  for (int64_t each = 8; each >= 1; each /= 2) {
    set_tiles(w, size, w.p.scale * w.lanes.y() * each, w.p.scale * w.lanes.x() * 4);
    if (blocks_of(w) >= kEnoughBlocks) break;
  }
  return w;
}

// One pixel of `size` per thread, kChannelsEach channels.
inline Work plan_any(Work w, Size size) {
  const int64_t channels = ceil_div(w.p.group_channels(), kChannelsEach);
  if (is_channels_last(w.from) && is_channels_last(w.to)) {
    share_channels(w, size, channels);
  } else {
    share_pixels(w, size, channels);
  }
  set_tiles(w, size, w.lanes.y(), w.lanes.x());
  set_chunks(w, kChannelsEach * w.lanes.channels());
  return w;
}

// One output pixel per thread; fewer pixels and more channels where that makes enough blocks.
inline Work plan_grad_spatial(Work w, int sum_bytes, int filter_bytes, int taps_each) {
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
  if (filter_bytes > 0)
    w.stage_channels =
        least(w.chunk_channels, most(1, kMostStagedBytes / (int64_t{w.phases} * filter_bytes)));
  else
    w.stage_channels = w.chunk_channels;
  const int sums = taps_each * w.lanes.pixels() * padded_channels(w.lanes) * sum_bytes;
  w.shared_bytes = most(sums, int64_t{w.stage_channels} * w.phases * filter_bytes);
  return w;
}

// A tile of pixels per block, of `each` channels per thread.
inline Work plan_grad_channel(Work w, int sum_bytes, int taps_each, int each) {
  const int64_t scale = w.phases == 1 ? 1 : w.p.scale;  // a block's phases have threads in turn
  const Size phase{ceil_div(w.p.out_height, scale), ceil_div(w.p.out_width, scale)};
  const int64_t channels = ceil_div(w.p.group_channels(), each);
  if (is_channels_last(w.from) && is_channels_last(w.p.output)) {
    share_channels(w, phase, channels);
  } else {
    share_pixels(w, phase, channels);
    w.lanes.log_channels = least(w.lanes.log_channels, 5);
  }
  set_chunks(w, int64_t{each} * w.lanes.channels());
  const Size size{w.p.out_height, w.p.out_width};
  // Pixels per thread and phase: many make the second stage short, few make enough blocks.
  for (int64_t rows = 64, columns = 4; rows >= 4; rows /= 2) {
    set_tiles(w, size, scale * w.lanes.y() * rows, scale * w.lanes.x() * columns);
    if (blocks_of(w) >= kEnoughBlocks) break;
  }
  w.shared_bytes = taps_each * w.lanes.channels() * (w.lanes.pixels() + 1) * sum_bytes;
  return w;
}

inline int64_t partial_sums_bytes(const Work& w, int sum_bytes) {
  return w.p.batch * w.tiles_y * w.tiles_x * w.phases * w.p.channels * w.p.taps() * sum_bytes;
}

}  // namespace ddf::cuda
