// How forward and backward pass are cut into tiles, and the memory that these need.
#pragma once

#include <initializer_list>

#include "ddf_pack.h"

namespace ddf::DDF_NAMESPACE {

// Output pixels of a tile, about, and base grid columns at most. Its spatial weights and a few
// channels of its features stay in the L1 and L2 caches while the channels pass by.
inline constexpr int64_t kTilePixels = 2048, kTileColumns = 384;
// Channel lanes: few rows, because those of a map whose width is a power of two meet in the same
// sets of the caches.
inline constexpr int64_t kTilePixelsChannelLanes = 256, kTileColumnsChannelLanes = 64,
                         kTileColumnsUpsampled = 16;
inline constexpr int64_t kBackwardTilePixels = 4096;
inline constexpr int64_t kBackwardTilePixelsChannelLanes = 256,
                         kBackwardTileColumnsChannelLanes = 32;
// An upsampled tile's surroundings are those of its few positions in the base grid.
inline constexpr int64_t kBackwardTilePixelsUpsampled = 2048;
// Outputs beyond this many bytes are streamed past the caches.
inline constexpr int64_t kStreamBytes = int64_t{32} << 20;
// Tiles of a batch that suffice for the threads of a common machine.
inline constexpr int64_t kEnoughTiles = 16;

DDF_INLINE bool lanes_are_channels(const Problem& p, const View& a, const View& b, int lanes) {
  return a.c == 1 && b.c == 1 && a.x != 1 && p.group_channels() >= lanes;
}

inline void set_tiles(Plan& plan, const Problem& p, int64_t pixels, int64_t columns,
                      int64_t lanes) {
  const int64_t height = p.grid_height(), width = p.grid_width(), area = p.scale * p.scale;
  const int64_t parts = ceil_div(width, columns);
  plan.tile_columns = parts == 1 ? width : round_up(ceil_div(width, parts), lanes);
  const int64_t rows = larger(1, pixels / area / plan.tile_columns);
  plan.tile_rows = ceil_div(height, larger(1, ceil_div(height, rows)));
  plan.tiles_y = ceil_div(height, plan.tile_rows);
  plan.tiles_x = ceil_div(width, plan.tile_columns);
}

// Tiles differ in the last row and column only.
template <typename Allocate>
int64_t largest_scratch(const Plan& plan, const Problem& p, const Allocate& allocate) {
  int64_t bytes = 0;
  for (const int64_t y : {int64_t{0}, plan.tiles_y - 1})
    for (const int64_t x : {int64_t{0}, plan.tiles_x - 1}) {
      Scratch scratch(nullptr);
      allocate(scratch, tile_at(plan, y * plan.tiles_x + x, p.grid_height(), p.grid_width()));
      bytes = larger(bytes, scratch.used());
    }
  return bytes;
}

// Elements of the weights of all phases of a tile, of each phase's own size: in Order::sweep a
// smaller one can need more. None without a spatial filter.
template <typename T, bool kPixelLanes>
int64_t weight_elements(const Problem& p, const Tile& tile, Order order) {
  int64_t elements = 0;
  if (p.combine == Combine::channel) return elements;
  for_each_phase(p, tile, [&](const Phase& phase) {
    elements += Weights<T, kPixelLanes>(phase.rows(), phase.columns(), p.taps(), order).elements();
  });
  return elements;
}

}  // namespace ddf::DDF_NAMESPACE
