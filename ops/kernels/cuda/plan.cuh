// How a call is cut into blocks, on the host. Where a gradient's bits depend on that, from sizes
// and strides alone; else a device with many multiprocessors gets more blocks.
#pragma once

#include <cstdint>

#include "filter_any.cuh"
#include "work.cuh"

namespace ddf::cuda {

// Blocks that keep the largest devices busy; below it, blocks are made smaller.
inline constexpr int64_t kEnoughBlocks = 1024;
// The same where bits do not depend on it: of each multiprocessor.
inline constexpr int64_t kBlocksEach = 8;
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

// Kernels of 3 and 5 are specialised, unless distances in memory exceed 31 bits: of a tap, in
// elements, and of neighbours, in bytes (Line in work.cuh).
inline int special_kernel(const Problem& p, int64_t element_bytes) {
  if (p.kernel_y != p.kernel_x || (p.kernel_y != 3 && p.kernel_y != 5)) return 0;
  for (const View* view : {&p.features, &p.spatial_filter, &p.output, &p.grad_features}) {
    const int64_t reach = p.kernel_y / 2 + 4;
    if (reach * (p.dilation_y * view->y + p.dilation_x * view->x) * p.scale > INT32_MAX ||
        view->c * element_bytes > INT32_MAX)
      return 0;
  }
  return static_cast<int>(p.kernel_y);
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

inline Work start(const Problem& p, const View& from, const View& to, bool transposed, int kernel) {
  Work w;
  w.p = p;
  w.from = from;
  w.to = to;
  w.transposed = transposed;
  w.phases = static_cast<int>(p.phases());
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

inline void share_channels(Work& w, Size size, int64_t channels, int most_log = 5) {
  w.lanes.channels_first = true;
  w.lanes.log_channels = least(most_log, log_up(channels));
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
  return int64_t{w.tiles_y} * w.tiles_x * w.tile_phases * w.p.groups * w.chunks * w.p.batch;
}

inline void set_chunks(Work& w, int64_t channels) {
  w.chunk_channels = most(1, channels);
  w.chunks = most(1, ceil_div(w.p.group_channels(), w.chunk_channels));
}

// Filters of a chunk of channels in shared memory; fewer channels where that makes enough blocks.
// Each block loads its pixels' spatial weights, so a thread's channels are halved down to about 8,
// and further where the device has room for more blocks at once: half as many as are enough.
inline Work stage_filters(Work w, int64_t bytes_each, int64_t enough) {
  const int64_t channels = w.p.group_channels();
  set_chunks(w, least(channels, least(64, most(1, kMostStagedBytes / bytes_each))));
  while (blocks_of(w) < enough && w.chunk_channels > 8 * w.lanes.channels())
    set_chunks(w, w.chunk_channels / 2);
  while (4 * blocks_of(w) <= enough && w.chunk_channels > w.lanes.channels())
    set_chunks(w, ceil_div(w.chunk_channels, 2));
  w.shared_bytes = static_cast<int>(w.chunk_channels * bytes_each);
  return w;
}

// A vector of `pixels` of a row to a thread.
inline Work plan_filter_rows(Work w, int64_t pixels, int filter_bytes, int64_t enough) {
  const Size size{w.p.out_height, ceil_div(w.p.out_width, pixels)};
  share_pixels(w, size, w.p.group_channels());
  set_tiles(w, size, w.lanes.y(), w.lanes.x());
  w.tile_width *= static_cast<int>(pixels);
  return stage_filters(w, filter_bytes, enough);
}

// Lines of threads that each have `pixels` pixels of a column, of one phase (Column).
inline Size columns_of(const Problem& p, int64_t pixels, bool shared) {
  const int64_t step = shared ? p.dilation_y : 1;
  return {ceil_div(ceil_div(p.out_height, p.scale), step * pixels) * step,
          ceil_div(p.out_width, p.scale)};
}

inline Work plan_filter_columns(Work w, int64_t pixels, bool shared, int filter_bytes,
                                int64_t enough) {
  const Size size = columns_of(w.p, pixels, shared);
  w.tile_phases = static_cast<int>(w.p.scale * w.p.scale);
  share_pixels(w, size, w.p.group_channels());
  set_tiles(w, size, w.lanes.y(), w.lanes.x());
  return stage_filters(w, filter_bytes, enough);
}

// A pixel of `size` to a thread, and filters of all phases.
inline Work plan_filter_pixels(Work w, Size size, int filter_bytes, int64_t enough) {
  if (is_channels_last(w.from) && is_channels_last(w.to)) {
    share_channels(w, size, w.p.group_channels());
  } else {
    share_pixels(w, size, w.p.group_channels());
  }
  set_tiles(w, size, w.lanes.y(), w.lanes.x());
  return stage_filters(w, int64_t{w.phases} * filter_bytes, enough);
}

// A vector of channels and some pixels of a row, a dilation apart, to a thread; filters of
// `tap_bytes` for all taps and phases that a tile needs.
inline Work plan_filter_channels(Work w, int64_t vector, int64_t pixels, int64_t tap_bytes,
                                 int64_t enough) {
  const int64_t apart = w.p.dilation_x;
  w.groups_x = static_cast<int>(ceil_div(w.p.width, apart * pixels) * apart);
  w.tile_phases = w.transposed ? 1 : static_cast<int>(w.p.scale * w.p.scale);
  const Size size{w.p.height, w.groups_x};
  const auto cut = [&](int most_log) {
    share_channels(w, size, ceil_div(w.p.group_channels(), vector), most_log);
    while (w.lanes.log_channels > 0 && tap_bytes * vector * w.lanes.channels() > kMostShared)
      --w.lanes.log_channels;
    set_chunks(w, vector * w.lanes.channels());
    for (int64_t each = 8; each >= 1; each /= 2) {  // groups of pixels to a thread
      set_tiles(w, size, w.lanes.y() * each, w.lanes.x());
      if (blocks_of(w) >= enough) return true;
    }
    return false;
  };
  // A whole warp reads the same spatial weights. On small maps, filters take longer to load: then
  // more of a block's threads share them.
  if (!cut(5)) cut(3);
  w.shared_bytes = static_cast<int>(least(tap_bytes * vector * w.lanes.channels(), INT32_MAX));
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

}  // namespace ddf::cuda
