// The inner loop for 3 x 3 kernels of stride 1: it walks down a column of positions, loads each row
// of X once, and keeps the channel filter and the sums of three rows in registers.
#pragma once

#include "ddf_micro.h"

namespace ddf::DDF_NAMESPACE {

// One tap row's share of a sum: a chain of its own, so that the sums of a row do not wait for those
// of the row before.
template <typename T, bool kPixelLanes, bool kMultiply>
DDF_INLINE Vec<T> tap_row(const Vec<T>* f, const T* s, Vec<T> x0, Vec<T> x1, Vec<T> x2) {
  constexpr int kWidth = kPixelLanes ? kLanes<T> : 1;
  const Vec<T> s0 = operand<T, kPixelLanes>(s), s1 = operand<T, kPixelLanes>(s + kWidth),
               s2 = operand<T, kPixelLanes>(s + 2 * kWidth);
  Vec<T> sum = combine<kMultiply>(f[0], s0) * x0;
  sum += combine<kMultiply>(f[1], s1) * x1;
  sum += combine<kMultiply>(f[2], s2) * x2;
  return sum;
}

// The image around a strip that is read straight from the tensor, where X counts as 0.
struct Border {
  bool top = false, bottom = false;  // the row before the first one, after the last one
  // Columns before the first one and from its own column on, for the first position; of the taps.
  int64_t left = 0, right = 0, dilation = 0;
};

// A strip of columns of positions, of several vectors. Distances in elements.
struct Strip {
  int64_t x_row, x_column, x_position, x_vector;
  int64_t s_row, s_position;
  int64_t f_tap, f_vector;
  int64_t out_row, out_position, out_vector;
  int64_t rows, positions, vectors;
  Border border;
};

// Which lanes of the taps to the left and to the right lie in the image.
template <typename T>
struct Inside {
  Mask<T> left, right;
};

// Where X comes from: a packed tile, or the tensor, inside it or at its left or right border.
enum class Reading { packed, inside, at_border };

// One column of positions, from top to bottom: `rows` sums, out_row apart, each stored or added to
// what is there; the last one goes to `last`.
template <typename T, typename X, typename O, bool kPixelLanes, bool kMultiply, Reading kReading>
DDF_INLINE void walk_column(const X* x, const T* s, const Vec<T>* filter, O* out, O* last,
                            int64_t rows, int64_t x_row, int64_t x_column, int64_t s_row,
                            int64_t out_row, bool add, const Border& border, int64_t ahead,
                            Inside<T> inside) {
  constexpr int kTaps = kPixelLanes ? 3 * kLanes<T> : 3;  // of a tap row, in s
  Vec<T> x0, x1, x2, older, newer;  // sums that still lack one and two tap rows
  const auto next_row = [&]() __attribute__((always_inline)) {
    if constexpr (kReading != Reading::packed) __builtin_prefetch(x + ahead, 0, 2);
    x0 = load<T>(x);
    x1 = load<T>(x + x_column);
    x2 = load<T>(x + 2 * x_column);
    if constexpr (kReading == Reading::at_border) {
      x0 = select<T>(inside.left, x0);
      x2 = select<T>(inside.right, x2);
    }
    x += x_row;
  };
  const auto outer_row = [&](bool outside) __attribute__((always_inline)) {
    if (kReading != Reading::packed && outside) {
      x0 = x1 = x2 = Vec<T>{};
      x += x_row;
    } else {
      next_row();
    }
  };
  const auto taps = [&](int row, const T* at) __attribute__((always_inline)) {
    return tap_row<T, kPixelLanes, kMultiply>(filter + 3 * row, at + row * kTaps, x0, x1, x2);
  };
  const auto write = [&](O* at, Vec<T> sum) __attribute__((always_inline)) {
    store<T>(at, add ? sum + load<T>(at) : sum);
  };
  outer_row(border.top);
  older = taps(0, s);
  next_row();
  older += taps(1, s);
  if (rows > 1) {
    newer = taps(0, s + s_row);
    for (int64_t row = 2; row < rows; ++row) {
      next_row();
      write(out, older + taps(2, s));
      out += out_row;
      s += s_row;
      older = newer + taps(1, s);
      newer = taps(0, s + s_row);
    }
    next_row();
    write(out, older + taps(2, s));
    s += s_row;
    older = newer + taps(1, s);
  }
  outer_row(border.bottom);
  write(last, older + taps(2, s));
}

// Filters a strip. For pixel lanes the last row of the last column goes to `last`, vectors
// last_vector apart. Pixel lanes take a vector (a channel) after the other, and keep its filter;
// channel lanes take a position after the other, so that whole cache lines are written at a time.
// kDirect: from the tensor, with its border; else from a packed tile, which has zeros around it.
template <typename T, typename X, typename O, bool kPixelLanes, bool kMultiply, bool kDirect>
__attribute__((noinline)) void walk_strip(const X* x, const T* s, const T* f, O* out, O* last,
                                          int64_t last_vector, const Strip& strip, bool add) {
  const int64_t x_row = strip.x_row, x_column = strip.x_column, s_row = strip.s_row,
                out_row = strip.out_row, rows = strip.rows;
  Vec<T> filter[9];
  const auto take_filter = [&](const T* from) __attribute__((always_inline)) {
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) filter[t] = operand<T, !kPixelLanes>(from + t * strip.f_tap);
  };
  const Border border = strip.border;
  // What is fetched: the same column two channels on, or the same channels four columns on.
  const int64_t ahead =
      kPixelLanes ? x_column + 2 * strip.x_vector : 2 * x_column + 4 * strip.x_position;
  const auto walk = [&](auto reading, const X* x_top, const T* s_top, O* to, O* end,
                        Inside<T> inside) __attribute__((always_inline)) {
    walk_column<T, X, O, kPixelLanes, kMultiply, reading()>(x_top, s_top, filter, to, end, rows,
                                                            x_row, x_column, s_row, out_row, add,
                                                            border, ahead, inside);
  };
  const auto walk_at = [&](int64_t position, const X* x_top, const T* s_top, O* to,
                           O* end) __attribute__((always_inline)) {
    if constexpr (kDirect) {
      constexpr int64_t kWidth = kPixelLanes ? kLanes<T> : 1;
      const int64_t left = border.left + position * kWidth;
      const int64_t right = border.right - position * kWidth;
      if (left >= border.dilation && right >= border.dilation + kWidth)
        return walk(std::integral_constant<Reading, Reading::inside>(), x_top, s_top, to, end,
                    Inside<T>{});
      Inside<T> inside;
      if constexpr (kPixelLanes) {
        inside.left = ~first_lanes<T>(border.dilation - left);
        inside.right = first_lanes<T>(right - border.dilation);
      } else {
        inside.left = first_lanes<T>(left >= border.dilation ? kLanes<T> : 0);
        inside.right = first_lanes<T>(right > border.dilation ? kLanes<T> : 0);
      }
      walk(std::integral_constant<Reading, Reading::at_border>(), x_top, s_top, to, end, inside);
    } else {
      walk(std::integral_constant<Reading, Reading::packed>(), x_top, s_top, to, end, Inside<T>{});
    }
  };
  if constexpr (kPixelLanes) {
    for (int64_t vector = 0; vector < strip.vectors; ++vector) {
      take_filter(f);
      const X* x_top = x;
      const T* s_top = s;
      O* to = out;
      for (int64_t n = strip.positions; n > 0; --n) {
        walk_at(strip.positions - n, x_top, s_top, to, n == 1 ? last : to + (rows - 1) * out_row);
        x_top += strip.x_position;
        s_top += strip.s_position;
        to += strip.out_position;
      }
      x += strip.x_vector;
      f += strip.f_vector;
      out += strip.out_vector;
      last += last_vector;
    }
  } else {
    (void)last, (void)last_vector;
    for (int64_t n = strip.positions; n > 0; --n) {
      const X* x_top = x;
      const T* f_top = f;
      O* to = out;
      for (int64_t vector = 0; vector < strip.vectors; ++vector) {
        take_filter(f_top);
        walk_at(strip.positions - n, x_top, s, to, to + (rows - 1) * out_row);
        x_top += strip.x_vector;
        f_top += strip.f_vector;
        to += strip.out_vector;
      }
      x += strip.x_position;
      s += strip.s_position;
      out += strip.out_position;
    }
  }
}

}  // namespace ddf::DDF_NAMESPACE
