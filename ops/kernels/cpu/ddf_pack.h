// Copies between the tensors and the small buffers that the inner loops work on. Here, and only
// here, live memory formats, element types and the zeros around the image.
//
// In a buffer, a "position" is what one vector covers: kLanes pixels of a row of one channel, or
// one pixel of kLanes channels (lanes along channels).
#pragma once

#include "ddf_micro.h"
#include "ddf_phase.h"

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
  Map unscaled_columns(int64_t scale) const { return {data, c, y, x / scale, first, last}; }
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
  int64_t i = 0;
  if (stride != 1) {
    if (stride == 2)
      for (; i + L <= n && map.readable(at + 2 * i, 2 * L); i += L)
        store<T>(to + i, every_second<T>(load<T>(from + 2 * i), load<T>(from + 2 * i + L)));
    for (; i < n; ++i) to[i] = load_scalar<T>(from + i * stride);
    return;
  }
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

  // Of a row. The last vector of a row may run on into the next one: those lanes are not used.
  // Where they can, positions follow each other at the same distance across rows.
  int64_t pitch() const {
    return kPixelLanes ? larger(x.count, round_up(x.positions, L)) : x.count * channels;
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

  DDF_SHARED void allocate(Scratch& scratch) {
    data = scratch.take<T>(elements() + 2 * L);
    row_sources = scratch.take<int64_t>(y.count);
    column_sources = scratch.take<int64_t>(x.count);
  }

  // Once per tile: fill() writes only what comes from the map, the zeros around it stay.
  DDF_SHARED void start() {
    for (int64_t i = 0; i < y.count; ++i) row_sources[i] = y.source(i);
    for (int64_t i = 0; i < x.count; ++i) column_sources[i] = x.source(i);
    if (kPixelLanes) return zero(data, elements() + 2 * L);
    for (int64_t row = 0; row < y.count; ++row) {
      T* pixel = data + row * pitch();
      if (row_sources[row] < 0) zero(pixel, pitch());
      for (int64_t column = 0; row_sources[row] >= 0 && column < x.count; ++column)
        if (column_sources[column] < 0) zero(pixel + column * channels, channels);
    }
    zero(data + elements(), 2 * L);
  }

  // Other parts of the source are 0 from now on.
  void restrict_to(Range rows, Range columns) {
    if (rows == y.valid && columns == x.valid) return;
    y.valid = rows;
    x.valid = columns;
    start();
  }

  template <typename E>
  DDF_SHARED void fill(const Map<E>& map, int64_t n) {  // n channels
    if (kPixelLanes) {
      fill_planes(map, n);
    } else {
      fill_pixels(map, n);
    }
  }

 private:
  static void zero(T* to, int64_t n) { std::memset(to, 0, static_cast<size_t>(n) * sizeof(T)); }

  template <typename E>
  DDF_INLINE void fill_pixels(const Map<E>& map, int64_t n) {
    if (n < channels) zero(data, elements());
    const Mask<T> tail = first_lanes<T>(n % L);
    const bool whole = map.c == 1 && n % L == 0;
    for (int64_t row = 0; row < y.count; ++row) {
      if (row_sources[row] < 0) continue;
      for (int64_t column = 0; column < x.count; ++column) {
        if (column_sources[column] < 0) continue;
        const int64_t at = row_sources[row] * map.y + column_sources[column] * map.x;
        T* to = data + row * pitch() + column * channels;
        if (whole)
          for (int64_t i = 0; i < n; i += L) store<T>(to + i, load<T>(map.data + at + i));
        else
          copy_in<T>(to, map, at, map.c, n, tail);
      }
    }
  }

  template <typename E>
  DDF_INLINE void fill_planes(const Map<E>& map, int64_t n) {
    const int64_t to_row = pitch(), to_plane = plane();
    // The columns of one run that exist are neighbours, unless the source is strided or stuffed
    // with zeros.
    if (x.stuffed != 1 || x.stride != 1 || !x.shared()) {
      for (int64_t c = 0; c < n; ++c)
        for (int64_t row = 0; row < y.count; ++row)
          for (int64_t column = 0; row_sources[row] >= 0 && column < x.count; ++column)
            if (column_sources[column] >= 0)
              data[c * to_plane + row * to_row + column] = load_scalar<T>(
                  map.data + c * map.c + row_sources[row] * map.y + column_sources[column] * map.x);
      return;
    }
    const int64_t first = larger(0, x.valid.begin - x.origin);
    const int64_t columns = smaller(x.count, x.valid.end - x.origin) - first;
    if (columns <= 0) return;
    const Mask<T> tail = first_lanes<T>(columns % L);
    const int64_t start = (x.origin + first) * map.x, whole = columns / L * L;
    // Rows are neighbours, too, unless they are strided or each tap has rows of its own.
    const bool adjacent = map.x == 1 && y.shared() && y.stride == 1 && y.stuffed == 1;
    const int64_t top = larger(0, y.valid.begin - y.origin);
    const int64_t rows = smaller(y.count, y.valid.end - y.origin) - top;
    const int64_t corner = start + (y.origin + top) * map.y;
    for (int64_t c = 0; c < n; ++c) {
      T* to = data + c * to_plane + first;
      if (adjacent && map.readable(c * map.c + corner + (rows - 1) * map.y + whole, L)) {
        copy_rows(to + top * to_row, to_row, map.data + c * map.c + corner, map.y, rows, whole,
                  tail);
        continue;
      }
      for (int64_t row = 0; row < y.count; ++row)
        if (row_sources[row] >= 0)
          copy_in<T>(to + row * to_row, map, c * map.c + start + row_sources[row] * map.y, map.x,
                     columns, tail);
    }
  }

  template <typename E>
  DDF_INLINE static void copy_rows(T* to, int64_t to_row, const E* from, int64_t from_row,
                                   int64_t rows, int64_t whole, Mask<T> tail) {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < whole; i += L) store<T>(to + i, load<T>(from + i));
      store<T>(to + whole, select<T>(tail, load<T>(from + whole)));
      to += to_row;
      from += from_row;
    }
  }
};

// In which order the inner loops pass through the weights.
enum class Order {
  block,  // [row][position][tap]
  walk,   // [position][row][tap]
  sweep,  // [group of rows][tap][row of the group][position]
};

// Values per position and tap: the spatial filter, one lane per pixel, or one number per pixel for
// channel lanes.
template <typename T, bool kPixelLanes>
struct Weights {
  static constexpr int kWidth = kPixelLanes ? kLanes<T> : 1;
  int64_t rows = 0, columns = 0, taps = 0;
  int64_t per_row = 0, per_position = 0, per_tap = 0;
  int64_t group = 0, per_group = 0;  // rows of a group
  bool reversed = false;             // tap 0 stands last
  T* data = nullptr;

  Weights(int64_t rows_, int64_t columns_, int64_t taps_, Order order)
      : rows(rows_), columns(columns_), taps(taps_) {
    const int64_t n = positions();
    group = order == Order::sweep ? smaller(rows, larger(1, kSweep / n)) : rows;
    per_tap = order == Order::sweep ? group * n * kWidth : kWidth;
    per_row = order == Order::sweep ? n * kWidth : taps * kWidth * (order == Order::walk ? 1 : n);
    per_position =
        order == Order::sweep ? kWidth : taps * kWidth * (order == Order::walk ? rows : 1);
    per_group = group * n * taps * kWidth;
  }
  int64_t positions() const { return ceil_div(columns, kWidth); }  // of a row
  int64_t elements() const { return ceil_div(rows, group) * per_group; }
  T* row(int64_t i) const { return data + i / group * per_group + i % group * per_row; }

  template <typename E>
  DDF_SHARED void fill(const Map<E>& map, int64_t kernel_x, const Shift& y, const Shift& x) {
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t ty = tap / kernel_x, tx = tap - ty * kernel_x;
        const int64_t source = y.source(row, ty);
        T* to = this->row(row) + (reversed ? taps - 1 - tap : tap) * per_tap;
        if (source < 0) {
          for (int64_t p = 0; p < positions(); ++p) zero(to + p * per_position);
        } else if (x.stuffed != 1) {
          for (int64_t column = 0; column < columns; ++column) {
            if (column % kWidth == 0) zero(to + column / kWidth * per_position);
            const int64_t at = x.source(column, tx);
            if (at >= 0)
              to[column / kWidth * per_position + column % kWidth] =
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
    for (int64_t p = 0; p < positions(); ++p, to += per_position) {
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
        if (first == 0 && last == kWidth && map.x == 2 && map.readable(from, 2 * kWidth)) {
          store<T>(to,
                   every_second<T>(load<T>(map.data + from), load<T>(map.data + from + kWidth)));
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
DDF_SHARED void pack_filter(T* to, const FilterView& filter, int64_t image, int64_t phase,
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
