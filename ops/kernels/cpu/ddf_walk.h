// The inner loop for 3 x 3 kernels of stride 1: it walks down a column of positions, loads each row
// of X once, and keeps the channel filter and the sums of three rows in registers.
#pragma once

#include "ddf_micro.h"

namespace ddf::DDF_NAMESPACE {

// Whether the weights are one filter's alone, with no product to make first.
template <Combine kCombine>
inline constexpr bool kIsPlain = kCombine == Combine::spatial || kCombine == Combine::channel;

// Vectors that pass together where all weights are the spatial filter's, and share their loads.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int kMostTogether = 4;
#else
inline constexpr int kMostTogether = 2;
#endif
template <Combine kCombine>
inline constexpr int kTogether = kCombine == Combine::spatial ? kMostTogether : 1;

// Three neighbours: the taps of a row, or the values of X that they meet.
template <typename T>
struct Three {
  Vec<T> at[3];
};

// A spatial filter's taps of a row: kept in registers where several vectors share them, else loaded
// where they are used.
template <typename T, bool kPixelLanes, Combine kCombine, bool kKept>
struct TapRow {
  const T* from;
  Three<T> kept;

  DDF_INLINE explicit TapRow(const T* s) : from(s) {
    if constexpr (kKept) kept = load_row();
  }
  DDF_INLINE Three<T> get() const {
    if constexpr (kKept) return kept;
    return load_row();
  }
  DDF_INLINE Three<T> load_row() const {
    constexpr int kWidth = kPixelLanes ? kLanes<T> : 1;
    return {{spatial_operand<T, kPixelLanes, kCombine>(from),
             spatial_operand<T, kPixelLanes, kCombine>(from + kWidth),
             spatial_operand<T, kPixelLanes, kCombine>(from + 2 * kWidth)}};
  }
};

// One tap row's share of a sum.
template <typename T, Combine kCombine>
DDF_INLINE Vec<T> tap_row(const Vec<T>* f, const Three<T>& s, const Three<T>& x) {
  Vec<T> sum = weigh<kCombine>(f[0], s.at[0]) * x.at[0];
  sum += weigh<kCombine>(f[1], s.at[1]) * x.at[1];
  sum += weigh<kCombine>(f[2], s.at[2]) * x.at[2];
  return sum;
}

// `sum` with it. Where weights are products it is a chain of its own, so that the sums of a row do
// not wait for those of the row before.
template <typename T, Combine kCombine>
DDF_INLINE Vec<T> add_tap_row(Vec<T> sum, const Vec<T>* f, const Three<T>& s, const Three<T>& x) {
  if constexpr (!kIsPlain<kCombine>) return sum + tap_row<T, kCombine>(f, s, x);
  sum += weigh<kCombine>(f[0], s.at[0]) * x.at[0];
  sum += weigh<kCombine>(f[1], s.at[1]) * x.at[1];
  sum += weigh<kCombine>(f[2], s.at[2]) * x.at[2];
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

// One column of positions of kV vectors, from top to bottom: strip.rows sums, each stored or added
// to what is there; the last one of each vector goes to `last`.
template <typename T, typename X, typename O, bool kPixelLanes, Combine kCombine, Reading kReading,
          int kV>
DDF_INLINE void walk_column(const X* x, const T* s, const Vec<T>* filter, O* out, O* last,
                            int64_t last_vector, const Strip& strip, bool add, int64_t ahead,
                            Inside<T> inside) {
  constexpr int kTaps = kPixelLanes ? 3 * kLanes<T> : 3;  // of a tap row, in s
  const int64_t x_row = strip.x_row, x_column = strip.x_column, x_vector = strip.x_vector;
  const int64_t s_row = strip.s_row, rows = strip.rows;
  const int64_t out_row = strip.out_row, out_vector = strip.out_vector;
  Vec<T> older[kV], newer[kV];  // sums that still lack one and two tap rows
  // each(vector, X) with the next row of X.
  const auto next_row = [&](const auto& each) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int v = 0; v < kV; ++v) {
      const X* at = x + v * x_vector;
      if constexpr (kReading != Reading::packed) __builtin_prefetch(at + ahead, 0, 2);
      Three<T> row{{load<T>(at), load<T>(at + x_column), load<T>(at + 2 * x_column)}};
      if constexpr (kReading == Reading::at_border) {
        row.at[0] = select<T>(inside.left, row.at[0]);
        row.at[2] = select<T>(inside.right, row.at[2]);
      }
      each(v, row);
    }
    x += x_row;
  };
  const auto outer_row = [&](bool outside, const auto& each) __attribute__((always_inline)) {
    if (kReading == Reading::packed || !outside) return next_row(each);
#pragma GCC unroll 4
    for (int v = 0; v < kV; ++v) each(v, Three<T>{});
    x += x_row;
  };
  using Taps = TapRow<T, kPixelLanes, kCombine, (kV > 1)>;
  const auto first = [&](const Taps& w, const Three<T>& row) __attribute__((always_inline)) {
    return tap_row<T, kCombine>(filter, w.get(), row);
  };
  const auto second = [&](Vec<T> sum, const Taps& w, const Three<T>& row)
                          __attribute__((always_inline)) {
                            return add_tap_row<T, kCombine>(sum, filter + 3, w.get(), row);
                          };
  const auto third = [&](O* to, Vec<T> sum, const Taps& w, const Three<T>& row)
                         __attribute__((always_inline)) {
                           sum = add_tap_row<T, kCombine>(sum, filter + 6, w.get(), row);
                           const bool adds = kReading == Reading::packed && add;
                           store<T>(to, adds ? sum + load<T>(to) : sum);
                         };
  Taps w0(s), w1(s + kTaps), w2(s);
  outer_row(strip.border.top, [&](int v, const Three<T>& row)
                                  __attribute__((always_inline)) { older[v] = first(w0, row); });
  if (rows == 1) {
    next_row([&](int v, const Three<T>& row)
                 __attribute__((always_inline)) { older[v] = second(older[v], w1, row); });
  } else {
    w0 = Taps(s + s_row);
    next_row([&](int v, const Three<T>& row) __attribute__((always_inline)) {
      older[v] = second(older[v], w1, row);
      newer[v] = first(w0, row);
    });
    for (int64_t n = rows; n > 2; --n) {
      w2 = Taps(s + 2 * kTaps);
      s += s_row;
      w1 = Taps(s + kTaps);
      w0 = Taps(s + s_row);
      next_row([&](int v, const Three<T>& row) __attribute__((always_inline)) {
        third(out + v * out_vector, older[v], w2, row);
        older[v] = second(newer[v], w1, row);
        newer[v] = first(w0, row);
      });
      out += out_row;
    }
    w2 = Taps(s + 2 * kTaps);
    s += s_row;
    w1 = Taps(s + kTaps);
    next_row([&](int v, const Three<T>& row) __attribute__((always_inline)) {
      third(out + v * out_vector, older[v], w2, row);
      older[v] = second(newer[v], w1, row);
    });
  }
  w2 = Taps(s + 2 * kTaps);
  outer_row(strip.border.bottom, [&](int v, const Three<T>& row) __attribute__((always_inline)) {
    third(last + v * last_vector, older[v], w2, row);
  });
}

// Filters a strip. For pixel lanes the last row of the last column goes to `last`, vectors
// last_vector apart. Pixel lanes take vectors (channels) one after the other, or kTogether at once,
// and keep their filter; channel lanes take a position after the other, so that whole cache lines
// are written at a time. kDirect: from the tensor, with its border; else from a packed tile, which
// has zeros around it.
template <typename T, typename X, typename O, bool kPixelLanes, Combine kCombine, bool kDirect>
__attribute__((noinline)) void walk_strip(const X* x, const T* s, const T* f, O* out, O* last,
                                          int64_t last_vector, const Strip& strip, bool add) {
  const int64_t rows = strip.rows, out_row = strip.out_row;
  Vec<T> filter[9];
  const auto take_filter = [&](const T* from) __attribute__((always_inline)) {
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t)
      filter[t] = channel_operand<T, kPixelLanes, kCombine>(from + t * strip.f_tap);
  };
  const Border border = strip.border;
  // What is fetched: the same column two channels on, or past those that pass together; or the same
  // channels four columns on.
  constexpr int64_t kVectorsAhead = kTogether<kCombine> > 2 ? kTogether<kCombine> : 2;
  const int64_t ahead = kPixelLanes ? strip.x_column + kVectorsAhead * strip.x_vector
                                    : 2 * strip.x_column + 4 * strip.x_position;
  const auto walk_at = [&](auto together, int64_t position, const X* x_top, const T* s_top, O* to,
                           O* end, int64_t end_vector) __attribute__((always_inline)) {
    const auto walk = [&](auto reading, Inside<T> inside) __attribute__((always_inline)) {
      walk_column<T, X, O, kPixelLanes, kCombine, reading(), together()>(
          x_top, s_top, filter, to, end, end_vector, strip, add, ahead, inside);
    };
    if constexpr (kDirect) {
      constexpr int64_t kWidth = kPixelLanes ? kLanes<T> : 1;
      const int64_t left = border.left + position * kWidth;
      const int64_t right = border.right - position * kWidth;
      if (left >= border.dilation && right >= border.dilation + kWidth)
        return walk(std::integral_constant<Reading, Reading::inside>(), Inside<T>{});
      Inside<T> inside;
      if constexpr (kPixelLanes) {
        inside.left = ~first_lanes<T>(border.dilation - left);
        inside.right = first_lanes<T>(right - border.dilation);
      } else {
        inside.left = first_lanes<T>(left >= border.dilation ? kLanes<T> : 0);
        inside.right = first_lanes<T>(right > border.dilation ? kLanes<T> : 0);
      }
      walk(std::integral_constant<Reading, Reading::at_border>(), inside);
    } else {
      walk(std::integral_constant<Reading, Reading::packed>(), Inside<T>{});
    }
  };
  // step(how many vectors, as a constant) for all of them.
  const auto each_step = [&](const auto& step) __attribute__((always_inline)) {
    constexpr int kMany = kTogether<kCombine>;
    int64_t vector = 0;
    if constexpr (kMany > 1)
      for (; vector + kMany <= strip.vectors; vector += kMany)
        step(std::integral_constant<int, kMany>());
    for (; vector < strip.vectors; ++vector) step(std::integral_constant<int, 1>());
  };
  if constexpr (kPixelLanes) {
    each_step([&](auto together) __attribute__((always_inline)) {
      take_filter(f);
      const X* x_top = x;
      const T* s_top = s;
      O* to = out;
      for (int64_t n = strip.positions; n > 0; --n) {
        walk_at(together, strip.positions - n, x_top, s_top, to,
                n == 1 ? last : to + (rows - 1) * out_row, n == 1 ? last_vector : strip.out_vector);
        x_top += strip.x_position;
        s_top += strip.s_position;
        to += strip.out_position;
      }
      x += together() * strip.x_vector;
      f += together() * strip.f_vector;
      out += together() * strip.out_vector;
      last += together() * last_vector;
    });
  } else {
    (void)last, (void)last_vector;
    for (int64_t n = strip.positions; n > 0; --n) {
      const X* x_top = x;
      const T* f_top = f;
      O* to = out;
      each_step([&](auto together) __attribute__((always_inline)) {
        take_filter(f_top);
        walk_at(together, strip.positions - n, x_top, s, to, to + (rows - 1) * out_row,
                strip.out_vector);
        x_top += together() * strip.x_vector;
        f_top += together() * strip.f_vector;
        to += together() * strip.out_vector;
      });
      x += strip.x_position;
      s += strip.s_position;
      out += strip.out_position;
    }
  }
}

}  // namespace ddf::DDF_NAMESPACE
