// Filters a packed tile: which inner loop, and where its results go. The forward pass and the
// features' gradient have this in common.
#pragma once

#include "ddf_pack.h"
#include "ddf_walk.h"

namespace ddf::DDF_NAMESPACE {

// Channels, or vectors of channels, of a block for the walking loop.
inline constexpr int64_t kWalkChannels = 8, kWalkVectors = 8;
// Spatial weights of a strip of columns: they stay in the L1 cache while the channels pass by.
inline constexpr int64_t kStripBytes = 16384;

// Sums in float64 are not worth the walking loop's code.
template <typename T>
inline constexpr bool kWalks = std::is_same_v<T, float>;

// The 3 x 3 loop needs taps that are a whole number of rows apart.
template <typename T, bool kPixelLanes>
DDF_INLINE bool can_walk(const Patch<T, kPixelLanes>& patch, const Problem& p) {
  return kWalks<T> && p.kernel_y == 3 && p.kernel_x == 3 && patch.y.shared() &&
         patch.y.per_position == 1;
}

template <typename T, bool kPixelLanes>
DDF_INLINE Strides strides_of(const Patch<T, kPixelLanes>& patch,
                              const Weights<T, kPixelLanes>& weights) {
  constexpr int L = kLanes<T>;
  Strides d;
  d.x_row = patch.per_row();
  d.x_position = patch.per_position();
  d.x_vector = patch.per_vector();
  d.x_tap_row = patch.per_tap_row();
  d.x_tap_column = patch.per_tap_column();
  d.s_row = weights.per_row;
  d.s_position = weights.per_position;
  d.s_tap = weights.per_tap;
  d.f_vector = kPixelLanes ? weights.taps : weights.taps * L;
  d.f_tap = kPixelLanes ? 1 : L;
  if (weights.reversed) d.f_tap = -d.f_tap;
  d.out_position = L;
  d.out_row = weights.positions() * L;
  d.out_vector = weights.rows * d.out_row;
  return d;
}

// A block of channels of one phase of a tile: what the inner loops read. X: element type of the
// tensor.
template <typename T, typename X, bool kPixelLanes>
struct Block {
  int64_t channels;
  const T* x;  // in a packed tile
  Weights<T, kPixelLanes> weights;
  const T* f;
  Combine combine;
  Strides d;
  bool walk;
  int64_t dilation;  // rows between tap rows, if walk
  int64_t kernel_y, kernel_x;
  // Not null: read by the walking loop instead of `x`, in the tensor. Then also: the tile in its
  // image, and the columns between tap columns.
  const X* source = nullptr;
  Tile tile{};
  int64_t height = 0, width = 0, dilation_x = 0;

  int64_t vectors() const { return kPixelLanes ? channels : ceil_div(channels, kLanes<T>); }
  // The filter's first tap in the order of the weights.
  const T* first_tap() const { return weights.reversed ? f - (weights.taps - 1) * d.f_tap : f; }
};

// Where a column of sums goes: `last`, if given, takes the last row of the last column.
template <typename O>
struct Target {
  O* out;
  int64_t row, position, vector;
  O* last = nullptr;
  int64_t last_vector = 0;
};

// Columns `columns` of positions of some of the block's vectors.
template <typename T, typename X, typename O, bool kPixelLanes>
DDF_SHARED void walk_columns(const Block<T, X, kPixelLanes>& b, Range vectors, Range columns,
                             Target<O> to, bool add = false) {
  static_assert(kWalks<T>);
  const int64_t rows = b.weights.rows, d = b.dilation;
  const int64_t offset = vectors.begin * b.d.x_vector + columns.begin * b.d.x_position;
  const T* s = b.weights.data + columns.begin * b.d.s_position;
  const T* f = b.first_tap() + vectors.begin * b.d.f_vector;
  O* const final = to.out + (columns.size() - 1) * to.position;
  if (to.last == nullptr) {
    to.last = final + (rows - 1) * to.row;
    to.last_vector = to.vector;
  }
  // Every d-th row, one set of them after the other.
  for (int64_t start = 0; start < smaller(d, rows); ++start) {
    Strip strip{d * b.d.x_row,  b.d.x_tap_column, b.d.x_position,
                b.d.x_vector,   d * b.d.s_row,    b.d.s_position,
                b.d.f_tap,      b.d.f_vector,     d * to.row,
                to.position,    to.vector,        ceil_div(rows - start, d),
                columns.size(), vectors.size(),   {}};
    const int64_t row = start + (strip.rows - 1) * d;
    const bool is_last = row == rows - 1;
    O* const out = to.out + start * to.row;
    O* const last = is_last ? to.last : final + row * to.row;
    const int64_t last_vector = is_last ? to.last_vector : to.vector;
    if (b.source == nullptr) {
      const auto walk = with_combine(b.combine, [](auto combine) {
        return &walk_strip<T, T, O, kPixelLanes, combine(), false>;
      });
      walk(b.x + offset + start * b.d.x_row, s + start * b.d.s_row, f, out, last, last_vector,
           strip, add);
      continue;
    }
    const int64_t column = b.tile.columns.begin + columns.begin * (kPixelLanes ? kLanes<T> : 1);
    const int64_t first = b.tile.rows.begin + start;
    strip.border = {first < d, first + strip.rows * d >= b.height, column, b.width - column,
                    b.dilation_x};
    const auto walk = with_combine(
        b.combine, [](auto combine) { return &walk_strip<T, X, O, kPixelLanes, combine(), true>; });
    walk(b.source + offset + start * b.d.x_row, s + start * b.d.s_row, f, out, last, last_vector,
         strip, add);
  }
}

// `rows` rows from `row` on, to out[vector][row][position].
template <typename T, typename X, typename O, bool kPixelLanes>
DDF_SHARED void filter_blocks(const Block<T, X, kPixelLanes>& b, int64_t row, int64_t rows, O* out,
                              const Strides& d, bool add) {
  const auto filter = with_combine(b.combine, [&](auto combine) {
    return with_vectors(b.vectors(), [](auto vectors) {
      return &filter_rows<T, O, kPixelLanes, decltype(combine)::value, vectors()>;
    });
  });
  filter(b.x + row * d.x_row, b.weights.data + row * d.s_row, b.first_tap(), out, d, rows,
         b.weights.positions(), b.kernel_y, b.kernel_x, add);
}

// To buffer[vector][row][position].
template <typename T, typename X, bool kPixelLanes>
DDF_SHARED void filter_to_buffer(const Block<T, X, kPixelLanes>& b, T* buffer, bool add) {
  const Strides& d = b.d;
  if constexpr (kWalks<T>) {
    if (b.walk)
      return walk_columns<T, X, T, kPixelLanes>(
          b, {0, b.vectors()}, {0, b.weights.positions()},
          Target<T>{buffer, d.out_row, d.out_position, d.out_vector}, add);
  }
  filter_blocks<T, X, T, kPixelLanes>(b, 0, b.weights.rows, buffer, d, add);
}

// Writes rows of buffer[vector][row][position], from `row` of the tile on, to the tensor.
template <typename T, bool kPixelLanes, typename E>
DDF_SHARED void unpack(const T* from, const Strides& d, const Map<E>& map, const Tile& tile,
                       int64_t row, int64_t channels) {
  constexpr int L = kLanes<T>;
  const int64_t columns = tile.columns.size();
  for (int64_t y = tile.rows.begin + row; y < tile.rows.end; ++y, from += d.out_row) {
    E* to = map.data + y * map.y + tile.columns.begin * map.x;
    if constexpr (kPixelLanes) {
      for (int64_t c = 0; c < channels; ++c)
        copy_out<T>(to + c * map.c, map.x, from + c * d.out_vector, columns);
    } else {
      for (int64_t column = 0; column < columns; ++column)
        for (int64_t c = 0; c < channels; c += L)
          copy_out<T>(to + column * map.x + c * map.c, map.c,
                      from + c / L * d.out_vector + column * L, smaller(L, channels - c));
    }
  }
}

template <typename T, bool kPixelLanes>
constexpr int64_t weight_bytes() {  // of a position
  return 9 * (kPixelLanes ? kLanes<T> : 1) * static_cast<int64_t>(sizeof(T));
}

// The walking loop's part of filter_to_tensor(). Whole vectors go straight to the tensor, after the
// others: what those spill lies in them.
template <typename T, typename E, bool kPixelLanes>
DDF_INLINE void walk_to_tensor(const Block<T, E, kPixelLanes>& b, const Map<E>& map, E* corner,
                               bool dense, bool spills, T* buffer) {
  constexpr int L = kLanes<T>;
  const int64_t rows = b.weights.rows, columns = b.weights.columns;
  const int64_t positions = b.weights.positions();
  const int64_t excess = positions * L - columns;  // for pixel lanes
  const int64_t position = kPixelLanes ? L * map.x : map.x, vector = (kPixelLanes ? 1 : L) * map.c;
  const int64_t whole_positions = !dense ? 0 : kPixelLanes ? columns / L : positions;
  const int64_t whole_vectors = kPixelLanes ? b.vectors() : b.channels / L;
  const auto by_way_of_buffer = [&](int64_t v, int64_t p) {
    walk_columns<T, E, T, kPixelLanes>(b, {v, v + 1}, {p, p + 1}, Target<T>{buffer, L, L, 0});
    const int64_t used = kPixelLanes ? columns - p * L : b.channels - v * L;
    for (int64_t row = 0; row < rows; ++row)
      copy_out<T>(corner + v * vector + p * position + row * map.y, kPixelLanes ? map.x : map.c,
                  buffer + row * L, smaller(L, used));
  };
  if (dense && spills && excess > 0 && (positions > 1 || b.dilation == 1)) {
    E* exact = reinterpret_cast<E*>(buffer);
    E* const out = corner + (positions - 1) * position;
    walk_columns<T, E, E, kPixelLanes>(b, {0, b.vectors()}, {positions - 1, positions},
                                       Target<E>{out, map.y, position, vector, exact, L});
    for (int64_t v = 0; v < b.vectors(); ++v)
      for (int64_t k = 0; k < L - excess; ++k)
        out[v * vector + (rows - 1) * map.y + k] = exact[v * L + k];
  } else {
    for (int64_t v = 0; v < b.vectors(); ++v)
      for (int64_t p = v < whole_vectors ? whole_positions : 0; p < positions; ++p)
        by_way_of_buffer(v, p);
  }
  // Strips of columns whose weights stay in the L1 cache while the block's vectors pass by.
  const int64_t strip = larger(1, kStripBytes / (rows * weight_bytes<T, kPixelLanes>()));
  for (int64_t begin = 0; begin < whole_positions; begin += strip)
    walk_columns<T, E, E, kPixelLanes>(
        b, {0, whole_vectors}, {begin, smaller(begin + strip, whole_positions)},
        Target<E>{corner + begin * position, map.y, position, vector});
}

// Filters straight into the tensor as far as whole vectors fit, by way of `buffer` otherwise.
//
// What a vector writes past the end of its row is the beginning of the next row, if the tile is as
// wide as the image; this thread writes that afterwards. Only the last row must end exactly.
template <typename T, typename E, bool kPixelLanes>
DDF_SHARED void filter_to_tensor(const Block<T, E, kPixelLanes>& b, const Map<E>& map,
                                 const Tile& tile, T* buffer) {
  constexpr int L = kLanes<T>;
  const int64_t rows = b.weights.rows, columns = b.weights.columns;
  const int64_t positions = b.weights.positions();
  const int64_t excess = kPixelLanes ? positions * L - columns : b.vectors() * L - b.channels;
  const bool dense = (kPixelLanes ? map.x : map.c) == 1;
  const bool spills = kPixelLanes && map.y == columns && excess <= columns;
  E* const corner = map.data + tile.rows.begin * map.y + tile.columns.begin * map.x;
  if constexpr (kWalks<T>) {
    if (b.walk) return walk_to_tensor<T, E, kPixelLanes>(b, map, corner, dense, spills, buffer);
  }
  const int64_t direct = !dense ? 0 : excess == 0 ? rows : spills ? rows - 1 : 0;
  if (direct > 0) {
    Strides to = b.d;
    to.out_row = map.y;
    to.out_position = kPixelLanes ? L : map.x;
    to.out_vector = kPixelLanes ? map.c : L;
    filter_blocks<T, E, E, kPixelLanes>(b, 0, direct, corner, to, false);
  }
  if (direct == rows) return;
  filter_blocks<T, E, T, kPixelLanes>(b, direct, rows - direct, buffer, b.d, false);
  unpack<T, kPixelLanes>(buffer, b.d, map, tile, direct, b.channels);
}

// The channel filter of a block of channels: in place where the tensor already is as the inner
// loops want it, else packed into `buffer`; which nothing reads if there is none.
template <typename T, typename E, bool kPixelLanes>
DDF_INLINE const T* filter_of(const Problem& p, int64_t image, int64_t phase, int64_t first,
                              int64_t channels, T* buffer) {
  const FilterView& f = p.channel_filter;
  if (p.combine == Combine::spatial) return buffer;
  if constexpr (kPixelLanes && std::is_same_v<T, E>) {
    if (f.x == 1 && f.y == p.kernel_x && f.c == p.taps())
      return static_cast<const T*>(f.data) + image * f.b + phase * f.p + first * f.c;
  }
  pack_filter<T, kPixelLanes, E>(buffer, f, image, phase, first, channels, p.kernel_y, p.kernel_x);
  return buffer;
}

}  // namespace ddf::DDF_NAMESPACE
