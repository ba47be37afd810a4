// Copies between the tensors of `depthwise_pointwise` and the buffers that it works in. Only this
// file knows its memory formats, dtypes, phases and the zeros around the image.
#pragma once

#include "tile.h"

namespace ddf::DDF_NAMESPACE {

inline constexpr int kPair = 2;  // vectors of pixels that a loop takes at a time

template <typename T>
inline constexpr int64_t kPixelStep = kPair * kLanes<T>;

// The outputs of one phase of all images, at the input's size.
template <typename E>
DDF_INLINE View phase_view(const DepthwisePointwise& p, int64_t phase) {
  View view = p.out;
  const int64_t r = p.scale;
  const int64_t first =
      r == 1 ? phase * p.outputs * view.c : phase / r * view.y + phase % r * view.x;
  view.data = static_cast<E*>(view.data) + first;
  view.y *= r;
  view.x *= r;
  return view;
}

// n elements `stride` apart.
template <typename T, typename E>
DDF_INLINE void copy_row(const E* from, int64_t stride, int64_t n, T* to) {
  int64_t j = 0;
  if (stride == 1)
    for (; j + kLanes<T> <= n; j += kLanes<T>) store<T>(to + j, load<T>(from + j));
  // What stands between two elements is there to be read.
  if (stride == 2)
    for (; j + kLanes<T> < n; j += kLanes<T>)
      store<T>(to + j, every_second<T>(load<T>(from + 2 * j), load<T>(from + 2 * j + kLanes<T>)));
  for (; j < n; ++j) to[j] = load_scalar<T>(from + j * stride);
}

// The inverse.
template <typename T, typename E>
DDF_INLINE void write_row(const T* from, int64_t n, E* to, int64_t stride) {
  int64_t j = 0;
  if (stride == 1)
    for (; j + kLanes<T> <= n; j += kLanes<T>) store<T>(to + j, load<T>(from + j));
  for (; j < n; ++j) store_scalar<T>(to + j * stride, from[j]);
}

// One element of each row in turn.
template <typename T, typename E>
DDF_INLINE void write_rows_in_turn(const T* even, const T* odd, int64_t n, E* to) {
  int64_t j = 0;
  for (; j + kLanes<T> <= n; j += kLanes<T>)
    for (int upper = 0; upper < 2; ++upper)
      store<T>(to + 2 * j + upper * kLanes<T>,
               in_turn<T>(load<T>(even + j), load<T>(odd + j), upper == 1));
  for (; j < n; ++j) {
    store_scalar<T>(to + 2 * j, even[j]);
    store_scalar<T>(to + 2 * j + 1, odd[j]);
  }
}

// Whether loops can work on rows of it where they lie.
template <typename T, typename E>
DDF_INLINE bool is_in_place(const View& view) {
  return std::is_same_v<T, E> && view.x == 1;
}

// The first pixel of an image's tile.
template <typename E>
DDF_INLINE E* first_pixel(const View& view, int64_t image, const Tile& tile) {
  return static_cast<E*>(view.data) + image * view.b + tile.rows.begin * view.y +
         tile.columns.begin * view.x;
}

// Maps of one tile with `reach` more rows and columns on each side; rows padded for whole steps.
template <typename T>
struct Maps {
  int64_t rows = 0, columns = 0, pitch = 0, reach = 0;
  T* data = nullptr;

  Maps(Scratch& scratch, int64_t count, int64_t tile_rows, int64_t tile_columns, int64_t reach_)
      : reach(reach_) {
    rows = tile_rows + 2 * reach;
    columns = tile_columns + 2 * reach;
    pitch = pitch_of(columns);
    // The tile's own rows start at whole vectors.
    const int64_t ahead = round_up(reach, kLanes<T>) - reach;
    data = scratch.take<T>(ahead + count * size() + kPixelStep<T>);
    if (data != nullptr) data += ahead;
  }
  // Of a row of so many columns.
  static int64_t pitch_of(int64_t columns) {
    return round_up(columns, kPixelStep<T>) + kPixelStep<T>;
  }
  int64_t size() const { return rows * pitch; }
  T* map(int64_t i) const { return data + i * size(); }
  // Row y of the tile; -reach is the first.
  T* row(int64_t i, int64_t y) const { return map(i) + (y + reach) * pitch; }

  // Sets to 0 what lies outside the image in row y of `count` maps.
  void clear_outside(int64_t count, int64_t y, const Tile& tile, int64_t height,
                     int64_t width) const {
    const int64_t at = tile.rows.begin + y, left = tile.columns.begin - reach;
    const int64_t before = at < 0 || at >= height ? columns : larger(0, -left);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = 0; j < before; ++j) row(i, y)[j] = 0;
      for (int64_t j = width - left; j < columns; ++j) row(i, y)[j] = 0;
    }
  }

  // Copies `count` channels from `first` on, into the maps from `into` on; what lies outside the
  // image, and the padding, is 0.
  template <typename E>
  void fill(const View& view, int64_t image, int64_t first, int64_t count, const Tile& tile,
            int64_t height, int64_t width, int64_t into = 0) const {
    const Range inside =
        intersect({tile.columns.begin - reach, tile.columns.end + reach}, Range{0, width});
    const int64_t before = inside.begin - (tile.columns.begin - reach), n = inside.size();
    for (int64_t c = 0; c < count; ++c)
      for (int64_t i = 0; i < tile.rows.size() + 2 * reach; ++i) {
        T* const to = map(into + c) + i * pitch;
        const int64_t y = tile.rows.begin - reach + i;
        if (y < 0 || y >= height) {
          std::memset(to, 0, static_cast<size_t>(pitch) * sizeof(T));
          continue;
        }
        const E* const from = static_cast<const E*>(view.data) + image * view.b +
                              (first + c) * view.c + y * view.y + inside.begin * view.x;
        for (int64_t j = 0; j < before; ++j) to[j] = 0;
        copy_row<T>(from, view.x, n, to + before);
        for (int64_t j = before + n; j < pitch; ++j) to[j] = 0;
      }
  }

  // Fetches what fill() will copy of a channel, where its rows lie in one piece each.
  template <typename E>
  void fetch(const View& view, int64_t image, int64_t channel, const Tile& tile, int64_t height,
             int64_t width) const {
    if (view.x != 1) return;
    const Range ys = intersect({tile.rows.begin - reach, tile.rows.end + reach}, Range{0, height});
    const Range xs =
        intersect({tile.columns.begin - reach, tile.columns.end + reach}, Range{0, width});
    constexpr int64_t kLine = 64 / int64_t{sizeof(E)};
    for (int64_t y = ys.begin; y < ys.end; ++y) {
      const E* const from =
          static_cast<const E*>(view.data) + image * view.b + channel * view.c + y * view.y;
      for (int64_t x = xs.begin; x < xs.end; x += kLine) __builtin_prefetch(from + x, 0, 2);
      __builtin_prefetch(from + xs.end - 1, 0, 2);
    }
  }

  // Writes the tile's own pixels of a map.
  template <typename E>
  void write(const View& view, int64_t image, int64_t channel, int64_t i, const Tile& tile) const {
    for (int64_t y = 0; y < tile.rows.size(); ++y)
      write_row<T>(row(i, y) + reach, tile.columns.size(),
                   static_cast<E*>(view.data) + image * view.b + channel * view.c +
                       (tile.rows.begin + y) * view.y + tile.columns.begin * view.x,
                   view.x);
  }
};

// The parameters in the type of the sums: depthwise[phase, channel, tap],
// pointwise[phase, output, channel] and bias[phase, output], which the gradients do without.
template <typename T>
struct Parameters {
  T* memory;
  const T *depthwise = nullptr, *pointwise = nullptr, *bias = nullptr;

  Parameters(Scratch& scratch, const DepthwisePointwise& p)
      : memory(scratch.take<T>(p.parameter_elements() + p.phases * p.outputs)) {}

  template <typename E>
  void fill(const DepthwisePointwise& p) {
    T* free = memory;
    const auto taken = [&](const void* from, int64_t n) -> const T* {
      if constexpr (std::is_same_v<T, E>) return static_cast<const T*>(from);
      T* const to = std::exchange(free, free + n);
      if (from != nullptr) copy_row<T>(static_cast<const E*>(from), 1, n, to);
      return to;
    };
    depthwise = taken(p.depthwise, p.depthwise_elements());
    pointwise = taken(p.pointwise, p.pointwise_elements());
    bias = taken(p.bias, p.phases * p.outputs);
  }
};

}  // namespace ddf::DDF_NAMESPACE
