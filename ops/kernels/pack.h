// Copies between the tensors and the small buffers that the inner loops work on. Here, and only
// here, live memory formats, element types and the zeros around the image.
//
// In a buffer, a "position" is what one vector covers: kLanes pixels of a row of one channel, or
// one pixel of kLanes channels (lanes along channels).
#pragma once

#include "tile.h"

namespace ddf::DDF_NAMESPACE {

// One image of a tensor, as rows and columns of one phase.
template <typename E>
struct Map {
  E* data;
  int64_t c, y, x;
  int64_t first, last;  // offsets from `data` between which memory may be read

  static Map of(const View& view, int64_t image, int64_t channel, int64_t scale = 1, int64_t py = 0,
                int64_t px = 0) {
    const int64_t offset = image * view.b + channel * view.c + py * view.y + px * view.x;
    return {static_cast<E*>(view.data) + offset,
            view.c,
            view.y * scale,
            view.x * scale,
            -offset,
            view.last - offset};
  }
  DDF_INLINE bool readable(int64_t offset, int64_t n) const {
    return offset >= first && offset + n - 1 <= last;
  }
};

// n elements at `at`, map.x or map.c (`stride`) apart, to n lanes in a row. Where that is cheaper,
// zeros follow up to the end of the last vector.
template <typename T, typename E>
DDF_INLINE void copy_in(T* to, const Map<E>& map, int64_t at, int64_t stride, int64_t n,
                        Mask<T> tail) {
  constexpr int L = kLanes<T>;
  const E* from = map.data + at;
  if (stride != 1) {
    for (int64_t i = 0; i < n; ++i) to[i] = load_scalar<T>(from + i * stride);
    return;
  }
  int64_t i = 0;
  for (; i + L <= n; i += L) store<T>(to + i, load<T>(from + i));
  if (i == n) return;
  if (map.readable(at + i, L)) {
    store<T>(to + i, select<T>(tail, load<T>(from + i)));
  } else {
    for (; i < n; ++i) to[i] = load_scalar<T>(from + i);
  }
}

// n lanes in a row to n elements, `stride` apart.
template <typename T, typename E>
DDF_INLINE void copy_out(E* to, int64_t stride, const T* from, int64_t n) {
  constexpr int L = kLanes<T>;
  if (stride != 1) {
    for (int64_t i = 0; i < n; ++i) store_scalar<T>(to + i * stride, from[i]);
    return;
  }
  int64_t i = 0;
  for (; i + L <= n; i += L) store<T>(to + i, load<T>(from + i));
  if (i == n) return;
  if (n >= L) {  // once more, overlapping
    store<T>(to + n - L, load<T>(from + n - L));
    return;
  }
  E last[L];
  store<T>(last, load<T>(from + i));
  for (int64_t k = 0; k < n - i; ++k) to[i + k] = last[k];
}

// A tile of a map with everything that its taps reach, for `channels` channels at a time.
// Pixel lanes: [channel][row][column]; channel lanes: [row][column][channel].
template <typename T, bool kPixelLanes>
struct Patch {
  static constexpr int L = kLanes<T>;
  Axis y, x;
  int64_t channels = 0;  // of the buffer, a multiple of L for channel lanes
  T* data = nullptr;
  int64_t* row_sources = nullptr;
  int64_t* column_sources = nullptr;

  int64_t pitch() const {  // of a row; a vector may start at any column
    return kPixelLanes ? x.count + L : x.count * channels;
  }
  int64_t plane() const { return y.count * pitch(); }
  int64_t elements() const { return kPixelLanes ? plane() * channels : plane(); }

  // Distances in elements.
  int64_t per_row() const { return y.per_position * pitch(); }
  int64_t per_column() const { return kPixelLanes ? x.per_position : x.per_position * channels; }
  int64_t per_position() const { return kPixelLanes ? L : x.per_position * channels; }
  int64_t per_tap_row() const { return y.per_tap * pitch(); }
  int64_t per_tap_column() const { return kPixelLanes ? x.per_tap : x.per_tap * channels; }
  int64_t per_vector() const { return kPixelLanes ? plane() : L; }  // along channels

  void allocate(Scratch& scratch) {
    data = scratch.take<T>(elements() + L);
    row_sources = scratch.take<int64_t>(y.count);
    column_sources = scratch.take<int64_t>(x.count);
  }

  // Once per tile: fill() writes only what comes from the map, the zeros around it stay.
  void start() {
    std::memset(data, 0, static_cast<size_t>(elements() + L) * sizeof(T));
    for (int64_t i = 0; i < y.count; ++i) row_sources[i] = y.source(i);
    for (int64_t i = 0; i < x.count; ++i) column_sources[i] = x.source(i);
  }

  // Other parts of the source are 0 from now on.
  void restrict_to(Range rows, Range columns) {
    if (rows == y.valid && columns == x.valid) return;
    y.valid = rows;
    x.valid = columns;
    start();
  }

  template <typename E>
  void fill(const Map<E>& map, int64_t n) {  // n channels
    if (kPixelLanes) {
      for (int64_t c = 0; c < n; ++c) fill_plane(map, c);
    } else {
      if (n < channels) std::memset(data, 0, static_cast<size_t>(elements()) * sizeof(T));
      const Mask<T> tail = first_lanes<T>(n % L);
      for (int64_t row = 0; row < y.count; ++row) {
        if (row_sources[row] < 0) continue;
        for (int64_t column = 0; column < x.count; ++column) {
          if (column_sources[column] < 0) continue;
          const int64_t at = row_sources[row] * map.y + column_sources[column] * map.x;
          copy_in<T>(data + row * pitch() + column * channels, map, at, map.c, n, tail);
        }
      }
    }
  }

 private:
  template <typename E>
  DDF_INLINE void fill_plane(const Map<E>& map, int64_t c) {
    T* to = data + c * plane();
    const int64_t at = c * map.c;
    // The columns of one run that exist are neighbours, unless the source is stuffed or strided.
    if (x.stuffed != 1 || x.stride != 1 || x.run != x.count) {
      for (int64_t row = 0; row < y.count; ++row)
        for (int64_t column = 0; row_sources[row] >= 0 && column < x.count; ++column)
          if (column_sources[column] >= 0)
            to[row * pitch() + column] = load_scalar<T>(map.data + at + row_sources[row] * map.y +
                                                        column_sources[column] * map.x);
      return;
    }
    const int64_t first = larger(0, x.valid.begin - x.origin);
    const int64_t columns = smaller(x.count, x.valid.end - x.origin) - first;
    if (columns <= 0) return;
    const Mask<T> tail = first_lanes<T>(columns % L);
    const int64_t start = at + column_sources[first] * map.x, whole = columns / L * L;
    for (int64_t row = 0; row < y.count; ++row) {
      if (row_sources[row] < 0) continue;
      const int64_t from = start + row_sources[row] * map.y;
      if (map.x == 1 && map.readable(from + whole, L)) {
        T* lanes = to + row * pitch() + first;
        int64_t i = 0;
        for (; i < whole; i += L) store<T>(lanes + i, load<T>(map.data + from + i));
        store<T>(lanes + i, select<T>(tail, load<T>(map.data + from + i)));
      } else {
        copy_in<T>(to + row * pitch() + first, map, from, map.x, columns, tail);
      }
    }
  }
};

// Values per position and tap: the spatial filter, one lane per pixel, or one number per pixel for
// channel lanes.
template <typename T, bool kPixelLanes>
struct Weights {
  static constexpr int kWidth = kPixelLanes ? kLanes<T> : 1;
  int64_t rows = 0, columns = 0, taps = 0;
  bool tap_major = false;  // [row][tap][position] instead of [row][position][tap]
  T* data = nullptr;

  int64_t positions() const { return ceil_div(columns, kWidth); }  // of a row
  int64_t per_row() const { return positions() * taps * kWidth; }
  int64_t per_position() const { return tap_major ? kWidth : taps * kWidth; }
  int64_t per_tap() const { return tap_major ? positions() * kWidth : kWidth; }
  int64_t elements() const { return rows * per_row(); }
  void clear() { std::memset(data, 0, static_cast<size_t>(elements()) * sizeof(T)); }

  template <typename E>
  void fill(const Map<E>& map, int64_t kernel_x, const Shift& y, const Shift& x) {
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t ty = tap / kernel_x, tx = tap - ty * kernel_x;
        const int64_t source = y.source(row, ty);
        T* to = data + row * per_row() + tap * per_tap();
        if (source < 0) {
          for (int64_t p = 0; p < positions(); ++p) zero(to + p * per_position());
        } else if (x.stuffed != 1) {
          for (int64_t column = 0; column < columns; ++column) {
            if (column % kWidth == 0) zero(to + column / kWidth * per_position());
            const int64_t at = x.source(column, tx);
            if (at >= 0)
              to[column / kWidth * per_position() + column % kWidth] =
                  load_scalar<T>(map.data + tap * map.c + source * map.y + at * map.x);
          }
        } else {
          fill_row(map, tap * map.c + source * map.y, x.first + tx * x.per_tap, x.valid, to);
        }
      }
  }

 private:
  DDF_INLINE static void zero(T* to) {
    for (int i = 0; i < kWidth; ++i) to[i] = 0;
  }

  // Columns begin at `start` of the source's row at `at`; outside `valid` they are 0.
  template <typename E>
  DDF_INLINE void fill_row(const Map<E>& map, int64_t at, int64_t start, Range valid, T* to) {
    const int64_t begin = larger(0, valid.begin - start);
    const int64_t end = smaller(columns, valid.end - start);
    for (int64_t p = 0; p < positions(); ++p, to += per_position()) {
      const int64_t column = p * kWidth;
      const int64_t from = at + (start + column) * map.x;
      const int64_t first = larger(begin - column, 0), last = smaller(end - column, kWidth);
      if constexpr (kPixelLanes) {
        if (first < last && map.x == 1 && map.readable(from, kWidth)) {
          const Vec<T> value = load<T>(map.data + from);
          store<T>(to, last - first == kWidth
                           ? value
                           : select<T>(first_lanes<T>(last) & ~first_lanes<T>(first), value));
          continue;
        }
      }
      zero(to);
      for (int64_t i = first; i < last; ++i) to[i] = load_scalar<T>(map.data + from + i * map.x);
    }
  }
};

// The channel filter of `channels` channels for one phase.
// Pixel lanes: [channel][tap]; channel lanes: [vector][tap][lane].
template <typename T, bool kPixelLanes, typename E>
inline void pack_filter(T* to, const FilterView& filter, int64_t image, int64_t phase,
                        int64_t first, int64_t channels, int64_t kernel_y, int64_t kernel_x) {
  constexpr int L = kLanes<T>;
  const int64_t taps = kernel_y * kernel_x;
  const E* base =
      static_cast<const E*>(filter.data) + image * filter.b + phase * filter.p + first * filter.c;
  if (!kPixelLanes && channels % L != 0)
    std::memset(to, 0, static_cast<size_t>(round_up(channels, L) * taps) * sizeof(T));
  for (int64_t c = 0; c < channels; ++c) {
    const E* from = base + c * filter.c;
    T* lane = to + (kPixelLanes ? c * taps : c / L * taps * L + c % L);
    for (int64_t ty = 0; ty < kernel_y; ++ty)
      for (int64_t tx = 0; tx < kernel_x; ++tx) {
        *lane = load_scalar<T>(from + ty * filter.y + tx * filter.x);
        lane += kPixelLanes ? 1 : L;
      }
  }
}

}  // namespace ddf::DDF_NAMESPACE
