// The forward pass of `depthwise_pointwise`. Of a tile and a block of channels, first the depthwise
// result of all phases; then, from that, each output is summed in a register.
#pragma once

#include "depthwise_loops.h"

namespace ddf::DDF_NAMESPACE {

inline constexpr int64_t kMostTilePixels = 512;
// Elements that stay in an L2 cache together: of a tile's outputs, and of its depthwise result.
inline constexpr int64_t kOutputElements = 32 << 10, kFilteredElements = 48 << 10;
inline constexpr int64_t kMapsAtOnce = 4;  // of the input: they stay in an L1 cache
// Read where they are. Maps lie a power of two apart as a rule: more would not fit into one set of
// an L1 cache.
inline constexpr int64_t kMapsInPlace = 8;

template <typename T>
Plan forward_tiles(const DepthwisePointwise& p) {
  const int64_t outputs = p.phases * p.outputs;
  const int64_t pixels = larger(4 * kLanes<T>, smaller(kMostTilePixels, kOutputElements / outputs));
  // Of about four rows, so that they share most of the rows around them.
  const int64_t across = p.depthwise != nullptr ? pixels / 4 : pixels;
  const int64_t parts = ceil_div(p.width, larger(kPixelStep<T>, across));
  Plan plan;
  plan.tile_columns = parts == 1 ? p.width : round_up(ceil_div(p.width, parts), kLanes<T>);
  // At least four tiles, for the threads, where there are four rows.
  if (p.depthwise != nullptr)
    plan.tile_rows = larger(1, smaller(pixels / plan.tile_columns, ceil_div(p.height, 4)));
  return plan;
}

template <typename T>
struct DepthwisePointwiseForward {
  Parameters<T> parameters;
  Maps<T> x;
  // Of one map of a tile, in its rows of whole vectors. An odd number of steps: by a power of two,
  // all maps would share a few sets of the caches.
  int64_t pitch;
  int64_t channels;  // in a block
  T* filtered;       // (phases, channels, pitch)
  T* results;        // (phases, outputs, pitch)

  DepthwisePointwiseForward(Scratch& scratch, const DepthwisePointwise& p, const Plan& plan)
      : parameters(scratch, p),
        x(scratch, kMapsAtOnce, plan.tile_rows, plan.tile_columns, p.side / 2),
        pitch(
            (ceil_div(plan.tile_rows * round_up(plan.tile_columns, kLanes<T>), kPixelStep<T>) | 1) *
            kPixelStep<T>),
        channels(larger(1, kFilteredElements / (p.copies() * pitch * kMapsAtOnce)) * kMapsAtOnce),
        filtered(scratch.take<T>(p.copies() * smaller(larger(channels, kMapsInPlace), p.channels) *
                                 pitch)),
        results(scratch.take<T>(p.phases * p.outputs * pitch)) {}
};

// The depthwise result of `count` channels from `first` on.
template <typename T, typename E>
void filter_tile(const DepthwisePointwise& p, const DepthwisePointwiseForward<T>& b, int64_t image,
                 int64_t first, int64_t count, const Tile& tile) {
  const int64_t columns = tile.columns.size(), row = round_up(columns, kLanes<T>);
  for (int64_t done = 0; done < count; done += kMapsAtOnce) {
    const int64_t some = smaller(kMapsAtOnce, count - done);
    b.x.template fill<E>(p.x, image, first + done, some, tile, p.height, p.width);
    for (int64_t phase = 0; phase < p.phases; ++phase)
      for (int64_t c = 0; c < some; ++c) {
        // By the time that it is copied
        const int64_t next = first + done + kMapsAtOnce + c;
        if (phase == 0 && next < p.channels)
          b.x.template fetch<E>(p.x, image, next, tile, p.height, p.width);
        depthwise<T>(b.x.map(c), b.x.pitch,
                     b.parameters.depthwise + (phase * p.channels + first + done + c) * p.taps(),
                     p.side, tile.rows.size(), columns,
                     b.filtered + (phase * count + done + c) * b.pitch, row, false);
      }
  }
}

// Adds to all outputs what these channels give them.
template <typename T>
void combine_tile(const DepthwisePointwise& p, const DepthwisePointwiseForward<T>& b, int64_t first,
                  int64_t count, int64_t elements) {
  for (int64_t phase = 0; phase < p.phases; ++phase)
    multiply<T>(b.parameters.pointwise + phase * p.outputs * p.channels + first, p.channels, 1,
                p.outputs, count, b.filtered + phase * count * b.pitch, b.pitch,
                b.results + phase * p.outputs * b.pitch, b.pitch, elements,
                first > 0 ? nullptr : b.parameters.bias + phase * p.outputs);
}

template <typename T, typename E>
void write_outputs(const DepthwisePointwise& p, const DepthwisePointwiseForward<T>& b,
                   int64_t image, const Tile& tile) {
  const int64_t columns = tile.columns.size(), row = round_up(columns, kLanes<T>);
  const int64_t at_once = p.scale == 2 && p.out.x == 1 ? 2 : 1;
  for (int64_t phase = 0; phase < p.phases; phase += at_once) {
    const View view = phase_view<E>(p, phase);
    for (int64_t y = 0; y < tile.rows.size(); ++y) {
      const T* const from = b.results + phase * p.outputs * b.pitch + y * row;
      E* const to = static_cast<E*>(view.data) + image * view.b + (tile.rows.begin + y) * view.y +
                    tile.columns.begin * view.x;
      if (view.c == 1 && p.outputs > 1) {
        for (int64_t x = 0; x < columns; ++x)
          for (int64_t o = 0; o < p.outputs; ++o)
            store_scalar<T>(to + x * view.x + o, from[o * b.pitch + x]);
        continue;
      }
      for (int64_t o = 0; o < p.outputs; ++o) {
        const T* const line = from + o * b.pitch;
        if (at_once == 2) {
          write_rows_in_turn<T>(line, line + p.outputs * b.pitch, columns, to + o * view.c);
        } else {
          write_row<T>(line, columns, to + o * view.c, view.x);
        }
      }
    }
  }
}

// All outputs of a row, from the input itself: rows of at least a step where they lie, others
// copied.
template <typename T, typename E>
void combine_input(const DepthwisePointwise& p, const DepthwisePointwiseForward<T>& b,
                   int64_t image, const Tile& tile) {
  const int64_t columns = tile.columns.size(), outputs = p.phases * p.outputs;
  const bool in_place = is_in_place<T, E>(p.x) && columns >= kPixelStep<T>;
  const int64_t block = in_place ? kMapsInPlace : b.channels;
  // In place, the last vectors end with the row. What they compute a second time stands behind the
  // rest, until the rest is moved to its place.
  const int64_t whole = columns / kPixelStep<T> * kPixelStep<T>, rest = columns - whole;
  const int64_t last = rest <= kLanes<T> ? kLanes<T> : kPixelStep<T>;
  for (int64_t first = 0; first < p.channels; first += block) {
    const int64_t count = smaller(block, p.channels - first);
    const E* const from = first_pixel<E>(p.x, image, tile) + first * p.x.c;
    const auto combine = [&](const T* maps, int64_t pitch, int64_t begin, int64_t n) {
      multiply<T>(b.parameters.pointwise + first, p.channels, 1, outputs, count, maps, pitch,
                  b.results + begin, b.pitch, n, first > 0 ? nullptr : b.parameters.bias);
    };
    if (in_place) {
      if constexpr (std::is_same_v<T, E>) {
        combine(from, p.x.c, 0, whole);
        if (rest > 0) combine(from + columns - last, p.x.c, whole, last);
      }
      continue;
    }
    for (int64_t c = 0; c < count; ++c)
      copy_row<T>(from + c * p.x.c, p.x.x, columns, b.filtered + c * b.pitch);
    combine(b.filtered, b.pitch, 0, columns);
  }
  if (in_place && rest > 0)
    for (int64_t o = 0; o < outputs; ++o) {
      T* const to = b.results + o * b.pitch + whole;
      std::memmove(to, to + last - rest, static_cast<size_t>(rest) * sizeof(T));
    }
}

template <typename T, typename E>
void depthwise_pointwise_unit(const DepthwisePointwise& p, const Plan& plan, int64_t unit,
                              void* memory) {
  Scratch scratch(memory);
  DepthwisePointwiseForward<T> b(scratch, p, plan);
  b.parameters.template fill<E>(p);
  const int64_t tiles = plan.tiles_y * plan.tiles_x, image = unit / tiles;
  const Tile tile = tile_at(plan, unit % tiles, p.height, p.width);
  const int64_t elements = tile.rows.size() * round_up(tile.columns.size(), kLanes<T>);
  if (p.depthwise == nullptr) {
    combine_input<T, E>(p, b, image, tile);
  } else {
    for (int64_t first = 0; first < p.channels; first += b.channels) {
      const int64_t count = smaller(b.channels, p.channels - first);
      filter_tile<T, E>(p, b, image, first, count, tile);
      combine_tile<T>(p, b, first, count, elements);
    }
  }
  write_outputs<T, E>(p, b, image, tile);
}

}  // namespace ddf::DDF_NAMESPACE
